/** Runs the simulation's command as people do, in a process of its own: its loader is of a whole process. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';

export interface CommandResult {
  readonly code: number | null;
  readonly output: string;
}

export function sim(...args: readonly string[]): Promise<CommandResult> {
  const main = join(import.meta.dirname, '../src/main.ts');
  return new Promise((done, fail) => {
    const child = spawn(
      process.execPath,
      ['--conditions=source', '--disable-warning=ExperimentalWarning', main, ...args],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let output = '';
    const collect = (piece: string): void => {
      output += piece;
    };
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    child.on('error', fail);
    child.on('close', (code) => done({ code, output }));
  });
}
