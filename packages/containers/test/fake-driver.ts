/** A scripted driver: runs live until the test ends them. */
import type { Driver, Exit, Listing, Run, RunSpec } from '../src/index.ts';

export class FakeDriver implements Driver {
  /** Every start that was asked for, in order. */
  readonly started: string[] = [];
  readonly stopped: string[] = [];
  /** Set to hold starts back until `gate` resolves. */
  gate: Promise<void> = Promise.resolve();
  /** Set to make the next calls of that name fail. */
  readonly failing: { start?: Error; stop?: Error; list?: Error; exited?: Error } = {};
  /** When the runs begin; by default each one millisecond after the last. */
  startedAt = (): number => this.started.length;
  readonly #alive = new Map<string, { run: Run; end: (exit: Exit) => void }>();

  async start(spec: RunSpec): Promise<Run> {
    this.started.push(spec.runId);
    await this.gate;
    if (this.failing.start !== undefined) throw this.failing.start;
    return this.live(spec.runId, spec.sessionId, this.startedAt());
  }

  async stop(runId: string): Promise<Exit> {
    this.stopped.push(runId);
    if (this.failing.stop !== undefined) throw this.failing.stop;
    const exit: Exit = { type: 'signal', signal: 'SIGTERM' };
    await this.gate;
    this.end(runId, exit);
    return exit;
  }

  async list(): Promise<Listing> {
    const runs = [...this.#alive.values()].map(({ run }) => run);
    await this.gate;
    if (this.failing.list !== undefined) throw this.failing.list;
    return { runs, troubles: [] };
  }

  async logs(): Promise<string | undefined> {
    return undefined;
  }

  close(): void {}

  /** Puts a run among the living, as if an earlier host had started it. */
  live(runId: string, sessionId: string, startedAt: number): Run {
    const { promise, resolve } = Promise.withResolvers<Exit>();
    const run: Run = {
      runId,
      sessionId,
      startedAt,
      labels: {},
      specHash: '',
      logFile: '',
      exited: async () => {
        if (this.failing.exited !== undefined) throw this.failing.exited;
        return promise;
      },
    };
    this.#alive.set(runId, { run, end: resolve });
    return run;
  }

  /** The run leaves. */
  end(runId: string, exit: Exit): void {
    this.#alive.get(runId)?.end(exit);
    this.#alive.delete(runId);
  }
}
