// The suite that every channel must pass. It knows no test framework: a case is a name and a function that throws.
//
//   for (const { name, run } of channelContract(openPlatform)) test(name, run);
//
// A channel to a real service is tested against a fake of the service's network interface, so that the channel's own
// code runs in full.
import { INCOMING } from './incoming-cases.ts';
import { OUTGOING } from './outgoing-cases.ts';
import type { PlatformUnderTest } from './platform-under-test.ts';
import { LIFE } from './start-stop-cases.ts';

export type { Heard, PlatformUnderTest, Said, Seen } from './platform-under-test.ts';

/** One promise of the contract. `run` throws an `AssertionError` when the channel breaks it. */
export interface ContractCase {
  name: string;
  run: () => Promise<void>;
}

/** The cases for one kind of channel. */
export function channelContract(open: () => Promise<PlatformUnderTest>): ContractCase[] {
  return Object.entries({ ...INCOMING, ...OUTGOING, ...LIFE }).map(([name, check]) => ({
    name,
    run: async () => {
      const platform = await open();
      try {
        await check(platform);
      } finally {
        await platform.close();
      }
    },
  }));
}
