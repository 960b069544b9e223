/** What the tests of the guard share: sessions in a temporary folder, a guard over the real program, hostile files. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  createSession,
  HostSession,
  RunnerSession,
  runId,
  type SessionFolder,
  type SetTimer,
  type Sqlite,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { GUARD_POLICY, Guard, type GuardPolicy, type GuardTrouble } from '../src/guard.ts';

/** The guard's program as it stands in the sources. */
export const SOURCE_PROGRAM = fileURLToPath(new URL('../src/guard-main.ts', import.meta.url));

/** The same in one file, which starts sooner, where a set-up has made it. */
export const PROGRAM = process.env['NANOCLAW_TEST_GUARD'] ?? SOURCE_PROGRAM;

export const ALL = { acksAfter: 0, messagesAfter: 0, again: [] };

export const setTimer: SetTimer = (delayMs, action) => {
  const timer = setTimeout(action, delayMs);
  return () => clearTimeout(timer);
};

/** A timer for a guard, of whose waits those of some lengths, in milliseconds, are over when a test says so. */
export class HeldTimer {
  readonly #held = new Map<number, Set<() => void>>();

  constructor(...lengths: readonly number[]) {
    for (const length of lengths) this.#held.set(length, new Set());
  }

  readonly setTimer: SetTimer = (delayMs, action) => {
    const held = this.#held.get(delayMs);
    if (held === undefined) return setTimer(delayMs, action);
    held.add(action);
    return () => void held.delete(action);
  };

  /** The waits of this length that are under way are over. */
  pass(length: number): void {
    const actions = [...(this.#held.get(length) ?? [])];
    this.#held.get(length)?.clear();
    for (const action of actions) action();
  }

  /** The same, and from now on waits of this length are waited for again. */
  letGo(length: number): void {
    const actions = this.#held.get(length) ?? [];
    this.#held.delete(length);
    for (const action of actions) action();
  }
}

/** A temporary folder with sessions, and guards that read them. */
export class GuardWorld implements Disposable {
  readonly root = mkdtempSync(join(tmpdir(), 'nanoclaw-guard-'));
  readonly scratch = mkdtempSync(join(tmpdir(), 'nanoclaw-guard-scratch-'));
  readonly troubles: GuardTrouble[] = [];
  readonly #guards: Guard[] = [];
  #sessions = 0;

  [Symbol.dispose](): void {
    for (const guard of this.#guards) guard[Symbol.dispose]();
    rmSync(this.root, { recursive: true, force: true });
    rmSync(this.scratch, { recursive: true, force: true });
  }

  guard(policy: Partial<GuardPolicy> = {}, program = PROGRAM, timer: SetTimer = setTimer): Guard {
    const guard = new Guard({
      program,
      sessions: this.root,
      scratch: this.scratch,
      setTimer: timer,
      monotonic: () => performance.now(),
      onTrouble: (trouble) => this.troubles.push(trouble),
      policy: { ...GUARD_POLICY, ...policy },
    });
    this.#guards.push(guard);
    return guard;
  }

  /** A session in which a run has taken one message and answered it with `text`. */
  session(text = 'the answer'): SessionFolder {
    const folder = createSession(join(this.root, `session-${++this.#sessions}`));
    using host = HostSession.open(folder, openSqlite);
    const run = runId('run-1');
    host.enqueue(
      { id: 'm1', kind: 'chat', timestamp: 1, trigger: 'wakes', address: null, content: { text: 'hello' } },
      1_000,
    );
    host.beginRun(run, 1_000);
    using runner = RunnerSession.open(
      folder,
      openSqlite,
      { runId: run, runnerVersion: '0', provider: 'offline' },
      1_000,
    );
    const result = runner.claim(1_000, { work: 10, control: 10, context: 10 });
    if (result.type !== 'claimed') throw new Error(result.type);
    const claims = result.claimed.map((one) => one.claim);
    const reply = { id: 'r1', kind: 'chat', address: null, inReplyTo: 'm1', content: { text } } as const;
    runner.finish(claims, { type: 'completed' }, [reply], 1_100);
    host.endRun(run);
    return folder;
  }
}

/** Does with a runner's file what only its owner can. */
export function tampered(folder: SessionFolder, action: (db: Sqlite) => void): void {
  const db = openSqlite(folder.outbound.database, 'write');
  try {
    action(db);
  } finally {
    db.close();
  }
}

const PAGE_BYTES = 4_096;
const INTERIOR = 5;
const LEAF = 13;
/** As many as SQLite believes that fit on a page. */
const CELLS = 600;

/**
 * Makes a file of which not even the schema can be read to its end, in some twenty pages: the tree of `sqlite_schema`
 * leads, after the rows that it had, through three levels of pages whose every entry is the same page. The row at their end
 * is one of which SQLite takes any number: that an index belongs to a constraint. 600⁴ of them take hours.
 */
export function makeEndless(folder: SessionFolder): void {
  let root = 0;
  tampered(folder, (db) => {
    const name = 'sqlite_autoindex_messages_out_1';
    root = db.all<{ root: number }>(`SELECT rootpage AS root FROM sqlite_schema WHERE name = '${name}'`)[0]?.root ?? 0;
  });
  const old = readFileSync(folder.outbound.database);
  const pages = old.length / PAGE_BYTES;
  const [schema, first, second, leaf] = [pages + 1, pages + 2, pages + 3, pages + 4];
  const bytes = Buffer.concat([old, Buffer.alloc(4 * PAGE_BYTES)]);
  const page = (number: number) => bytes.subarray((number - 1) * PAGE_BYTES, number * PAGE_BYTES);

  // The page that the schema began at, moved: its header is at 100 on the first page, and at 0 on any other.
  old.copy(page(schema), 0, 0, PAGE_BYTES);
  old.copy(page(schema), 0, 100, PAGE_BYTES);
  const contentAt = old.readUInt16BE(105);
  old.copy(page(schema), contentAt, contentAt, PAGE_BYTES);

  page(1).fill(0, 100);
  putInterior(page(1), 100, [schema, ...Array.from({ length: 99 }, () => first)]);
  putInterior(
    page(first),
    0,
    Array.from({ length: CELLS }, () => second),
  );
  putInterior(
    page(second),
    0,
    Array.from({ length: CELLS }, () => leaf),
  );
  putLeaf(page(leaf), root);
  bytes.writeUInt32BE(bytes.length / PAGE_BYTES, 28);
  writeFileSync(folder.outbound.database, bytes);
}

function putInterior(page: Buffer, at: number, children: readonly number[]): void {
  const distinct = [...new Set(children)];
  page[at] = INTERIOR;
  page.writeUInt16BE(children.length, at + 3);
  page.writeUInt16BE(PAGE_BYTES - distinct.length * 5, at + 5);
  page.writeUInt32BE(children.at(-1) ?? 0, at + 8);
  const cellOf = (child: number) => PAGE_BYTES - (distinct.indexOf(child) + 1) * 5;
  for (const child of distinct) {
    page.writeUInt32BE(child, cellOf(child));
    page[cellOf(child) + 4] = 100;
  }
  children.forEach((child, i) => void page.writeUInt16BE(cellOf(child), at + 12 + 2 * i));
}

function putLeaf(page: Buffer, root: number): void {
  const row = Buffer.concat([
    // The header of the record: its own length, then the types of five values.
    Buffer.from([6, 13 + 2 * 5, 13 + 2 * 31, 13 + 2 * 12, 1, 0]),
    Buffer.from('indexsqlite_autoindex_messages_out_1messages_out'),
    Buffer.from([root]),
  ]);
  const cell = Buffer.concat([Buffer.from([row.length, 100]), row]);
  const cellAt = PAGE_BYTES - cell.length;
  cell.copy(page, cellAt);
  page[0] = LEAF;
  page.writeUInt16BE(CELLS, 3);
  page.writeUInt16BE(cellAt, 5);
  for (let i = 0; i < CELLS; i++) page.writeUInt16BE(cellAt, 8 + 2 * i);
}
