/**
 * A driver whose runs live in the host's own process, for loads that no machine has the memory to run as many real agents
 * for: `inLoop` on the host's event loop, where a test can hand them a clock, `inThread` beside it.
 */
import { Worker } from 'node:worker_threads';
import type { Driver, Exit, Listing, Run, RunSpec } from '@nanoclaw/containers';
import { specHash } from '@nanoclaw/containers';
import { type StandInOptions, type StandInPlace, StandInRun } from './stand-in-run.ts';
import type { FromThread, ToThread } from './stand-in-thread.ts';

/** Where stand-ins live. */
export interface StandInHome {
  readonly begin: (place: StandInPlace, onLeft: () => void) => void;
  readonly leave: (runId: string) => void;
  readonly close: () => void;
}

export class StandInDriver implements Driver {
  readonly #home: StandInHome;
  readonly #now: () => number;
  readonly #runs = new Map<string, Run>();

  constructor(home: StandInHome, now: () => number) {
    this.#home = home;
    this.#now = now;
  }

  async start(spec: RunSpec): Promise<Run> {
    const { runId, sessionId, labels, logFile } = spec;
    const place = (target: string) => spec.mounts.find((mount) => mount.target === target)?.source ?? '';
    const exit = Promise.withResolvers<Exit>();
    const startedAt = this.#now();
    const exited = (): Promise<Exit> => exit.promise;
    const run: Run = { runId, sessionId, startedAt, labels, specHash: specHash(spec), logFile, exited };
    this.#home.begin({ runId, inbound: place('/workspace/inbound'), outbound: place('/workspace/outbound') }, () => {
      this.#runs.delete(runId);
      exit.resolve({ type: 'code', code: 0 });
    });
    this.#runs.set(runId, run);
    return run;
  }

  async stop(id: string): Promise<Exit> {
    const run = this.#runs.get(id);
    if (run === undefined) return { type: 'unknown', reason: 'it was not alive' };
    this.#home.leave(id);
    return run.exited();
  }

  async list(): Promise<Listing> {
    return { runs: [...this.#runs.values()], troubles: [] };
  }

  async logs(): Promise<undefined> {
    return undefined;
  }

  /** With the process, these runs go. */
  close(): void {
    this.#home.close();
  }
}

/** Runs on the host's own event loop. */
export function inLoop(options: StandInOptions): StandInHome {
  const runs = new Map<string, StandInRun>();
  const leave = (runId: string): void => runs.get(runId)?.leave();
  return {
    begin: (place, onLeft) => {
      const run = new StandInRun(place, options, () => {
        runs.delete(place.runId);
        onLeft();
      });
      runs.set(place.runId, run);
    },
    leave,
    close: () => [...runs.keys()].forEach(leave),
  };
}

/** Runs in a thread of the host's process, on the real clock. An error in it ends the process. */
export function inThread(): StandInHome {
  const thread = new Worker(new URL('./stand-in-thread.ts', import.meta.url));
  const left = new Map<string, () => void>();
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is for windows
  const tell = (message: ToThread): void => thread.postMessage(message);
  thread.on('message', ({ runId }: FromThread) => left.get(runId)?.());
  thread.on('error', (error) => {
    throw error;
  });
  return {
    begin: (place, onLeft) => {
      left.set(place.runId, onLeft);
      tell({ type: 'begin', place });
    },
    leave: (runId) => tell({ type: 'leave', runId }),
    close: () => void thread.terminate(),
  };
}
