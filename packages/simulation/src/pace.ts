/**
 * Looks that are made in case no signal came, made more seldom: a simulated hour is mostly these otherwise. The code around
 * the figures is as it ships, and bells do get lost (`World.watch`).
 */
import type { Edit } from './loader.ts';

export const PACE: readonly Edit[] = [
  {
    file: 'packages/runner/src/runner.ts',
    find: 'const LOOK_EVERY_MS: Millis = 1_000;',
    replace: 'const LOOK_EVERY_MS: Millis = 20_000;',
  },
  {
    file: 'packages/session-db/src/doorbell.ts',
    find: 'options.pollMaxMs ?? 1_000',
    replace: 'options.pollMaxMs ?? 20_000',
  },
  {
    file: 'packages/host/src/host/compose.ts',
    find: 'const FLOOR_MS = 5_000;',
    replace: 'const FLOOR_MS = 60_000;',
  },
  {
    file: 'packages/host/src/channels/connections.ts',
    find: 'const LOOK_EVERY_MS = 15_000;',
    replace: 'const LOOK_EVERY_MS = 600_000;',
  },
  {
    file: 'packages/host/src/host/host.ts',
    find: 'const PEOPLE_EVERY_MS = 60_000;',
    replace: 'const PEOPLE_EVERY_MS = 600_000;',
  },
  {
    file: 'packages/host/src/host/host.ts',
    find: 'const ROUTING_EVERY_MS = 10_000;',
    replace: 'const ROUTING_EVERY_MS = 600_000;',
  },
];
