/** Child processes for the tests: our TypeScript under either runtime, with lines to and from it. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export const RUNTIMES = ['node', 'bun'] as const;
export type Runtime = (typeof RUNTIMES)[number];

const HERE = fileURLToPath(new URL('.', import.meta.url));

/** A process that ends with the scope at the latest. */
export class Child implements AsyncDisposable {
  readonly #process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #lines: Interface;
  readonly #seen: string[] = [];
  readonly #ended: Promise<unknown>;
  #errors = '';
  #onLine: () => void = () => undefined;
  #hasEnded = false;

  /** Starts `script` of this folder. */
  constructor(runtime: Runtime, script: string, args: readonly string[]) {
    const command = runtime === 'bun' ? 'bun' : process.execPath;
    this.#process = spawn(command, [HERE + script, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text;
    });
    this.#process.stdin.on('error', () => this.#process.kill('SIGKILL'));
    this.#lines = createInterface(this.#process.stdout).on('line', (line) => {
      this.#seen.push(line);
      this.#onLine();
    });
    this.#ended = Promise.all([once(this.#process, 'exit'), once(this.#lines, 'close')]).finally(() => {
      this.#hasEnded = true;
      this.#onLine();
    });
  }

  /** All lines so far. */
  get seen(): readonly string[] {
    return this.#seen;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  say(line: string): void {
    this.#process.stdin.write(`${line}\n`);
  }

  /** Waits for the `count`-th line and returns it. Rejects when the process ends before it. */
  async line(count: number): Promise<string> {
    for (;;) {
      const line = this.#seen[count - 1];
      if (line !== undefined) return line;
      if (this.#hasEnded) throw new Error(`The process ended after ${this.#seen.length} lines. ${this.#errors}`);
      await new Promise<void>((resolve) => {
        this.#onLine = resolve;
      });
    }
  }

  /** Kills it as the kernel would, without a chance to tidy up, and waits until it is gone. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
