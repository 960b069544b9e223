/** Programs in place of `guard-main`, and what the tests of lanes and sandboxes do with them. */
import { execFileSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GuardWorld } from './guard-support.ts';

/**
 * A program that is ready at once and then runs `onJob`, the body of a function of `job`, `say` and `scratch`, with each job.
 * It may block: a job comes alone.
 */
export function fakeProgram(world: GuardWorld, onJob: string, before = ''): string {
  const path = join(world.root, `fake-${readdirSync(world.root).length}.mjs`);
  writeFileSync(
    path,
    `import fs from 'node:fs';
     import net from 'node:net';
     import { spawnSync } from 'node:child_process';
     const say = (value) => fs.writeSync(1, JSON.stringify(value) + '\\n');
     const scratch = process.argv[2];
     const burn = (ms) => { const from = process.cpuUsage().user; while (process.cpuUsage().user - from < ms * 1000); };
     const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
     ${before}
     say({ result: 'ready' });
     process.stdin.on('data', async (line) => { const job = JSON.parse(line); ${onJob} });`,
  );
  return path;
}

/** How many processes there are of which a word of the command line is this. */
export function running(word: string): number {
  const lines = execFileSync('ps', ['-A', '-ww', '-o', 'stat=,args='], { encoding: 'utf8' }).split('\n');
  return lines.filter((line) => !line.startsWith('Z') && line.split(/\s+/).includes(word)).length;
}
