/**
 * What it costs to look at every session once: the loop's floor against opening both files of each, over 10 000 idle
 * sessions; what they hold in memory; and how late a due message among them is. `pnpm bench`, some 20 s.
 *
 * The sessions lie in 500 real folders, each under 20 keys, so that the disk holds it.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  changeToken,
  createSession,
  HostSession,
  RunnerSession,
  readOutbound,
  runId,
  SESSION_LOOP,
  SessionLoop,
  sessionFolder,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { sweepSession } from '../src/index.ts';

const SESSIONS = 10_000;
const FOLDERS = 500;
const ROUNDS = 5;

const root = mkdtempSync(join(tmpdir(), 'nanoclaw-floor-'));
try {
  const folders = makeSessions();
  const keys = Array.from({ length: SESSIONS }, (_, i) => `session-${i}`);
  const folderOf = (key: string) => folders[Number(key.slice(8)) % FOLDERS] ?? sessionFolder(root);

  const floor = await floorPasses(keys, (key) => changeToken(folderOf(key).outbound));
  // A tenth of them, counted ten times: all of them take half a minute a round on a busy machine.
  const naive = rounds(() => {
    for (const key of keys.slice(0, SESSIONS / 10)) openBoth(folderOf(key));
  }).map((ms) => ms * 10);
  console.log(`one pass over ${SESSIONS} idle sessions, ${ROUNDS} rounds, median (least–most):`);
  console.log(`  opening both files of each   ${shown(naive)}`);
  console.log(`  the loop's floor             ${shown(floor.times)}`);
  console.log(`  ratio                        ${(median(naive) / median(floor.times)).toFixed(0)}`);
  console.log(`  longest hold of the event loop in a floor pass: ${floor.longestMs.toFixed(1)} ms`);
  console.log(`  memory per session: ${floor.bytesEach.toFixed(0)} bytes`);
  const late = await lateness(keys, (key) => changeToken(folderOf(key).outbound));
  console.log(`a due message among them, floor passes going on: ${shown(late)} late`);
} finally {
  rmSync(root, { recursive: true });
}

function makeSessions() {
  const first = createSession(join(root, 'first'));
  using session = HostSession.open(first, openSqlite);
  const run = runId('run-1');
  session.beginRun(run, 1);
  using runner = RunnerSession.open(first, openSqlite, { runId: run, runnerVersion: '0', provider: 'bench' }, 1);
  session.enqueue(
    { id: 'm', kind: 'chat', timestamp: 1, trigger: 'wakes', address: null, content: { text: 'hello' } },
    1,
  );
  const claimed = runner.claim(1, { work: 1, control: 1, context: 1 });
  if (claimed.type !== 'claimed') throw new Error(claimed.type);
  runner.finish(
    claimed.claimed.map((one) => one.claim),
    { type: 'completed' },
    [],
    1,
  );
  session.endRun(run);
  const read = readOutbound(first, openSqlite, { ...session.cursor(), again: [] });
  sweepSession(session, { run: { type: 'none' }, read, vitals: undefined, steadySince: 0 }, 2);
  return Array.from({ length: FOLDERS }, (_, i) => {
    const copy = join(root, String(i));
    cpSync(first.root, copy, { recursive: true });
    return sessionFolder(copy);
  });
}

/** The naive way: open both files, ask what is due and what was acknowledged, close them. */
function openBoth(folder: ReturnType<typeof sessionFolder>): void {
  using session = HostSession.open(folder, openSqlite);
  session.nextDueAt();
  const read = readOutbound(folder, openSqlite, { ...session.cursor(), again: [] });
  if (read.type !== 'read') throw new Error(read.type);
}

/** Drives a loop by a clock of its own through floor passes, each timed, in slices as the event loop would get them. */
async function floorPasses(keys: readonly string[], token: (key: string) => string | undefined) {
  let now = 1_000_000;
  let due: (() => void) | undefined;
  let visits = 0;
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  const loop = new SessionLoop({
    visit: async () => {
      visits++;
      return { type: 'visited', nextAt: undefined };
    },
    token,
    now: () => now,
    monotonic: () => now,
    setTimer: (_, callback) => {
      due = callback;
      return () => (due = undefined);
    },
    onTrouble: (trouble) => console.log(trouble),
  });
  for (const key of keys) loop.add(key);
  loop.start();
  while (visits < keys.length) await slice();
  await pause(10);
  collectGarbage();
  const bytesEach = (process.memoryUsage().heapUsed - before) / keys.length;

  const times: number[] = [];
  let longestMs = 0;
  for (let round = 0; round < ROUNDS + 1; round++) {
    let spent = 0;
    for (let passed = 0; passed < SESSION_LOOP.floorMs; passed += SESSION_LOOP.tickMs) {
      now += SESSION_LOOP.tickMs;
      for (let i = 0; i < keys.length / SESSION_LOOP.sliceMax + 1; i++) {
        const start = performance.now();
        await slice();
        const took = performance.now() - start;
        spent += took;
        if (round > 0) longestMs = Math.max(longestMs, took);
      }
    }
    if (round > 0) times.push(spent);
  }
  if (visits !== keys.length) throw new Error(`${visits - keys.length} idle sessions were visited.`);
  await loop.stop();
  return { times, longestMs, bytesEach };

  async function slice(): Promise<void> {
    const callback = due;
    due = undefined;
    callback?.();
    await Promise.resolve();
  }
}

/** Twice, because what the first finds dead may hold more. */
function collectGarbage(): void {
  globalThis.gc?.();
  globalThis.gc?.();
}

/** How late the visit of a due session is, by the real clock, with a floor pass over all every second. */
async function lateness(keys: readonly string[], token: (key: string) => string | undefined): Promise<number[]> {
  const late: number[] = [];
  let visited = 0;
  let dueAt = Number.POSITIVE_INFINITY;
  const loop = new SessionLoop(
    {
      visit: async (key, { now }) => {
        if (key !== 'due') {
          visited++;
          return { type: 'visited', nextAt: undefined };
        }
        if (now >= dueAt) late.push(Date.now() - dueAt);
        // Measured once everything has been visited for the first time.
        if (visited < keys.length) return { type: 'visited', nextAt: now + 1_000 };
        dueAt = now + 50 + ((late.length * 37) % 100);
        return { type: 'visited', nextAt: dueAt };
      },
      token,
      now: () => Date.now(),
      monotonic: () => performance.now(),
      setTimer: (ms, callback) => {
        const timer = setTimeout(callback, ms);
        return () => clearTimeout(timer);
      },
      onTrouble: (trouble) => console.log(trouble),
    },
    { ...SESSION_LOOP, floorMs: 1_000, tickMs: 1_000 },
  );
  for (const key of keys) loop.add(key);
  loop.add('due');
  loop.start();
  await pause(8_000);
  await loop.stop();
  return late;
}

function rounds(action: () => void): number[] {
  action();
  return Array.from({ length: ROUNDS }, () => {
    const start = performance.now();
    action();
    return performance.now() - start;
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

function shown(values: readonly number[]): string {
  return `${median(values).toFixed(1)} ms (${Math.min(...values).toFixed(1)}–${Math.max(...values).toFixed(1)})`;
}
