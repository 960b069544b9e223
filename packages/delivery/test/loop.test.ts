import { type SendResult, SqliteError } from '@nanoclaw/session-db';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DELIVERY_POLICY, DeliveryLoop, type DeliveryPorts, type DeliveryReport } from '../src/index.ts';
import {
  Clock,
  MAIN,
  OTHER,
  START,
  sentOk,
  settled,
  TestSession,
  type TestWorld,
  temporaryFolder,
  texts,
  world as worldOn,
} from './support.ts';

let folder: ReturnType<typeof temporaryFolder>;
let sessions: TestSession[];
let clock: Clock;
let loop: DeliveryLoop | undefined;

beforeEach(() => {
  clock = new Clock();
  folder = temporaryFolder();
  sessions = [];
});

afterEach(async () => {
  // The deadlines pass on the clock of the test, for what hangs in it.
  const stopped = loop?.stop(0);
  await clock.advance(2_000);
  await stopped;
  loop = undefined;
  for (const one of sessions) one[Symbol.dispose]();
  folder[Symbol.dispose]();
});

function session(key: string): TestSession {
  const made = new TestSession(folder.path, key);
  sessions.push(made);
  return made;
}

function world(...[answer, changes]: Parameters<typeof worldOn>): TestWorld {
  return worldOn(answer, changes, clock);
}

const hangs = (): Promise<SendResult> => new Promise(() => undefined);

/** Runs the loop over one session for so long, and returns what it reported. */
async function run(w: TestWorld, a: TestSession, ms: number): Promise<DeliveryReport[]> {
  const reports: DeliveryReport[] = [];
  loop = new DeliveryLoop(w, { onReport: (_key, report) => reports.push(report) });
  loop.add(a.port);
  loop.start();
  await w.clock.advance(ms);
  return reports;
}

const limited: DeliveryPorts['route'] = (_session, { address }) => ({
  type: 'deliver',
  address: address ?? MAIN,
  account: 'bot',
  duplicates: 'key',
  rates: [{ key: 'bot', burst: 5, everyMs: 1_000 }],
});

describe('the loop', () => {
  it('delivers when the doorbell rings, and what was there before it started', async () => {
    const w = world();
    const a = session('a');
    a.say('before');
    loop = new DeliveryLoop(w);
    loop.add(a.port);
    await settled();
    expect(w.sent).toEqual([]);
    loop.start();
    await settled();
    a.say('after');
    loop.poke('a');
    await settled();
    expect(texts(w.sent)).toEqual(['before', 'after']);
  });

  it('finds what no bell announced, within one round of the floor', async () => {
    const w = world();
    const all = ['a', 'b', 'c'].map(session);
    loop = new DeliveryLoop(w, { floorMs: 2_000 });
    for (const one of all) loop.add(one.port);
    loop.start();
    await w.clock.advance(10_000);
    for (const one of all) one.say(one.key, {}, w.clock.now);
    await w.clock.advance(2_000);
    expect(texts(w.sent).toSorted()).toEqual(['a', 'b', 'c']);
  });

  it('opens nothing of a quiet session, however long it runs', async () => {
    const w = world();
    const a = session('a');
    let opened = 0;
    loop = new DeliveryLoop(w);
    loop.add({
      ...a.port,
      inSession: (use) => {
        opened += 1;
        return a.port.inSession(use);
      },
    });
    loop.start();
    await w.clock.advance(1_000);
    const afterFirstLook = opened;
    await w.clock.advance(60_000);
    expect(opened).toBe(afterFirstLook);
  });

  it('looks a second time after a change, because two commits may share a file time', async () => {
    const w = world();
    const a = session('a');
    let reads = 0;
    loop = new DeliveryLoop(w);
    loop.add({
      ...a.port,
      reader: {
        read: (request) => {
          reads += 1;
          return a.port.reader.read(request);
        },
      },
    });
    loop.start();
    await w.clock.advance(1_000);
    a.say('x');
    loop.poke('a');
    await settled();
    const before = reads;
    await w.clock.advance(25);
    expect(reads).toBe(before + 1);
    await w.clock.advance(1_000);
    expect(reads).toBe(before + 1);
  });

  it('makes one pass a session at a time, so that overlapping bells send nothing twice (failure 35)', async () => {
    const answers: ((result: SendResult) => void)[] = [];
    const w = world(() => new Promise((resolve) => answers.push(resolve)));
    const a = session('a');
    a.say('once');
    loop = new DeliveryLoop(w);
    loop.add(a.port);
    loop.start();
    for (let i = 0; i < 10; i += 1) {
      loop.poke('a');
      await settled();
    }
    a.say('meanwhile');
    loop.poke('a');
    await settled();
    expect(texts(w.sent)).toEqual(['once']);
    answers[0]?.({ type: 'sent', platformMessageId: null });
    await settled();
    expect(texts(w.sent)).toEqual(['once', 'meanwhile']);
  });

  it('is fair: a session with a long queue does not delay the one message of another', async () => {
    const w = world(sentOk, { policy: { ...DELIVERY_POLICY, attemptsMax: 10 } });
    const [busy, quiet] = [session('busy'), session('quiet')];
    for (let i = 0; i < 60; i += 1) busy.say(`m${i}`);
    quiet.say('mine');
    loop = new DeliveryLoop(w, { concurrency: 1 });
    loop.add(busy.port);
    loop.add(quiet.port);
    loop.start();
    await loop.drain('busy');
    expect(texts(w.sent).indexOf('mine')).toBeLessThanOrEqual(10);
    expect(w.sent).toHaveLength(61);
  });

  it('is fair with 100 000 rows in one session too: at most one pass of it comes first', async () => {
    const w = world(sentOk);
    const [busy, quiet] = [session('busy'), session('quiet')];
    const flood = Array.from({ length: 100_000 }, (_, i) => ({
      id: `flood-${i}`,
      kind: 'chat' as const,
      address: MAIN,
      inReplyTo: null,
      content: { text: `m${i}` },
    }));
    busy.runner.finish([], { type: 'completed' }, flood, START);
    quiet.say('mine');
    loop = new DeliveryLoop(w, { concurrency: 1 });
    loop.add(busy.port);
    loop.add(quiet.port);
    loop.start();
    await loop.drain('quiet');
    expect(texts(w.sent).indexOf('mine')).toBe(DELIVERY_POLICY.attemptsMax);
    await loop.stop(1_000);
  });

  it('goes on with other accounts while one hangs in more sessions than it has room for (failure 40)', async () => {
    const w = world((m, a) => (m.address?.channelType === 'slow' ? hangs() : sentOk(m, a)));
    const all = Array.from({ length: 40 }, (_, i) => session(`s${i}`));
    for (const one of all) one.say('slow', { address: { ...MAIN, channelType: 'slow' } });
    const last = session('last');
    last.say('quick');
    loop = new DeliveryLoop(w, { concurrency: 20 });
    for (const one of [...all, last]) loop.add(one.port);
    loop.start();
    await settled();
    expect(texts(w.sent)).toContain('quick');
    expect(texts(w.sent).filter((text) => text === 'slow')).toHaveLength(16);
  });

  it('wakes by itself when a message for later comes due', async () => {
    const w = world();
    const a = session('a');
    a.say('later', { deliverAfter: START + 7_777 });
    loop = new DeliveryLoop(w, { floorMs: 3_600_000 });
    loop.add(a.port);
    loop.start();
    await w.clock.advance(10_000);
    expect(w.sent.map((sent) => sent.at)).toEqual([START + 7_777]);
  });

  it("keeps one session's trouble its own, and comes back to it (failure 13)", async () => {
    const w = world();
    const [broken, fine] = [session('broken'), session('fine')];
    broken.say('late');
    let isBroken = true;
    const troubles: [string, number][] = [];
    loop = new DeliveryLoop(w, {
      onTrouble: (trouble) => {
        if (trouble.type !== 'failed') return;
        troubles.push([trouble.key, trouble.retryAt - w.clock.now + trouble.failures]);
      },
    });
    loop.add({
      ...broken.port,
      inSession: (use) => {
        if (isBroken) throw new SqliteError('SQLITE_FULL', 'database or disk is full');
        return broken.port.inSession(use);
      },
    });
    loop.add(fine.port);
    loop.start();
    await settled();
    fine.say('on time');
    loop.poke('fine');
    loop.poke('broken');
    await settled();
    expect(texts(w.sent)).toEqual(['on time']);
    await w.clock.advance(8_000);
    expect(troubles).toEqual([
      ['broken', 1_001],
      ['broken', 2_002],
      ['broken', 4_003],
      ['broken', 8_004],
    ]);
    isBroken = false;
    await w.clock.advance(8_000);
    expect(texts(w.sent)).toEqual(['on time', 'late']);
  });

  it('puts off a session whose file cannot be read, further each time', async () => {
    const w = world();
    const a = session('a');
    a.say('x');
    const at: number[] = [];
    loop = new DeliveryLoop(w, { onReport: (_key, report) => at.push(report.finding ? w.clock.now - START : -1) });
    loop.add({ ...a.port, reader: { read: async () => ({ type: 'corrupt', detail: 'x' }) } });
    loop.start();
    await w.clock.advance(8_000);
    expect(at).toEqual([0, 1_000, 3_000, 7_000]);
  });

  it('drains a session when its container exits: resolves once all that is due is out (failure 44)', async () => {
    const w = world();
    const a = session('a');
    loop = new DeliveryLoop(w, { floorMs: 3_600_000 });
    loop.add(a.port);
    loop.start();
    await settled();
    for (let i = 0; i < 110; i += 1) a.say(`m${i}`);
    a.say('tomorrow', { deliverAfter: START + 86_400_000 });
    await loop.drain('a');
    expect(w.sent).toHaveLength(110);
    await loop.drain('unknown');
  });

  it('lets go of a session once its pass has ended', async () => {
    const answers: ((result: SendResult) => void)[] = [];
    const w = world(() => new Promise((resolve) => answers.push(resolve)));
    const a = session('a');
    a.say('x');
    loop = new DeliveryLoop(w);
    loop.add(a.port);
    loop.start();
    await settled();
    let isGone = false;
    const gone = loop.remove('a').finally(() => {
      isGone = true;
    });
    loop.add(a.port);
    await settled();
    expect(isGone).toBe(false);
    expect(texts(w.sent)).toEqual(['x']);
    answers[0]?.({ type: 'sent', platformMessageId: null });
    await gone;
    a.say('y');
    loop.poke('a');
    await settled();
    expect(texts(w.sent)).toEqual(['x', 'y']);
  });
});

describe('stopping', () => {
  it('waits for the sends in flight and begins no more', async () => {
    const answers: ((result: SendResult) => void)[] = [];
    const w = world(() => new Promise((resolve) => answers.push(resolve)));
    const a = session('a');
    a.say('first');
    a.say('second');
    loop = new DeliveryLoop(w);
    loop.add(a.port);
    loop.start();
    await settled();
    const stopped = loop.stop(10_000);
    await settled();
    answers[0]?.({ type: 'sent', platformMessageId: 'p' });
    expect(await stopped).toEqual([]);
    expect(texts(w.sent)).toEqual(['first']);
    expect(a.host.deliveries.parts(1)).toMatchObject([{ status: 'delivered' }]);
    expect(a.host.deliveries.parts(3)).toMatchObject([{ status: 'pending', attempts: 0 }]);
    expect(w.clock.pending).toBe(0);
  });

  it('ends at its deadline, with what is in flight on disk as not known (failure 56)', async () => {
    let signal: AbortSignal | undefined;
    const w = world((_m, attempt) => {
      signal = attempt.signal;
      return hangs();
    });
    const a = session('a');
    a.say('first');
    loop = new DeliveryLoop(w);
    loop.add(a.port);
    loop.start();
    await settled();
    const stopped = loop.stop(3_000);
    await w.clock.advance(2_999);
    expect(signal?.aborted).toBe(false);
    await w.clock.advance(1);
    expect(await stopped).toEqual([]);
    expect(signal?.aborted).toBe(true);
    expect(a.host.deliveries.parts(1)).toMatchObject([{ status: 'pending', uncertain: true, attempts: 1 }]);
    expect(w.clock.pending).toBe(0);
  });

  it('names the sessions that it could not wait for', async () => {
    const w = world(sentOk, {
      notify: () => new Promise(() => undefined),
      route: () => ({ type: 'refused', reason: 'No.' }),
    });
    const a = session('a');
    a.say('x');
    loop = new DeliveryLoop(w);
    loop.add(a.port);
    loop.start();
    await settled();
    const stopped = loop.stop(1_000);
    await w.clock.advance(5_000);
    expect(await stopped).toEqual(['a']);
  });
});

describe('a platform', () => {
  it('that is offline for an hour costs no attempt, no message and no order, and is not asked all the time', async () => {
    const w = world((m, a) => (w.clock.now < START + 3_600_000 ? { type: 'offline' } : sentOk(m, a)));
    const a = session('a');
    const said = Array.from({ length: 20 }, (_, i) => `m${i}`);
    for (const text of said) a.say(text);
    await run(w, a, 3_600_000 + 120_000);
    const arrived = w.sent.filter((sent) => sent.at >= START + 3_600_000);
    expect(texts(arrived)).toEqual(said);
    expect(w.sent.length - arrived.length).toBeLessThan(100);
    expect(a.host.deliveries.parts(1)).toMatchObject([{ attempts: 1 }]);
  });

  it('that fails for an hour gets each message once after it', async () => {
    const w = world((m, a) =>
      w.clock.now < START + 3_600_000 ? { type: 'failed', permanent: false, reason: '503' } : sentOk(m, a),
    );
    const a = session('a');
    for (const text of ['a', 'b', 'c']) a.say(text);
    await run(w, a, 3 * 3_600_000);
    expect(texts(w.sent.filter((sent) => sent.at >= START + 3_600_000))).toEqual(['a', 'b', 'c']);
    expect(a.host.deliveries.deadLetters(10)).toEqual([]);
  });

  it('that throttles gets what it asked for, when it asked for it', async () => {
    const taken: number[] = [];
    const w = world((m, a): SendResult => {
      const since = w.clock.now - (taken.at(-1) ?? 0);
      if (since < 20_000) return { type: 'failed', permanent: false, reason: '429', retryAfterMs: 20_000 - since };
      taken.push(w.clock.now);
      return sentOk(m, a);
    });
    const a = session('a');
    for (let i = 0; i < 6; i += 1) a.say(`m${i}`);
    await run(w, a, 200_000);
    expect(taken.map((at) => at - START)).toEqual([0, 20_000, 40_000, 60_000, 80_000, 100_000]);
    expect(w.sent).toHaveLength(11);
  });

  it('that hangs is cut off, and another of the same session is not held up', async () => {
    const w = world((m, a) =>
      m.address?.channelType === 'hung' && w.clock.now < START + 300_000 ? hangs() : sentOk(m, a),
    );
    const a = session('a');
    a.say('stuck', { address: { ...MAIN, channelType: 'hung' } });
    a.say('free', { address: OTHER });
    await run(w, a, 900_000);
    expect(w.sent[1]).toMatchObject({ at: START, message: { content: { text: 'free' } } });
    expect(a.host.deliveries.parts(1)).toMatchObject([{ status: 'delivered', uncertain: true }]);
    expect(w.sent.at(-1)?.attempt).toMatchObject({ isPossibleDuplicate: true });
  });

  it('that accepts and then loses the connection shows a message twice only with its mark', async () => {
    const shown: { key: string; isMarked: boolean }[] = [];
    const w = world((m, attempt) => {
      shown.push({ key: attempt.key, isMarked: attempt.isPossibleDuplicate });
      if (shown.length % 3 === 1) throw new Error('ECONNRESET');
      return sentOk(m, attempt);
    });
    const a = session('a');
    for (let i = 0; i < 5; i += 1) a.say(`m${i}`);
    await run(w, a, 3_600_000);
    const keys = new Set<string>();
    for (const { key, isMarked } of shown) {
      expect(isMarked).toBe(keys.has(key));
      keys.add(key);
    }
    expect(keys.size).toBe(5);
  });

  it('that refuses one message for good gets the others', async () => {
    const w = world((m, a) =>
      m.content['text'] === 'bad' ? { type: 'failed', permanent: true, reason: 'Chat not found.' } : sentOk(m, a),
    );
    const a = session('a');
    for (const text of ['bad', 'good']) a.say(text);
    const reports = await run(w, a, 60_000);
    expect(texts(w.sent)).toEqual(['bad', 'good']);
    expect(reports.flatMap((report) => report.gaveUp)).toMatchObject([{ error: 'Chat not found.' }]);
    expect(w.notices).toHaveLength(1);
  });
});

describe('many sessions', () => {
  it('that share a limited account get their turns, and the account its limit', async () => {
    const w = world(sentOk, { route: limited });
    const all = Array.from({ length: 30 }, (_, i) => session(`s${i}`));
    for (const one of all) one.say(one.key);
    loop = new DeliveryLoop(w);
    for (const one of all) loop.add(one.port);
    loop.start();
    await w.clock.advance(27_000);
    expect(new Set(texts(w.sent)).size).toBe(30);
    for (const { at } of w.sent) {
      expect(w.sent.filter((other) => other.at >= at && other.at < at + 10_000).length).toBeLessThanOrEqual(15);
    }
  });
});
