/**
 * The suite that every channel must pass. It knows no test framework: a case is a name and a function that throws.
 *
 *   for (const { name, run } of channelContract(openPlatform)) test(name, run);
 *
 * A channel to a real service is tested against a fake of the service's network interface, so that the channel's own
 * code runs in full.
 */
import type { Duplicates } from '../channel.ts';
import { errorMessage } from '../error-message.ts';
import type { Case } from './case-support.ts';
import { ContractFailure, Deadline, fail } from './deadline.ts';
import { DECLARATION_CASES } from './declaration-cases.ts';
import { quoted } from './difference.ts';
import { INCOMING_CASES } from './incoming-cases.ts';
import { OUTGOING_CASES } from './outgoing-cases.ts';
import type { PlatformLack, PlatformUnderTest } from './platform-under-test.ts';
import { START_STOP_CASES } from './start-stop-cases.ts';
import { WatchedPlatform } from './watched-platform.ts';

export type { PlatformLack, PlatformUnderTest, UserMessage, VisibleMessage } from './platform-under-test.ts';

/** What the suite is told of a platform and its channel. */
interface ContractOptions {
  /** What the platform is without. Default: nothing. */
  readonly lacks?: readonly PlatformLack[];
  /** As the channel has it. Default `key`. */
  readonly duplicates?: Duplicates;
  /** How long each wait of a case may take, in milliseconds. Default 10 000. */
  readonly deadlineMs?: number;
}

/** One promise of the contract. */
interface ContractCase {
  /** The promise, in words. */
  readonly name: string;
  /**
   * Opens a platform, checks the promise, and closes the platform. Rejects with an `Error` whose message says in a sentence
   * what the channel did instead; never hangs longer than a few times `deadlineMs`.
   */
  readonly run: () => Promise<void>;
}

/** The cases that apply to this kind of channel. `open` gives each of them a platform of its own. */
export function channelContract(
  open: () => Promise<PlatformUnderTest>,
  { lacks = [], duplicates = 'key', deadlineMs = 10_000 }: ContractOptions = {},
): ContractCase[] {
  const lacking = new Set(lacks);
  const cases = [
    duplicatesCase(duplicates),
    ...DECLARATION_CASES,
    ...INCOMING_CASES,
    ...OUTGOING_CASES,
    ...START_STOP_CASES,
  ];
  const applies = (each: Case) =>
    (each.needs ?? []).every((need) => !lacking.has(need)) &&
    (each.without === undefined || lacking.has(each.without)) &&
    (each.duplicates ?? [duplicates]).includes(duplicates);
  return cases
    .filter(applies)
    .map(({ name, check }) => ({ name, run: () => runCase(open, check, lacking, new Deadline(deadlineMs)) }));
}

function duplicatesCase(duplicates: Duplicates): Case {
  return {
    name: 'the channel says of duplicates what the suite was told',
    check: async (platform) => {
      const channel = platform.channel();
      if (channel.duplicates === duplicates) return;
      fail(
        `The channel's \`duplicates\` is ${quoted(channel.duplicates)}, and the suite was told ${quoted(duplicates)}.`,
      );
    },
  };
}

/** Throws what failed first: a platform that cannot be closed is the lesser news. */
async function runCase(
  open: () => Promise<PlatformUnderTest>,
  check: Case['check'],
  lacks: ReadonlySet<PlatformLack>,
  deadline: Deadline,
): Promise<void> {
  const opened = await deadline.within(open, () => 'The platform under test did not open');
  const platform = new WatchedPlatform(opened, lacks, deadline);
  const failures: unknown[] = [];
  for (const work of [() => check(platform), () => platform.close()]) {
    try {
      await work();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length === 0) return;
  const [failure] = failures;
  if (failure instanceof ContractFailure) throw failure;
  throw new ContractFailure(`A call threw: ${errorMessage(failure)}`, { cause: failure });
}
