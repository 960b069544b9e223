// A host in a process of its own, for the tests that kill it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface HostProcess {
  child: ChildProcess;
  /** Waits for a word of the process and gives what it said with it. */
  said: (word: string) => Promise<string>;
  kill: () => Promise<void>;
}

/** Runs a script of this folder from its source. */
export function spawnHost(script: string, args: readonly string[]): HostProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const words = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const said = async (word: string): Promise<string> => {
    const { value, done } = await words.next();
    if (done === true) throw new Error(`the host ended before it said "${word}"`);
    return value.startsWith(`${word} `) ? value.slice(word.length + 1) : said(word);
  };
  const kill = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  return { child, said, kill };
}
