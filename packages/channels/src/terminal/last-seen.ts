// The number of the last message that was seen in a chat of the terminal, from one connection to the next.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '@nanoclaw/session-db';

/** One file. Losing it costs a person no message: they only see again, or not, what came while they were away. */
export class LastSeen {
  readonly #path: string;

  /** Makes the folder, for its owner only, if it is missing. `chat` is the name of a chat, so it is safe in a path. */
  constructor(folder: string, chat: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#path = join(folder, `${chat}.seen`);
  }

  /** `undefined` when nothing is remembered, or the file holds something else. */
  read(): number | undefined {
    const digits = /^(0|[1-9]\d{0,15})\n$/.exec(this.#content())?.[1];
    return digits === undefined ? undefined : Number(digits);
  }

  /** In one step, so that a reader finds the old number or the new one. */
  write(n: number): void {
    try {
      replaceFile(this.#path, `${n}\n`, 0o600);
    } catch (error) {
      if (!isMissing(error)) throw error; // another terminal of the chat was faster, and wrote as much
    }
  }

  #content(): string {
    try {
      return readFileSync(this.#path, 'utf8');
    } catch (error) {
      if (isMissing(error)) return '';
      throw error;
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
