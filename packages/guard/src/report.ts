/** What is told of a guard: what closes it in, what that does not keep from it, and what to do about it. */
import { createServer } from 'node:net';
import type { SandboxMeans } from './sandbox.ts';
import { PROTECTIONS, type Protection, type TrialTargets, thisProcess } from './trial.ts';

/** What closes a guard in, and whether it does. */
export interface GuardReport {
  /** What closes it in. */
  readonly means: SandboxMeans;
  /** What its processes can do and should not, as it was tried. */
  readonly open: readonly Protection[];
  /** Whether there is nothing of that. */
  readonly isClosed: boolean;
  /** All of it in a sentence or two, with what to do. */
  readonly sentence: string;
}

/** The report on a guard that is closed in by `means`, in which so much could be done. Pure. */
export function reportOf(
  { means, failures }: { readonly means: SandboxMeans; readonly failures: readonly string[] },
  open: readonly Protection[],
): GuardReport {
  const isClosed = open.length === 0;
  if (isClosed) return { means, open, isClosed, sentence: CLOSED };
  const can = new Intl.ListFormat('en').format(open.map((protection) => ABLE[protection]));
  const kept = PROTECTIONS.length - open.length;
  const by =
    means === 'none'
      ? 'only by limits of time and memory'
      : `only in part, by ${means} (${kept} of ${PROTECTIONS.length})`;
  const why = failures.length === 0 ? '' : ` What was tried: ${failures.join('; ')}`;
  return {
    means,
    open,
    isClosed,
    sentence:
      `The guard, which reads what agents wrote, is closed in ${by}: it can ${can}. An agent that finds a flaw in SQLite could ` +
      `do the same. ${means === 'bubblewrap' ? 'This system cannot do more.' : INSTALL}${why}`,
  };
}

const CLOSED =
  'The guard, which reads what agents wrote, is closed in by bubblewrap: no network, no sight of other processes or of ' +
  'files but those of the sessions, nothing to change, no privileges, few system calls.';

const INSTALL =
  'Install bubblewrap (the program bwrap), allow this user namespaces of its own, and start the host anew.';

const ABLE: Readonly<Record<Protection, string>> = {
  network: 'reach the network',
  processes: 'see other processes',
  files: 'read files of this machine',
  writing: "write into the sessions' folders",
  privileges: 'gain privileges',
  systemCalls: 'use every system call',
};

/** What a process is to try itself at: a port at which this one listens until it is disposed of, and this process itself. */
export async function trialTargets(sessions: string): Promise<AsyncDisposable & { readonly targets: TrialTargets }> {
  const server = createServer((socket) => socket.destroy());
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('listening', resolve).once('error', reject).listen(0, '127.0.0.1').unref();
  await promise;
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('A port has a number.');
  return {
    targets: { port: address.port, host: thisProcess(), sessions },
    [Symbol.asyncDispose]: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      await closed.promise;
    },
  };
}
