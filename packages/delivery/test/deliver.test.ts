import { join } from 'node:path';
import {
  type HostSession,
  inProcessReader,
  restoreSession,
  type SendResult,
  SqliteError,
  snapshotSession,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { OUTBOUND_LIMITS } from '@nanoclaw/session-db/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  DELIVERY_POLICY,
  type DeliveryPorts,
  deliverSession,
  Gate,
  type PassState,
  RateLimits,
  splitText,
} from '../src/index.ts';
import { MAIN, OTHER, START, sentOk, settled, TestSession, temporaryFolder, texts, world } from './support.ts';

let folder: ReturnType<typeof temporaryFolder>;
let session: TestSession;

beforeEach(() => {
  folder = temporaryFolder();
  session = new TestSession(folder.path);
});

afterEach(() => {
  session[Symbol.dispose]();
  folder[Symbol.dispose]();
});

const failed = (changes: Partial<Extract<SendResult, { type: 'failed' }>> = {}): SendResult => ({
  type: 'failed',
  permanent: false,
  reason: 'Not today.',
  ...changes,
});

function lane(changes: object): DeliveryPorts['route'] {
  return (_session, { address }) => ({
    type: 'deliver',
    address: address ?? MAIN,
    account: 'fake',
    duplicates: 'none',
    ...changes,
  });
}

/** A world whose first send loses its connection. */
function unsure(duplicates: 'key' | 'history' | 'none', uncertain: 'retry' | 'drop' | 'hold') {
  let isFirst = true;
  return world(
    (m, a) => {
      if (!isFirst) return sentOk(m, a);
      isFirst = false;
      throw new Error('Connection lost.');
    },
    { route: lane({ duplicates }), policy: { ...DELIVERY_POLICY, uncertain } },
  );
}

const split: DeliveryPorts['route'] = (_session, { address, content }) => ({
  type: 'deliver',
  address: address ?? MAIN,
  account: 'fake',
  duplicates: 'none',
  parts: splitText(String(content['text']), { max: 5, unit: 'code-points' }).map((text) => ({ text })),
});

/** Makes passes, each at the time the last one asked for, until nothing is open. */
async function untilQuiet(w: ReturnType<typeof world>, passesMax = 100, port = session.port): Promise<void> {
  let last: PassState | undefined;
  for (let passes = 0; passes < passesMax; passes += 1) {
    last = (await deliverSession(port, w, { last })).state;
    if (last.nextAt === undefined) return;
    w.clock.now = Math.max(w.clock.now, last.nextAt);
  }
  throw new Error('it never became quiet');
}

describe('a pass', () => {
  it('sends what the agent said, in order, and records the ids that the platform gave', async () => {
    const w = world();
    const seqs = ['a', 'b', 'c'].map((text) => session.say(text));
    const report = await deliverSession(session.port, w);
    expect(texts(w.sent)).toEqual(['a', 'b', 'c']);
    expect(report.accepted).toEqual(seqs);
    expect(report.state.nextAt).toBeUndefined();
    expect(seqs.map((seq) => session.host.deliveries.parts(seq)[0])).toMatchObject(
      seqs.map((seq) => ({ status: 'delivered', attempts: 1, platformMessageId: `p-session-1/${seq}/0` })),
    );
  });

  it('sends nothing twice, however often it is made', async () => {
    const w = world();
    session.say('a');
    await deliverSession(session.port, w);
    await deliverSession(session.port, w);
    expect(texts(w.sent)).toEqual(['a']);
  });

  it('opens no file when nothing has changed since the last one', async () => {
    const w = world();
    session.say('a');
    const { state } = await deliverSession(session.port, w);
    const untouchable = {
      ...session.port,
      inSession: () => {
        throw new Error('inbound.db was opened');
      },
      reader: {
        read: () => {
          throw new Error('outbound.db was read');
        },
      },
    };
    expect((await deliverSession(untouchable, w, { last: state })).state).toEqual(state);
    session.say('b');
    await expect(deliverSession(untouchable, w, { last: state })).rejects.toThrow('inbound.db was opened');
  });

  it('makes at most so many attempts as the policy says, and asks to be made again at once', async () => {
    const w = world(sentOk, { policy: { ...DELIVERY_POLICY, attemptsMax: 2 } });
    for (const text of ['a', 'b', 'c', 'd', 'e']) session.say(text);
    const report = await deliverSession(session.port, w);
    expect(texts(w.sent)).toEqual(['a', 'b']);
    expect(report.state.nextAt).toBe(w.clock.now);
    await untilQuiet(w);
    expect(texts(w.sent)).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('works off a queue that is longer than one read', async () => {
    const w = world((m, a) => (w.clock.now === START ? { type: 'offline' } : sentOk(m, a)));
    for (let i = 0; i < 120; i += 1) session.say(`m${i}`);
    await untilQuiet(w);
    expect(texts(w.sent).slice(1)).toEqual(Array.from({ length: 120 }, (_, i) => `m${i}`));
  });

  it('reports a file that cannot be read, and delivers from it once it can', async () => {
    const w = world();
    session.say('a');
    const unreadable = { ...session.port, reader: { read: async () => ({ type: 'corrupt', detail: 'x' }) as const } };
    const report = await deliverSession(unreadable, w);
    expect(report.finding).toEqual({ type: 'corrupt', detail: 'x' });
    expect(report.state.nextAt).toBeGreaterThan(w.clock.now);
    await deliverSession(session.port, w);
    expect(texts(w.sent)).toEqual(['a']);
  });

  it('reads a file again that could not be read, though it has not changed since', async () => {
    const w = world();
    session.say('a');
    const unreadable = { ...session.port, reader: { read: async () => ({ type: 'hot-journal' }) as const } };
    const { state } = await deliverSession(unreadable, w);
    w.clock.now = state.nextAt ?? 0;
    await deliverSession(session.port, w, { last: state });
    expect(texts(w.sent)).toEqual(['a']);
  });

  it('reads on where a read was cut short, though nothing that it read is due', async () => {
    const w = world();
    const reader = inProcessReader(session.folder, openSqlite, { ...OUTBOUND_LIMITS, rowsMax: 2 });
    for (const text of ['a', 'b', 'c', 'd']) session.say(text, { deliverAfter: START + 60_000 });
    session.say('now');
    let last: PassState | undefined;
    for (let passes = 0; passes < 4; passes += 1) {
      last = (await deliverSession({ ...session.port, reader }, w, { last })).state;
    }
    expect(texts(w.sent)).toEqual(['now']);
    expect(last?.nextAt).toBe(START + 60_000);
  });

  it('waits, and gives nothing up, while the file with its queue is away', async () => {
    const w = world(() => ({ type: 'offline' }));
    session.say('a');
    const { state } = await deliverSession(session.port, w);
    w.clock.now = state.nextAt ?? 0;
    const absent = { ...session.port, reader: { read: async () => ({ type: 'absent' }) as const } };
    const report = await deliverSession(absent, w);
    expect(report.finding).toEqual({ type: 'absent' });
    expect(report.state.nextAt).toBeGreaterThan(w.clock.now);
    expect(session.host.deliveries.deadLetters(10)).toEqual([]);
  });

  it('gives up a message that its agent has removed from its file', async () => {
    const w = world(() => failed());
    const seq = session.say('a');
    const { state } = await deliverSession(session.port, w);
    const db = openSqlite(session.folder.outbound.database, 'write');
    db.run('DELETE FROM messages_out');
    db.close();
    w.clock.now = state.nextAt ?? 0;
    await deliverSession(session.port, w);
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ seq, message: undefined }]);
  });
});

describe('lanes', () => {
  it('holds back only its own address while a message waits for its retry', async () => {
    const w = world((m, a) => (m.content['text'] === 'bad' && w.clock.now === START ? failed() : sentOk(m, a)));
    session.say('bad');
    session.say('behind');
    session.say('elsewhere', { address: OTHER });
    await deliverSession(session.port, w);
    expect(texts(w.sent)).toEqual(['bad', 'elsewhere']);
    await untilQuiet(w);
    expect(texts(w.sent)).toEqual(['bad', 'elsewhere', 'bad', 'behind']);
  });

  it('keeps order through an offline channel, and spends no attempt on it', async () => {
    const w = world((m, a) => (w.clock.now < START + 60_000 ? { type: 'offline' } : sentOk(m, a)));
    session.say('first');
    await deliverSession(session.port, w);
    w.clock.now += 1;
    session.say('second');
    await untilQuiet(w);
    expect(texts(w.sent).slice(-2)).toEqual(['first', 'second']);
    expect(texts(w.sent).slice(0, -1)).not.toContain('second');
    expect(session.host.deliveries.parts(1)).toMatchObject([{ attempts: 1, status: 'delivered' }]);
  });

  it('does not let a message for later hold back one for now', async () => {
    const w = world();
    session.say('later', { deliverAfter: START + 5_000 });
    session.say('now');
    const { state } = await deliverSession(session.port, w);
    expect(texts(w.sent)).toEqual(['now']);
    expect(state.nextAt).toBe(START + 5_000);
    w.clock.now = START + 5_000;
    await deliverSession(session.port, w, { last: state });
    expect(texts(w.sent)).toEqual(['now', 'later']);
  });

  it('releases a lane when its first message is given up (failure 39)', async () => {
    const w = world((m, a) => (m.content['text'] === 'bad' ? failed({ permanent: true }) : sentOk(m, a)));
    session.say('bad');
    session.say('good');
    await deliverSession(session.port, w);
    expect(texts(w.sent)).toEqual(['bad', 'good']);
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ seq: 1, error: 'Not today.' }]);
  });

  it('sends to all lanes at once, so that one that hangs delays no other (failure 40)', async () => {
    const w = world((m, a) => (m.content['text'] === 'hangs' ? new Promise(() => undefined) : sentOk(m, a)));
    session.say('hangs');
    session.say('a', { address: OTHER });
    session.say('b', { address: OTHER });
    const pass = deliverSession(session.port, w);
    await settled();
    expect(texts(w.sent)).toEqual(['hangs', 'a', 'b']);
    await w.clock.advance(DELIVERY_POLICY.sendTimeoutMs);
    await pass;
    expect(session.host.deliveries.parts(1)).toMatchObject([{ status: 'pending', attempts: 1, uncertain: true }]);
    expect(w.clock.pending).toBe(0);
  });
});

describe('retries', () => {
  it('doubles its waits over hours before it gives up (failure 38)', async () => {
    const w = world(() => failed());
    session.say('a');
    await untilQuiet(w);
    const times = w.sent.map((sent) => sent.at - START);
    expect(times).toHaveLength(DELIVERY_POLICY.retry.triesMax);
    expect(times.slice(0, 4)).toEqual([0, 15_000, 45_000, 105_000]);
    expect(times.at(-1)).toBeGreaterThan(3 * 3_600_000);
    expect(w.sent.map((sent) => sent.attempt.attempt)).toEqual(times.map((_, i) => i + 1));
  });

  it('takes jitter off a wait, on disk', async () => {
    const w = world(() => failed(), { random: () => 0.5 });
    session.say('a');
    const { state } = await deliverSession(session.port, w);
    expect(state.nextAt).toBe(START + 13_500);
  });

  it("waits at least as long as the platform's retry-after", async () => {
    const w = world(() => failed({ retryAfterMs: 100_000 }));
    session.say('a');
    expect((await deliverSession(session.port, w)).state.nextAt).toBe(START + 100_000);
  });

  it('sends once more as plain text when the platform refuses the markup, and then gives up', async () => {
    const refusing = failed({ permanent: true, refused: 'markup', reason: 'Bad entities.' });
    const w = world((m, a) => (a.plain && m.content['text'] === 'a' ? sentOk(m, a) : refusing));
    session.say('a');
    session.say('b');
    await deliverSession(session.port, w);
    expect(w.sent.map(({ attempt }) => attempt.plain)).toEqual([false, true, false, true]);
    expect(session.host.deliveries.parts(1)).toMatchObject([{ status: 'delivered', plain: true, attempts: 2 }]);
    expect(session.host.deliveries.parts(3)).toMatchObject([{ status: 'failed', plain: true, error: 'Bad entities.' }]);
  });

  it('does not call a message delivered whose send threw (failure 37)', async () => {
    const w = world(() => {
      throw new Error('Socket closed.');
    });
    session.say('a');
    await deliverSession(session.port, w);
    expect(session.host.deliveries.parts(1)).toMatchObject([
      { status: 'pending', uncertain: true, error: 'The send ended without an answer: Socket closed.' },
    ]);
  });
});

describe('a send without a result', () => {
  it('is not taken for a delivery (failure 37)', async () => {
    // What a bot in JavaScript may do.
    const nothing: SendResult = JSON.parse('null');
    const w = world(() => nothing);
    session.say('a');
    await deliverSession(session.port, w);
    expect(session.host.deliveries.parts(1)).toMatchObject([{ status: 'pending', uncertain: true, attempts: 1 }]);
  });
});

describe('an attempt whose outcome is not known', () => {
  it.each(['key', 'history'] as const)('is made again under the same key where the channel has %s', async (ability) => {
    const w = unsure(ability, 'drop');
    session.say('a');
    await untilQuiet(w);
    expect(w.sent.map(({ attempt }) => [attempt.key, attempt.uncertain, attempt.isPossibleDuplicate])).toEqual([
      ['session-1/1/0', false, false],
      ['session-1/1/0', true, false],
    ]);
  });

  it('is made again and marked as a possible duplicate by the policy retry', async () => {
    const w = unsure('none', 'retry');
    session.say('a');
    await untilQuiet(w);
    expect(w.sent.map(({ attempt }) => attempt.isPossibleDuplicate)).toEqual([false, true]);
  });

  it('is not made again by the policy drop, and that is recorded', async () => {
    const w = unsure('none', 'drop');
    session.say('a');
    session.say('b');
    await untilQuiet(w);
    expect(texts(w.sent)).toEqual(['a', 'b']);
    expect(session.host.deliveries.parts(1)).toMatchObject([{ status: 'discarded', uncertain: true }]);
  });

  it('waits for an operator by the policy hold, and holds back nobody', async () => {
    const w = unsure('none', 'hold');
    session.say('a');
    session.say('b');
    await untilQuiet(w);
    expect(texts(w.sent)).toEqual(['a', 'b']);
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ seq: 1, uncertain: true }]);
    session.host.deliveries.retry(1, w.clock.now);
    await untilQuiet(w);
    expect(w.sent.at(-1)).toMatchObject({ message: { seq: 1 }, attempt: { isPossibleDuplicate: true, attempt: 2 } });
  });

  it('is remembered when a later attempt is refused in plain words', async () => {
    const w = world(() => (w.sent.length === 1 ? Promise.reject(new Error('lost')) : failed()));
    session.say('a');
    const first = await deliverSession(session.port, w);
    w.clock.now = first.state.nextAt ?? 0;
    const second = await deliverSession(session.port, w);
    w.clock.now = second.state.nextAt ?? 0;
    await deliverSession(session.port, w);
    expect(w.sent.map(({ attempt }) => attempt.isPossibleDuplicate)).toEqual([false, true, true]);
  });

  it.each([
    ['retry', { status: 'delivered' }, 2],
    ['drop', { status: 'discarded' }, 1],
    ['hold', { status: 'failed' }, 1],
  ] as const)('that a dead host left behind is treated alike: %s', async (uncertain, expected, sends) => {
    const dying = world(() => new Promise<SendResult>(() => undefined));
    session.say('a');
    void deliverSession(session.port, dying);
    await settled();
    const w = world(sentOk, { policy: { ...DELIVERY_POLICY, uncertain } });
    w.clock.now = START + 15_000;
    await untilQuiet(w);
    expect(session.host.deliveries.parts(1)).toMatchObject([expected]);
    expect(dying.sent.length + w.sent.length).toBe(sends);
    if (sends === 2) expect(w.sent[0]?.attempt).toMatchObject({ uncertain: true, attempt: 2 });
  });
});

describe('parts', () => {
  it('resumes with the part that failed, not with the first (failure 36)', async () => {
    const w = world((m, a) => (a.part === 1 && w.clock.now === START ? failed() : sentOk(m, a)), { route: split });
    const seq = session.say('one two three');
    session.say('end');
    await untilQuiet(w);
    expect(texts(w.sent)).toEqual(['one', 'two', 'two', 'three', 'end']);
    expect(session.host.deliveries.parts(seq).map((part) => part.platformMessageId)).toEqual(
      [0, 1, 2].map((part) => `p-session-1/${seq}/${part}`),
    );
  });

  it('are decided once: a channel that changes its limits does not change a message on its way', async () => {
    let max = 5;
    const w = world((m, a) => (w.clock.now === START ? { type: 'offline' } : sentOk(m, a)), {
      route: (key, message) => ({
        ...split(key, message),
        parts: splitText(String(message.content['text']), { max, unit: 'code-points' }).map((text) => ({ text })),
      }),
    });
    session.say('one two three');
    const { state } = await deliverSession(session.port, w);
    max = 100;
    w.clock.now = state.nextAt ?? 0;
    await untilQuiet(w);
    expect(texts(w.sent)).toEqual(['one', 'one', 'two', 'three']);
  });

  it('are given up together, and an operator revives those that are missing', async () => {
    let isBroken = true;
    const w = world((m, a) => (a.part === 1 && isBroken ? failed({ permanent: true }) : sentOk(m, a)), {
      route: split,
    });
    const seq = session.say('one two three');
    await untilQuiet(w);
    expect(session.host.deliveries.parts(seq).map((part) => part.status)).toEqual(['delivered', 'failed', 'failed']);
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ seq, part: 1 }]);
    isBroken = false;
    expect(session.host.deliveries.retry(seq, w.clock.now)).toBe(true);
    await untilQuiet(w);
    expect(texts(w.sent)).toEqual(['one', 'two', 'two', 'three']);
  });

  it('may not be more than the policy allows', async () => {
    const w = world(sentOk, { route: split });
    const seq = session.say('word '.repeat(500));
    await untilQuiet(w);
    expect(w.sent).toEqual([]);
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ seq }]);
  });
});

describe('a message given up', () => {
  it('is told to the agent as context, once, and to the operator', async () => {
    const w = world(() => failed({ permanent: true, reason: 'Chat not found.' }));
    const seq = session.say('a');
    const report = await deliverSession(session.port, w);
    await deliverSession(session.port, w);
    expect(report.gaveUp).toMatchObject([{ seq, error: 'Chat not found.' }]);
    expect(w.notices).toMatchObject([{ reason: 'Chat not found.', letters: [{ seq }] }]);
    const claimed = session.runner.claim(w.clock.now, { work: 10, control: 10, context: 10 });
    expect(claimed.type === 'claimed' && claimed.claimed.length).toBe(0);
    session.host.enqueue(
      { id: 'm1', kind: 'chat', timestamp: START, trigger: 'wakes', address: MAIN, content: { text: 'well?' } },
      w.clock.now,
    );
    const next = session.runner.claim(w.clock.now, { work: 10, control: 10, context: 10 });
    const contents = next.type === 'claimed' ? next.claimed.map((one) => 'message' in one && one.message.content) : [];
    expect(contents).toMatchObject([
      {
        // A runner reads this as a result, and what is none it must fail.
        action: 'deliver',
        status: 'error',
        error: expect.stringContaining(`Message ${seq}: Chat not found.`),
        messages: [{ messageId: seq, reason: 'Chat not found.' }],
      },
      { text: 'well?' },
    ]);
  });

  it('makes one notice an hour for one reason, however many there are (failure 59)', async () => {
    const w = world(() => failed({ permanent: true }));
    for (let i = 0; i < 20; i += 1) {
      session.say(`m${i}`);
      await deliverSession(session.port, w);
    }
    expect(w.notices).toHaveLength(1);
    w.clock.now += 3_600_000;
    session.say('later');
    await deliverSession(session.port, w);
    expect(w.notices).toHaveLength(2);
    expect(session.host.deliveries.deadLetters(100)).toHaveLength(21);
  });

  it('is told again until the operator could be told', async () => {
    let isDown = true;
    const told: unknown[] = [];
    const w = world(() => failed({ permanent: true }), {
      gate: new Gate(new RateLimits()),
      notify: async (_session, notice) => {
        if (isDown) throw new Error('no operator');
        told.push(notice);
      },
    });
    session.say('a');
    const report = await deliverSession(session.port, w);
    expect(report.troubles).toHaveLength(1);
    expect(report.state.nextAt).toBe(START + 60_000);
    isDown = false;
    w.clock.now = START + 3_600_000;
    await deliverSession(session.port, w, { last: report.state });
    expect(told).toHaveLength(1);
  });

  it('is refused by the host without an attempt, and goes out when it may after a retry', async () => {
    let isAllowed = false;
    const w = world(sentOk, {
      route: (key, message) => (isAllowed ? lane({})(key, message) : { type: 'refused', reason: 'No such place.' }),
    });
    const seq = session.say('a');
    await untilQuiet(w);
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ seq, attempts: 0, error: 'No such place.' }]);
    session.host.deliveries.retry(seq, w.clock.now);
    await untilQuiet(w);
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ seq }]);
    isAllowed = true;
    session.host.deliveries.retry(seq, w.clock.now);
    await untilQuiet(w);
    expect(texts(w.sent)).toEqual(['a']);
  });

  it('does not stop the others when the host cannot make sense of it', async () => {
    const w = world(sentOk, {
      route: (key, message) => {
        if (message.content['text'] === 'poison') throw new TypeError('x is not a function');
        return lane({})(key, message);
      },
    });
    session.say('poison');
    session.say('good');
    await untilQuiet(w);
    expect(texts(w.sent)).toEqual(['good']);
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ seq: 1 }]);
  });

  it('may have arrived, when its host died in an attempt and it is refused after that', async () => {
    session.say('a');
    void deliverSession(
      session.port,
      world(() => new Promise(() => undefined)),
    );
    await settled();
    const w = world(sentOk, { route: () => ({ type: 'refused', reason: 'Not any more.' }) });
    w.clock.now = START + 15_000;
    await untilQuiet(w);
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ uncertain: true, error: 'Not any more.' }]);
  });

  it('stops being sent when its permission is withdrawn between two attempts', async () => {
    let isAllowed = true;
    const w = world(() => failed(), {
      route: (key, message) => (isAllowed ? lane({})(key, message) : { type: 'refused', reason: 'Not any more.' }),
    });
    session.say('a');
    const { state } = await deliverSession(session.port, w);
    isAllowed = false;
    w.clock.now = state.nextAt ?? 0;
    await untilQuiet(w);
    expect(w.sent).toHaveLength(1);
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ error: 'Not any more.', attempts: 1 }]);
  });

  it('can be shown after the runner has forgotten it, and discarded', async () => {
    const w = world(() => failed({ permanent: true }), { route: lane({ cleansUp: true }) });
    const seq = session.say('a');
    await untilQuiet(w);
    const db = openSqlite(session.folder.outbound.database, 'write');
    db.run('DELETE FROM messages_out');
    db.close();
    expect(session.host.deliveries.deadLetters(10)).toMatchObject([{ seq, message: { content: { text: 'a' } } }]);
    expect(w.cleaned).toEqual([]);
    expect(session.host.deliveries.discard(seq, w.clock.now)).toBe(true);
    expect(session.host.deliveries.discard(seq, w.clock.now)).toBe(false);
    await deliverSession(session.port, w);
    expect(session.host.deliveries.deadLetters(10)).toEqual([]);
    expect(w.cleaned).toEqual(['out-1']);
  });
});

describe('clean-up', () => {
  it('follows delivery, is repeated until it succeeds, and never sends again (failure 36)', async () => {
    let isBroken = true;
    const cleaned: string[] = [];
    const w = world(sentOk, {
      route: lane({ cleansUp: true }),
      cleanUp: async (_session, id) => {
        if (isBroken) throw new Error('EBUSY');
        cleaned.push(id);
      },
    });
    session.say('a');
    const { state, troubles } = await deliverSession(session.port, w);
    expect(troubles).toHaveLength(1);
    isBroken = false;
    w.clock.now = state.nextAt ?? 0;
    const after = await deliverSession(session.port, w, { last: state });
    await deliverSession(session.port, w);
    expect(cleaned).toEqual(['out-1']);
    expect(after.state.nextAt).toBeUndefined();
    expect(texts(w.sent)).toEqual(['a']);
  });

  it('is not asked for before a message has gone out (failure 37)', async () => {
    const w = world(() => ({ type: 'offline' }), { route: lane({ cleansUp: true }) });
    session.say('a');
    await deliverSession(session.port, w);
    expect(w.cleaned).toEqual([]);
  });
});

describe('an edit or a reaction', () => {
  it("is handed the platform's ids of the agent's own message, or the person's message", async () => {
    session.host.enqueue(
      { id: 'tg:77', kind: 'chat', timestamp: START, trigger: 'wakes', address: MAIN, content: { text: 'hi' } },
      START,
    );
    const w = world(sentOk, {
      route: (key, message) => ({
        ...lane({})(key, message),
        ...(typeof message.content['of'] === 'number' && { target: message.content['of'] }),
      }),
    });
    const seq = session.say('helo');
    session.say({ text: 'hello', of: seq });
    session.say({ emoji: '+1', of: 2 });
    await untilQuiet(w);
    expect(w.sent[0]?.attempt.target).toBeUndefined();
    expect(w.sent.slice(1).map(({ attempt }) => attempt.target)).toMatchObject([
      { type: 'agent', parts: [{ platformMessageId: `p-session-1/${seq}/0` }] },
      { type: 'person', messageId: 'tg:77', address: MAIN },
    ]);
  });

  it('is given up when there is no such message or it never arrived', async () => {
    const w = world((m, a) => (m.content['text'] === 'lost' ? failed({ permanent: true }) : sentOk(m, a)), {
      route: (key, message) => ({
        ...lane({})(key, message),
        ...(typeof message.content['of'] === 'number' && { target: message.content['of'] }),
      }),
    });
    const lost = session.say('lost');
    const edit = session.say({ text: 'x', of: lost });
    const reaction = session.say({ emoji: '+1', of: 998 });
    await untilQuiet(w);
    expect(w.sent).toHaveLength(1);
    expect(session.host.deliveries.deadLetters(10).map((letter) => letter.seq)).toEqual([lost, edit, reaction]);
  });
});

describe('rate limits', () => {
  it('put off what is too much, in order and without an attempt', async () => {
    const w = world(sentOk, { route: lane({ rates: [{ key: 'chat', burst: 2, everyMs: 1_000 }] }) });
    for (const text of ['a', 'b', 'c', 'd']) session.say(text);
    const first = await deliverSession(session.port, w);
    expect(texts(w.sent)).toEqual(['a', 'b']);
    expect(first.state.nextAt).toBe(START + 1_000);
    expect(session.host.deliveries.parts(5)).toMatchObject([{ attempts: 0 }]);
    await untilQuiet(w);
    expect(texts(w.sent)).toEqual(['a', 'b', 'c', 'd']);
    expect(w.sent.map((sent) => sent.at - START)).toEqual([0, 0, 1_000, 2_000]);
  });
});

describe('a session of which enough is under way', () => {
  const later = { deliverAfter: START + 3_600_000 };

  it.each([
    ['waits to be sent', 'under way', { type: 'offline' as const }],
    ['was given up', 'given up', failed({ permanent: true })],
    ['is scheduled', 'scheduled', { type: 'offline' as const }],
  ])('has no more taken in while as much as may be %s, and all of it in time (failure 49)', async (_, kind, result) => {
    let isOpen = false;
    const w = world((m, a) => (isOpen ? sentOk(m, a) : result), {
      policy: { ...DELIVERY_POLICY, rowsMax: 3 },
      gate: new Gate(undefined, { sendsMax: 16, sessionSendsMax: 16, troubleBaseMs: 1, troubleMaxMs: 1 }),
    });
    const message = kind === 'scheduled' ? later : {};
    const first = ['a', 'b', 'c'].map((text) => session.say(text, message));
    expect(await deliverSession(session.port, w)).toMatchObject({ accepted: first, isHeldBack: false });
    const rest = ['d', 'e'].map((text) => session.say(text, message));
    for (let pass = 0; pass < 3; pass += 1) {
      expect(await deliverSession(session.port, w)).toMatchObject({ accepted: [], isHeldBack: true });
    }
    expect(session.host.cursor().messagesAfter).toBe(first.at(-1));

    isOpen = true;
    w.clock.now = START + 7_200_000;
    if (kind === 'given up') for (const seq of first) session.host.deliveries.discard(seq, w.clock.now);
    await untilQuiet(w);
    await untilQuiet(w);
    const sent = kind === 'given up' ? ['d', 'e'] : ['a', 'b', 'c', 'd', 'e'];
    expect(texts(w.sent.slice(-sent.length))).toEqual(sent);
    expect(session.host.cursor().messagesAfter).toBe(rest.at(-1));
  });
});

/** Each has an account of its own, so that nothing holds it up but the work. */
const lanes: DeliveryPorts['route'] = (_session, { seq }) => ({
  type: 'deliver',
  address: { ...MAIN, threadId: `${seq}` },
  account: `account-${seq}`,
  duplicates: 'none',
});

describe('a hundred rows of a hundred lanes', () => {
  beforeEach(() => {
    for (let n = 0; n < 100; n += 1) session.say(`m${n}`);
  });

  it('are taken in and begun some at a time, so that others have their turn in between (failure 68)', async () => {
    const w = world(sentOk, { route: lanes });
    const slices: number[] = [];
    const done = () => session.host.cursor().messagesAfter / 2 + session.host.deliveries.due(START, 1_000).length;
    let before = done();
    const inSession = <T>(use: (host: HostSession) => T): T => {
      const value = use(session.host);
      slices.push(Math.abs(done() - before));
      before = done();
      return value;
    };
    await deliverSession({ ...session.port, inSession }, w);
    expect(w.sent).toHaveLength(100);
    // Accepting moves the cursor and adds what is due; beginning takes it away.
    expect(Math.max(...slices)).toBeLessThanOrEqual(2 * 20);
    expect(slices.length).toBeGreaterThan(100);
  });

  it('keep no place at the gate when the disk is full before all of them are begun (failure 72)', async () => {
    const w = world(sentOk, { route: lanes });
    let begun = 0;
    const inSession = <T>(use: (host: HostSession) => T): T => {
      const value = use(session.host);
      begun = 100 - session.host.deliveries.due(START, 1_000).length;
      if (session.host.cursor().messagesAfter >= 199 && begun > 20) {
        throw new SqliteError('SQLITE_FULL', 'database or disk is full');
      }
      return value;
    };
    await expect(deliverSession({ ...session.port, inSession }, w)).rejects.toThrow('disk is full');
    expect(begun).toBeGreaterThan(20);
    for (let n = 0; n < 16; n += 1) {
      const entered = w.gate.enter({ account: 'account-1', session: `s${n}`, lane: 'l' }, [], START);
      expect(entered).toBeTypeOf('object');
    }
  });
});

it('more acks than a read holds, which are for others to settle, make no further pass', async () => {
  const row = { kind: 'chat', timestamp: START, trigger: 'wakes', address: MAIN, content: { text: 'hi' } } as const;
  for (const id of ['a', 'b', 'c']) session.host.enqueue({ id, ...row }, START);
  const claimed = session.runner.claim(START, { work: 3, control: 0, context: 0 });
  if (claimed.type !== 'claimed') throw new Error('nothing was claimed');
  const claims = claimed.claimed.map(({ claim }) => claim);
  session.runner.finish(claims, { type: 'completed' }, [], START);
  const reader = inProcessReader(session.folder, openSqlite, { ...OUTBOUND_LIMITS, rowsMax: 2 });
  expect((await deliverSession({ ...session.port, reader }, world())).state.nextAt).toBeUndefined();
});

describe('a clock that was ahead, and is set right', () => {
  it.each([3_600_000, 86_400_000])(
    'by %i ms keeps nothing back that was accepted, tried or queued meanwhile',
    async (ahead) => {
      let isAway = true;
      const w = world((m, a) => (isAway ? failed() : sentOk(m, a)));
      session.say('first');
      session.say('second');
      session.say('elsewhere', { address: OTHER });
      w.clock.now = START + ahead;
      await deliverSession(session.port, w, { stop: AbortSignal.abort() });
      await deliverSession(session.port, w);
      isAway = false;
      w.clock.now = START;
      const { state } = await deliverSession(session.port, w);
      expect(state.nextAt).toBeLessThanOrEqual(START + 15_000);
      await untilQuiet(w);
      expect(w.clock.now).toBeLessThanOrEqual(START + 30_000);
      expect(texts(w.sent).slice(-3).toSorted()).toEqual(['elsewhere', 'first', 'second']);
    },
  );
});

describe('the key of an attempt', () => {
  it('is not given again by a session that was restored, and stays what it was for what was accepted before', async () => {
    const keys: string[] = [];
    const w = world((m, a) => {
      keys.push(a.key);
      return a.attempt === 1 && m.content['text'] === 'accepted' ? failed() : sentOk(m, a);
    });
    session.say('accepted');
    await deliverSession(session.port, w);
    const saved = join(folder.path, 'saved');
    snapshotSession(session.folder, saved, openSqlite, { takenAt: START, runEnded: false });
    session.say('after the snapshot');
    await untilQuiet(w);
    expect(keys.splice(0)).toEqual(['session-1/1/0', 'session-1/1/0', 'session-1/3/0']);

    const restored = restoreSession(saved, join(folder.path, 'restored'), openSqlite, 9_000);
    if (restored.type !== 'restored') throw new Error(restored.detail);
    using again = new TestSession(folder.path, 'restored');
    again.say('after the restore', { id: 'out-3' });
    await untilQuiet(w, 100, { ...again.port, key: 'session-1' });
    expect(keys.toSorted()).toEqual(['session-1/1/0', 'session-1/3/0/9000']);
  });
});
