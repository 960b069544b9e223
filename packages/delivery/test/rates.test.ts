import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSqlite } from '@nanoclaw/session-db/node';
import type { SendOutcome } from '@nanoclaw/session-db/protocol';
import { describe, expect, it } from 'vitest';
import { type GatePlace } from '../src/gate.ts';
import { Gate, type Rate, RateLimits, type RateStoreTrouble, SqliteRateStore } from '../src/index.ts';
import { START, temporaryFolder } from './support.ts';

const CHAT = { key: 'chat', burst: 2, everyMs: 1_000 };
const ACCOUNT = { key: 'account', burst: 3, everyMs: 100 };
const HOURLY = { key: 'hourly', burst: 2, everyMs: 3_600_000 };

function untroubled(trouble: RateStoreTrouble): void {
  throw new Error(`There is to be no trouble: ${JSON.stringify(trouble)}`);
}

describe('token buckets', () => {
  it('allow a burst, then one in each interval', () => {
    const limits = new RateLimits();
    const waits = [0, 0, 0, 500, 1_000, 1_000].map((after) => limits.take([CHAT], START + after));
    expect(waits).toEqual([0, 0, 1_000, 500, 0, 1_000]);
  });

  it('take from all or from none', () => {
    const limits = new RateLimits();
    limits.take([CHAT], START);
    limits.take([CHAT], START);
    for (let i = 0; i < 10; i += 1) expect(limits.take([CHAT, ACCOUNT], START)).toBe(1_000);
    for (let i = 0; i < 3; i += 1) expect(limits.take([ACCOUNT], START)).toBe(0);
    expect(limits.take([ACCOUNT], START)).toBe(100);
  });

  it('are at worst empty after the clock was set back by a day', () => {
    const limits = new RateLimits();
    limits.take([CHAT], START);
    expect(limits.take([CHAT], START - 86_400_000)).toBeLessThanOrEqual(1_000);
  });

  it('that are slow to fill survive the process, and never hold more than they did', () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'rates.db');
    {
      using store = new SqliteRateStore(openSqlite, path, START, untroubled);
      const limits = new RateLimits(store);
      expect(limits.take([HOURLY], START)).toBe(0);
      expect(limits.take([HOURLY], START)).toBe(0);
    }
    using store = new SqliteRateStore(openSqlite, path, START + 1, untroubled);
    const limits = new RateLimits(store);
    expect(limits.take([HOURLY], START + 1)).toBe(3_599_999);
    expect(limits.take([HOURLY], START + 3_600_000)).toBe(0);
    expect(limits.take([CHAT], START)).toBe(0);
    expect(store.load('chat')).toBeUndefined();
  });

  it("start anew where their file is damaged or another program's, and say so (failure 87)", () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'rates.db');
    const other = openSqlite(join(folder.path, 'other.db'), 'create');
    other.exec('CREATE TABLE rates (key TEXT)');
    other.close();
    const whole = readFileSync(join(folder.path, 'other.db'));
    for (const content of ['garbage '.repeat(1_000), whole, whole.subarray(0, 5_000), '']) {
      writeFileSync(path, content);
      const troubles: string[] = [];
      {
        using store = new SqliteRateStore(openSqlite, path, START, ({ type }) => troubles.push(type));
        store.save('key', START + 1_000);
        expect(store.load('key')).toBe(START + 1_000);
      }
      expect(troubles).toEqual(content === '' ? [] : ['made-anew']);
      using again = new SqliteRateStore(openSqlite, path, START, untroubled);
      expect(again.load('key')).toBe(START + 1_000);
    }
  });

  it('hold without their file, and tell once that it cannot be used (failure 87)', () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'rates.db');
    const troubles: string[] = [];
    using store = new SqliteRateStore(openSqlite, path, START, ({ type }) => troubles.push(type));
    const holder = openSqlite(path, 'write');
    holder.exec('BEGIN IMMEDIATE');
    const limits = new RateLimits(store);
    expect([0, 1, 2].map(() => limits.take([HOURLY], START))).toEqual([0, 0, 3_600_000]);
    holder.exec('ROLLBACK');
    holder.close();
    expect(troubles).toEqual(['not-kept']);
    expect(limits.take([{ ...HOURLY, key: 'next' }], START)).toBe(0);
    expect(store.load('next')).toBeDefined();
  });

  it('do not write each take of a long burst', () => {
    let saves = 0;
    const limits = new RateLimits({ load: () => undefined, save: () => void (saves += 1) });
    for (let i = 0; i < 100; i += 1) limits.take([{ key: 'k', burst: 100, everyMs: 1_000 }], START);
    expect(saves).toBeLessThan(6);
  });

  it('are forgotten once they are full', () => {
    let loads = 0;
    const limits = new RateLimits({ load: () => void (loads += 1), save: () => undefined });
    limits.take([HOURLY], START);
    const later = START + 7 * 3_600_000;
    for (let i = 0; i < 2_000; i += 1) limits.take([ACCOUNT], later + i * 1_000);
    limits.take([HOURLY], later);
    expect(loads).toBe(2);
  });
});

/** The place of one who may send. */
function place(gate: Gate, account: string, session: string, now = START): GatePlace {
  const entered = gate.enter({ account, session, lane: 'l' }, [], now);
  if (typeof entered === 'number') throw new Error(`It has to wait ${entered} ms.`);
  return entered;
}

function waitMs(gate: Gate, account: string, session: string, now = START, rates: Rate[] = []): number {
  const entered = gate.enter({ account, session, lane: 'l' }, rates, now);
  return typeof entered === 'number' ? entered : 0;
}

describe('the gate', () => {
  const sent: SendOutcome = { type: 'sent', platformMessageId: null };
  const offline: SendOutcome = { type: 'offline' };
  const unknown: SendOutcome = { type: 'unknown', reason: 'it threw' };

  it('lets only so many sends of one account out at once, and others past it (failure 40)', () => {
    const gate = new Gate();
    const places = Array.from({ length: 16 }, (_, i) => place(gate, 'slow', `s${i}`));
    expect(waitMs(gate, 'slow', 'one too many')).toBeGreaterThan(0);
    expect(waitMs(gate, 'quick', 'q')).toBe(0);
    places[0]?.[Symbol.dispose]();
    expect(waitMs(gate, 'slow', 'next')).toBe(0);
  });

  it('lets one session have half of an account, and keeps the rest for others (failure 72)', () => {
    const gate = new Gate();
    const lanes = Array.from({ length: 9 }, (_, i) => ({ account: 'slow', session: 'hog', lane: `l${i}` }));
    const entered = lanes.map((asking) => gate.enter(asking, [], START));
    expect(entered.filter((one) => typeof one === 'number')).toHaveLength(1);
    expect(waitMs(gate, 'slow', 'another')).toBe(0);
  });

  it('asks an account that is away less and less often, with one message, until it is not', () => {
    const gate = new Gate();
    let now = START;
    const waits = [];
    for (let i = 0; i < 8; i += 1) {
      using probe = place(gate, 'away', 'probe', now);
      if (i > 0) expect(waitMs(gate, 'away', `other ${i}`, now)).toBeGreaterThan(0);
      probe.end(offline, now);
      probe[Symbol.dispose]();
      const wait = waitMs(gate, 'away', 'probe', now);
      waits.push(Math.floor(wait / 1_000));
      now += wait;
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    using last = place(gate, 'away', 'probe', now);
    last.end(sent, now);
    expect(waitMs(gate, 'away', 'a', now)).toBe(0);
    expect(waitMs(gate, 'away', 'b', now)).toBe(0);
  });

  it('takes a send that threw or gave no answer for the trouble of its session alone (failure 72)', () => {
    const gate = new Gate();
    {
      using thrown = place(gate, 'bot', 'broken');
      thrown.end(unknown, START);
    }
    expect(waitMs(gate, 'bot', 'broken')).toBe(1_000);
    expect(waitMs(gate, 'bot', 'another')).toBe(0);
  });

  it('has a place back when its holder is gone, whatever became of the send, and only once', () => {
    const gate = new Gate();
    const places = Array.from({ length: 16 }, (_, i) => place(gate, 'bot', `s${i}`));
    for (let i = 0; i < 3; i += 1) places[0]?.[Symbol.dispose]();
    expect(waitMs(gate, 'bot', 'a')).toBe(0);
    expect(waitMs(gate, 'bot', 'b')).toBeGreaterThan(0);
  });

  it('sends those who wait away to different times, and the same one to the same time', () => {
    const gate = new Gate();
    place(gate, 'bot', 'none yet')[Symbol.dispose]();
    for (const session of ['first', 'second']) waitMs(gate, 'bot', session, START, [CHAT]);
    const waits = ['a', 'b', 'c', 'b'].map((session) => waitMs(gate, 'bot', session, START, [CHAT]));
    expect(waits).toEqual([1_000, 2_000, 3_000, 2_000]);
    expect(waitMs(gate, 'bot', 'a', START + 1_000, [CHAT])).toBe(0);
    expect(waitMs(gate, 'bot', 'b', START + 2_000, [CHAT])).toBe(0);
  });
});
