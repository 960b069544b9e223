/** Failures of systems like this one, by their numbers, where no other test of this package is about them. */

import { chmodSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import {
  HostSession,
  lastBeat,
  type OpenSqlite,
  RunnerSession,
  readOutbound,
  runId,
  SqliteError,
} from '../src/index.ts';
import { openOwnFile, openPeerFile } from '../src/open.ts';
import type { OpenMode } from '../src/sqlite/index.ts';
import { chat, claim, handshake, idsOf, LIMITS, RUN, reply, TestSession } from './support.ts';

let session: TestSession;
beforeEach(() => {
  session = new TestSession(openSqlite);
});
afterEach(() => session[Symbol.dispose]());

/** Root may write anywhere, so it is somebody else for a moment. */
function asNobody(action: () => void): void {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    action();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

function codeOf(action: () => Disposable): string {
  try {
    action()[Symbol.dispose]();
    return 'It could be opened.';
  } catch (error) {
    if (error instanceof SqliteError) return error.code;
    throw error;
  }
}

describe('failure 3: heartbeats that mislead', () => {
  it('one that is missing is not an age but an absence', () => {
    expect(lastBeat(session.folder.outbound.heartbeat, 5_000)).toBeUndefined();
  });

  it('one of the run before is replaced when a run starts', () => {
    session.startRun(RUN, 1_000)[Symbol.dispose]();
    session.startRun(runId('run-2'), 900_000)[Symbol.dispose]();
    expect(lastBeat(session.folder.outbound.heartbeat, 900_500)).toBe(900_000);
  });

  it('one dated in the future counts as now, and so never as an advance of its own', () => {
    using runner = session.startRun(RUN, 1_000);
    utimesSync(session.folder.outbound.heartbeat, 9e9, 9e9);
    expect(lastBeat(session.folder.outbound.heartbeat, 5_000)).toBe(5_000);
    runner.beat(1_795_249_585_426);
    expect(lastBeat(session.folder.outbound.heartbeat, 1_795_249_599_999)).toBe(1_795_249_585_426);
  });

  it('a folder in its place is none', () => {
    session.startRun()[Symbol.dispose]();
    rmSync(session.folder.outbound.heartbeat);
    rmSync(session.folder.outbound.files, { recursive: true });
    const odd = { ...session.folder.outbound, heartbeat: session.folder.outbound.root };
    expect(lastBeat(odd.heartbeat, 5_000)).toBeUndefined();
  });
});

describe('failure 4: the record of what a run waits for', () => {
  it('has every tool in flight with the time-out that it declared, side by side', () => {
    using runner = session.startRun();
    const bash = { toolUseId: 't1', name: 'Bash', startedAt: 1_000, timeoutMs: 7_200_000 };
    const fetch = { toolUseId: 't2', name: 'WebFetch', startedAt: 1_100, timeoutMs: null };
    runner.progress([bash], 1_000);
    runner.progress([bash, fetch], 1_100);
    expect(session.contents().container).toMatchObject({ tools: [bash, fetch], progressAt: 1_100 });
    runner.progress([bash], 1_200);
    expect(session.contents().container).toMatchObject({ tools: [bash], progressAt: 1_200 });
  });
});

describe("failure 13: one session's broken file", () => {
  it('is a finding about that session, and the others go on', () => {
    using other = new TestSession(openSqlite);
    for (const each of [session, other]) {
      each.host.enqueue(chat('m1'), 1_000);
      using runner = each.startRun();
      runner.finish(
        claim(runner, 1_000).map((one) => one.claim),
        { type: 'completed' },
        [reply('o1', 'm1')],
        1_100,
      );
    }
    writeFileSync(session.folder.outbound.database, 'x'.repeat(8_192));
    const reads = [session, other].map((each) => each.read().type);
    expect(reads).toEqual(['corrupt', 'read']);
    truncateSync(session.folder.outbound.database, 100);
    expect(session.read().type).toBe('corrupt');
    // What needs only the host's own file works for the broken session too.
    expect(session.host.enqueue(chat('m2'), 2_000)).toBe('inserted');
  });
});

describe('failure 14: a reader that never sees new rows', () => {
  it('cannot be: each read sees the last commit, and no file is in WAL mode', () => {
    using runner = session.startRun();
    for (let i = 0; i < 5; i++) {
      session.host.enqueue(chat(`m${i}`), 1_000);
      expect(idsOf(claim(runner, 1_000))).toEqual([`m${i}`]);
      runner.send(reply(`o${i}`, `m${i}`), 1_000);
      expect(session.contents().messages).toHaveLength(i + 1);
    }
    for (const path of [session.folder.inbound.database, session.folder.outbound.database]) {
      const db = openSqlite(path, 'read');
      expect(db.all('PRAGMA journal_mode')).toEqual([{ journal_mode: 'delete' }]);
      db.close();
    }
  });

  it('and an own file that somebody has put into WAL mode is taken out of it', () => {
    const path = join(session.folder.host, 'wal.db');
    const db = openSqlite(path, 'create');
    db.exec('PRAGMA journal_mode = WAL; CREATE TABLE t (a)');
    db.close();
    const own = openOwnFile(openSqlite, path);
    expect(own.all('PRAGMA journal_mode')).toEqual([{ journal_mode: 'delete' }]);
    own.close();
  });
});

describe('failure 15: numbers allocated by several', () => {
  it('are never given twice: a tool that writes through a connection of its own takes the next one', () => {
    session.host.enqueue(chat('m1'), 1_000);
    using runner = session.startRun();
    using tool = RunnerSession.open(session.folder, openSqlite, handshake(RUN), 1_000);
    claim(runner, 1_000);
    const numbers: number[] = [];
    for (let i = 0; i < 10; i++) numbers.push((i % 2 === 0 ? runner : tool).send(reply(`o${i}`, 'm1'), 1_000).seq);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(new Set(numbers).size).toBe(10);
    expect(session.contents().messages.map((message) => message.seq)).toEqual(numbers);
  });
});

describe("failure 16: writing into the other side's file", () => {
  it('cannot be: either side opens it for reading only', () => {
    const opened: [string, OpenMode][] = [];
    const noting: OpenSqlite = (path, mode) => {
      opened.push([path.replace(/.*\//, ''), mode]);
      return openSqlite(path, mode);
    };
    using runner = RunnerSession.open(session.folder, noting, handshake(RUN), 1_000);
    session.host.beginRun(RUN, 1_000);
    session.host.enqueue(chat('m1'), 1_000);
    runner.finish(
      claim(runner, 1_000).map((one) => one.claim),
      { type: 'completed' },
      [],
      1_000,
    );
    runner.messageAt(2);
    runner.tasks(5);
    runner.routing();
    runner.prune(1_000, { keepMs: 0, batch: 5 });
    expect(new Set(opened.filter(([name]) => name === 'inbound.db').map(([, mode]) => mode))).toEqual(
      new Set(['read']),
    );

    opened.length = 0;
    using host = HostSession.open(session.folder, noting);
    host.settle(session.contents(), 1_000, { triesMax: 1, backoffBaseMs: 0, backoffMaxMs: 0 });
    readOutbound(session.folder, noting, { ...host.cursor(), again: [], runEnded: true });
    expect(new Set(opened.filter(([name]) => name === 'outbound.db').map(([, mode]) => mode))).toEqual(
      new Set(['read']),
    );
  });
});

describe('failure 19: a folder that the run may not write', () => {
  it('stops the run at its start, and the message is still there for one that can', () => {
    session.host.enqueue(chat('m1'), 1_000);
    session.startRun()[Symbol.dispose]();
    const { root, database } = session.folder.outbound;
    chmodSync(join(session.folder.root, '..'), 0o755);
    for (const mode of [0o444, 0o644]) {
      chmodSync(database, mode);
      chmodSync(root, 0o555);
      try {
        asNobody(() =>
          expect(codeOf(() => RunnerSession.open(session.folder, openSqlite, handshake(RUN), 2_000))).toMatch(
            /SQLITE_(READONLY|CANTOPEN)/,
          ),
        );
      } finally {
        chmodSync(root, 0o755);
        chmodSync(database, 0o644);
      }
    }
    using runner = session.startRun(runId('run-2'), 3_000);
    expect(idsOf(claim(runner, 3_000))).toEqual(['m1']);
  });
});

describe('failure 20: a lock that the other side holds', () => {
  it("answers the runner's poll at once that the file cannot be read just now", () => {
    using runner = session.startRun();
    const writer = openSqlite(session.folder.inbound.database, 'write');
    writer.exec('BEGIN EXCLUSIVE');
    expect(runner.claim(1_000, LIMITS)).toMatchObject({ type: 'unreadable' });
    writer.close();
    expect(runner.claim(1_000, LIMITS)).toMatchObject({ type: 'claimed' });
  });

  it("answers the host's read at once that the file is busy", () => {
    session.startRun()[Symbol.dispose]();
    const writer = openSqlite(session.folder.outbound.database, 'write');
    writer.exec('BEGIN EXCLUSIVE');
    expect(session.read()).toEqual({ type: 'busy' });
    writer.close();
    expect(session.read().type).toBe('read');
  });

  it('is waited for a twentieth of a second at most, and not at all by a reader', () => {
    const own = openOwnFile(openSqlite, session.folder.inbound.database);
    const peer = openPeerFile(openSqlite, session.folder.inbound.database);
    expect([own, peer].map((db) => db.all('PRAGMA busy_timeout'))).toEqual([[{ timeout: 0 }], [{ timeout: 0 }]]);
    own.close();
    peer.close();
  });
});
