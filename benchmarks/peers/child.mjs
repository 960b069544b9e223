/** The worker of a peer: the peer's own file once more, as a process that says when it is ready. */
import { fork } from 'node:child_process';
import { once } from 'node:events';

export async function child(file, args) {
  const worker = fork(file, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  await Promise.race([
    once(worker, 'message'),
    once(worker, 'exit').then(([code]) => {
      throw new Error(`The worker of ${file} ended with ${code}.`);
    }),
  ]);
  return {
    pid: worker.pid,
    end: async () => {
      worker.kill('SIGKILL');
      if (worker.exitCode === null && worker.signalCode === null) await once(worker, 'exit');
    },
  };
}

/** A peer's trouble, for who reads the run. */
export function told(error) {
  process.stderr.write(`${error?.message ?? error}\n`);
}

export const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: told };
