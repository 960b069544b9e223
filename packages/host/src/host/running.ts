/** The parts of a host, from its start to the beginning of its end. */
import type { DeliveryLoop } from '@nanoclaw/delivery';
import type { Registry } from '@nanoclaw/registry';
import type { Millis, SessionLoop } from '@nanoclaw/session-db';
import type { Connections } from '../channels/index.ts';
import type { People } from '../inbound/index.ts';
import type { Metrics } from '../observability/index.ts';
import type { GroupImages, Runs } from '../runs/index.ts';
import type { Sessions } from '../session/index.ts';
import type { Upkeep } from '../upkeep/index.ts';

/** All of it is made in `Host`, and closed there. */
export interface Running {
  readonly registry: Registry;
  readonly connections: Connections;
  readonly sessions: Sessions;
  readonly runs: Runs;
  readonly groupImages: GroupImages;
  readonly people: People;
  readonly delivery: DeliveryLoop;
  readonly sweep: SessionLoop;
  readonly upkeep: Upkeep;
  readonly metrics: Metrics;
  /** When it was started. */
  readonly since: Millis;
}
