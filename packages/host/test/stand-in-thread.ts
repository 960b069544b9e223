/** The thread in which stand-ins live that are to have an event loop of their own. */
import { parentPort } from 'node:worker_threads';
import { type StandInOptions, type StandInPlace, StandInRun } from './stand-in-run.ts';

export type ToThread =
  | { readonly type: 'begin'; readonly place: StandInPlace }
  | { readonly type: 'leave'; readonly runId: string };

/** A run that has left. */
export interface FromThread {
  readonly runId: string;
}

const options: StandInOptions = {
  now: () => Date.now(),
  setTimer: (delayMs, action) => {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
  answer: ({ content }) => `You said ${content['text']}`,
};

const runs = new Map<string, StandInRun>();

parentPort?.on('message', (message: ToThread) => {
  if (message.type === 'leave') return runs.get(message.runId)?.leave();
  const { runId } = message.place;
  const run = new StandInRun(message.place, options, () => {
    runs.delete(runId);
    const left: FromThread = { runId };
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is for windows
    parentPort?.postMessage(left);
  });
  runs.set(runId, run);
});
