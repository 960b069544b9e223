/** What every part of the registry works with. Not part of the package's interface. */
import type { Kysely } from 'kysely';
import type { EntityId, Millis } from './entities.ts';
import type { Tables } from './tables.ts';

/** The open database, with the clock and the ids that the app gives it. */
export interface Store {
  readonly db: Kysely<Tables>;
  readonly now: () => Millis;
  /** A new id of the shape that `isId` accepts. */
  newId<SomeId extends EntityId>(): SomeId;
}
