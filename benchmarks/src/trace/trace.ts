/**
 * `npm run bench -- --trace`: one round trip of a message through a host, a real guard and a real runner: what each process did, when, and
 * how long that took.
 */
import { chmodSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type BetterSqlite3 from 'better-sqlite3';
import { productInMemory } from '../contestants/product.ts';
import { kindOf, Recorder, shortened, type TraceEvent } from './recorder.ts';

/** Prints one round trip: a line for each thing that was done, with when it began, how long it took, who did it and what it was. */
export async function trace(root: string): Promise<void> {
  const recorder = new Recorder('host');
  recordStatements(recorder);
  const out = join(root, 'runner.jsonl');
  const bun = join(root, 'bun');
  const preload = fileURLToPath(new URL('./runner-preload.ts', import.meta.url));
  writeFileSync(bun, `#!/bin/sh\nNANOCLAW_TRACE=${out} exec bun --conditions=source --preload ${preload} "$@"\n`);
  chmodSync(bun, 0o755);
  const folder = mkdtempSync(join(root, 'data-'));
  const opened = await productInMemory({
    bunPath: bun,
    onRead: (since, read) => recorder.note('guard', read, since),
    onSend: () => recorder.note('channel', 'send', performance.now()),
  }).open(folder, 1);
  for (let i = 0; i < 20; i += 1) {
    await opened.ask(0);
    await sleep(50);
  }
  await sleep(500);
  recorder.events.length = 0;
  const since = performance.now();
  await opened.ask(0);
  recorder.note('channel', 'round trip', since);
  const end = performance.timeOrigin + performance.now();
  await sleep(600);
  await opened[Symbol.asyncDispose]();
  const begun = performance.timeOrigin + since;
  const runner: TraceEvent[] = existsSync(out)
    ? readFileSync(out, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    : [];
  const all = [...recorder.events, ...runner].filter(({ at }) => at >= begun).toSorted((a, b) => a.at - b.at);
  show(all, begun, end);
}

function show(events: readonly TraceEvent[], begun: number, end: number): void {
  const lines = events.map(({ at, ms, process, kind, what }) => {
    const late = at > end ? '+' : ' ';
    return `${(at - begun).toFixed(2).padStart(8)}${late} ${ms.toFixed(2).padStart(7)}  ${process.padEnd(7)} ${kind.padEnd(12)} ${what}`;
  });
  process.stdout.write(`${lines.join('\n')}\n`);
  const counts = new Map<string, number>();
  for (const { process: who, kind } of events) counts.set(`${who} ${kind}`, (counts.get(`${who} ${kind}`) ?? 0) + 1);
  process.stdout.write(`${[...counts].map(([what, count]) => `${what}: ${count}`).join(', ')}\n`);
}

/** Records what is done with better-sqlite3 in this process from now on. */
function recordStatements(recorder: Recorder): void {
  const require = createRequire(fileURLToPath(new URL('../../../packages/session-db/package.json', import.meta.url)));
  const Database: typeof BetterSqlite3 = require('better-sqlite3');
  const probe = new Database(':memory:');
  const statement = Object.getPrototypeOf(probe.prepare('SELECT 1'));
  probe.close();
  for (const name of ['run', 'all', 'get'] as const) {
    const original = statement[name];
    statement[name] = function traced(this: BetterSqlite3.Statement, ...values: unknown[]) {
      const since = performance.now();
      try {
        return original.apply(this, values);
      } finally {
        recorder.note(kindOf(this.source), `${fileOf(this.database)}: ${shortened(this.source)}`, since);
      }
    };
  }
  const exec = Database.prototype.exec;
  Database.prototype.exec = function traced(this: BetterSqlite3.Database, sql: string) {
    const since = performance.now();
    try {
      return exec.call(this, sql);
    } finally {
      recorder.note(kindOf(sql), `${fileOf(this)}: ${shortened(sql)}`, since);
    }
  };
}

function fileOf({ name }: BetterSqlite3.Database): string {
  return name.split('/').at(-1) ?? name;
}
