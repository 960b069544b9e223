/** What a history is played with. */
import type { Platform } from './platform.ts';
import type { Runtime } from './runtime.ts';
import type { World } from './world.ts';

/** The world and what outlives each process in it: what people see, and what is started for the host. */
export interface HistoryParts {
  readonly world: World;
  readonly platform: Platform;
  readonly runtime: Runtime;
}
