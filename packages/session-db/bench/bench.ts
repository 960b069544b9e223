/**
 * `pnpm bench`: what the steps of the protocol cost on this machine, and whether they cost the same with a long history
 * as with none. Figures of one run compare with each other, not with those of another machine or hour.
 */

import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqlite } from '#driver';
import {
  changeToken,
  createSession,
  DELIVERY_RETRY,
  HostSession,
  INBOUND_RETRY,
  RunnerSession,
  readOutbound,
  runId,
  type SessionFolder,
} from '../src/index.ts';
import { openOwnFile } from '../src/open.ts';
import { fillHistory } from '../test/fill-history.ts';

const HISTORY = 1_000_000;
const ROUNDS = 5;
const TIMES = 300;
const RATIO_MAX = 1.5;

const RUN = runId('run-1');
const LIMITS = { work: 10, control: 10, context: 10 };
const NOW = 5_000;

interface Benched {
  readonly folder: SessionFolder;
  readonly host: HostSession;
  readonly runner: RunnerSession;
}

const root = mkdtempSync(join(tmpdir(), 'nanoclaw-bench-'));
/** Of each step and column, the median of each round, in microseconds. */
const medians = new Map<string, Record<Column, number[]>>();
type Column = 'limit' | 'without' | 'with';
let count = 0;

try {
  const without = session('without', 0);
  const withHistory = session('with', HISTORY);
  for (let round = 0; round <= ROUNDS; round++) {
    // In turns, so that a noisy moment of the machine is not one column's alone.
    limits();
    steps('without', without);
    steps('with', withHistory);
    if (round === 0) medians.clear(); // It was the warm-up.
  }
  report();
} finally {
  rmSync(root, { recursive: true, force: true });
}

function session(name: string, history: number): Benched {
  const folder = createSession(join(root, name));
  const handshake = { runId: RUN, runnerVersion: '0', provider: 'offline' };
  HostSession.open(folder, openSqlite)[Symbol.dispose]();
  RunnerSession.open(folder, openSqlite, handshake, NOW)[Symbol.dispose]();
  fillHistory(folder, openSqlite, history);
  const host = HostSession.open(folder, openSqlite);
  host.beginRun(RUN, NOW);
  return { folder, host, runner: RunnerSession.open(folder, openSqlite, handshake, NOW) };
}

/** What the same disk can do at best. */
function limits(): void {
  const log = openSync(join(root, 'log'), 'a');
  const append = stopwatch('append + fdatasync', 'limit');
  for (let i = 0; i < TIMES; i++) {
    append(() => {
      writeSync(log, '{"text":"a message of the usual size, or nearly so"}\n');
      fdatasyncSync(log);
    });
  }
  closeSync(log);

  const bare = openOwnFile(openSqlite, join(root, 'bare.db'));
  bare.exec('CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b TEXT)');
  const insert = stopwatch('bare SQLite insert, one a transaction', 'limit');
  for (let i = 0; i < TIMES; i++) insert(() => bare.run('INSERT INTO t (b) VALUES (:b)', { b: 'a message' }));
  bare.close();
}

/** Sends messages all the way, one after the other, and polls in between. */
function steps(column: Column, { folder, host, runner }: Benched): void {
  const step = (name: string) => stopwatch(name, column);
  const token = step('stat-skip (change token)');
  const idleRunner = step('poll idle: claim');
  const idleHost = step('poll idle: read + settle');
  const idleDeliveries = step('poll idle: deliveries');
  const enqueue = step('enqueue');
  const claim = step('claim');
  const finish = step('finish, with a reply');
  const readAndSettle = step('read + settle');
  const accept = step('accept');
  const deliver = step('begin + record');

  const read = () => {
    const contents = readOutbound(folder, openSqlite, { ...host.cursor(), again: [] });
    if (contents.type !== 'read') throw new Error(`outbound.db cannot be read: ${contents.type}`);
    return contents;
  };
  for (let i = 0; i < TIMES; i++) {
    token(() => changeToken(folder.outbound));
    idleRunner(() => runner.claim(NOW, LIMITS));
    idleHost(() => host.settle(read(), NOW, INBOUND_RETRY));
    idleDeliveries(() => host.deliveries.due(NOW, 10));

    const id = `message-${count++}`;
    const address = { channelType: 'terminal', platformId: 'main', threadId: null };
    const content = { text: 'a message of the usual size, or nearly so' };
    enqueue(() => host.enqueue({ id, kind: 'chat', timestamp: NOW, trigger: 'wakes', address, content }, NOW));
    const result = claim(() => runner.claim(NOW, LIMITS));
    if (result.type !== 'claimed' || result.claimed.length !== 1) throw new Error(`Not claimed: ${result.type}`);
    const claims = result.claimed.map((one) => one.claim);
    const reply = { id: `reply-${id}`, kind: 'chat', address, inReplyTo: id, content } as const;
    finish(() => runner.finish(claims, { type: 'completed' }, [reply], NOW));
    const news = readAndSettle(() => {
      const contents = read();
      host.settle(contents, NOW, INBOUND_RETRY);
      return contents;
    });
    accept(() => {
      const taken = news.messages.map((message) => ({ message, address }));
      host.deliveries.accept(taken, news.messagesThrough, NOW);
    });
    deliver(() => {
      for (const attempt of host.deliveries.begin(host.deliveries.due(NOW, 10), NOW, DELIVERY_RETRY)) {
        host.deliveries.record(attempt, { to: 'delivered', platformMessageId: 'p' }, NOW);
      }
    });
  }
}

/** Times what it is given, and keeps the median of a round. */
function stopwatch(name: string, column: Column): <T>(action: () => T) => T {
  const taken: number[] = [];
  return (action) => {
    const start = performance.now();
    const result = action();
    taken.push((performance.now() - start) * 1_000);
    if (taken.length === TIMES) {
      const columns = medians.get(name) ?? { limit: [], without: [], with: [] };
      columns[column].push(median(taken));
      medians.set(name, columns);
    }
    return result;
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function report(): void {
  console.log(
    `Medians of ${ROUNDS} rounds of ${TIMES}, in microseconds (least–most of the rounds); Node ${process.version}.\n`,
  );
  const header = ['step', 'no history', `${HISTORY.toLocaleString('en')} finished`, 'ratio'];
  const rows = [...medians].map(([name, { limit, without, with: long }]) => {
    if (limit.length > 0) return [name, shown(limit), '', ''];
    return [name, shown(without), shown(long), (median(long) / median(without)).toFixed(2)];
  });
  const widths = header.map((_, i) => Math.max(...[header, ...rows].map((row) => row[i]?.length ?? 0)));
  for (const row of [header, ...rows]) {
    console.log(
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
    );
  }
  const over = rows.filter((row) => Number(row[3]) > RATIO_MAX).map((row) => row[0]);
  console.log(`\n${over.length === 0 ? `No ratio is above ${RATIO_MAX}.` : `Above ${RATIO_MAX}: ${over.join(', ')}.`}`);
}

function shown(values: readonly number[]): string {
  const [least, middle, most] = [Math.min(...values), median(values), Math.max(...values)].map((each) =>
    each.toFixed(each < 100 ? 1 : 0),
  );
  return `${middle} (${least}–${most})`;
}
