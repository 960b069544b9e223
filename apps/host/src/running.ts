/** The parts of a host, from its start to the beginning of its end. */
import type { DeliveryLoop } from '@nanoclaw/delivery';
import type { Registry } from '@nanoclaw/registry';
import type { Millis } from '@nanoclaw/session-db';
import type { SweepLoop } from '@nanoclaw/sweep';
import type { Connections } from './connections.ts';
import type { GroupImages } from './group-images.ts';
import type { Metrics } from './metrics.ts';
import type { People } from './people.ts';
import type { Runs } from './runs.ts';
import type { Sessions } from './sessions.ts';
import type { Upkeep } from './upkeep.ts';

/** All of it is made in `Host`, and closed there. */
export interface Running {
  readonly registry: Registry;
  readonly connections: Connections;
  readonly sessions: Sessions;
  readonly runs: Runs;
  readonly groupImages: GroupImages;
  readonly people: People;
  readonly delivery: DeliveryLoop;
  readonly sweep: SweepLoop;
  readonly upkeep: Upkeep;
  readonly metrics: Metrics;
  /** When it was started. */
  readonly since: Millis;
}
