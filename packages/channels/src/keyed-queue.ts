// Jobs that must not overtake each other: those of one name run one after the other, those of different names at once.

/** A queue per name. A name is forgotten when its last job is done. */
export class KeyedQueue {
  readonly #last = new Map<string, Promise<void>>();

  /** Runs `job` after all earlier ones of its name, whatever became of them. Settles as the job does. */
  async run<Result>(name: string, job: () => Promise<Result>): Promise<Result> {
    const earlier = this.#last.get(name);
    const done = Promise.withResolvers<void>();
    this.#last.set(name, done.promise);
    await earlier;
    try {
      return await job();
    } finally {
      if (this.#last.get(name) === done.promise) this.#last.delete(name);
      done.resolve();
    }
  }

  /** Resolves when the jobs that were there are done. */
  async done(): Promise<void> {
    await Promise.all(this.#last.values());
  }
}
