/** Who waits for which answer. An answer may answer several messages at once: each line of it names one. */
export class Waiting {
  readonly #waiting = new Map<string, () => void>();

  /** Resolves once that message is seen in an answer; rejects after two minutes, for what does not come has failed. */
  for(id: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`${id} was not answered within two minutes.`));
      }, ANSWER_MAX_MS);
      this.#waiting.set(id, () => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve();
      });
    });
  }

  /** An answer is shown. */
  seen(text: string): void {
    for (const line of text.split('\n')) this.#waiting.get(line)?.();
  }
}

const ANSWER_MAX_MS = 120_000;
