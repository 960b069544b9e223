import type { Address } from '@nanoclaw/channels';
import type { DeferralKind, JsonObject } from '@nanoclaw/session-db';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type HostMessenger, hostMessenger, type NotifyResult } from '../src/channels/host-messenger.ts';
import type { SessionHandle } from '../src/session/sessions.ts';
import { rateLimitedMessenger, sendOwedNotices } from '../src/upkeep/notices.ts';
import { asHost, OutboundWorld } from './outbound-world.ts';

const POLICY = { triesMax: 1, backoffBaseMs: 1_000, backoffMaxMs: 1_000 };
const TROUBLE = { breakAfter: 5, noticeAfter: 1, backoffBaseMs: 1_000, backoffMaxMs: 9_000 };

let world: OutboundWorld;
let session: SessionHandle;
let warnings: number;

beforeEach(async () => {
  world = await OutboundWorld.make();
  session = await world.session('nano');
  warnings = 0;
});
afterEach(() => world[Symbol.asyncDispose]());

const messenger = (): HostMessenger => hostMessenger(world.channels(), () => () => undefined);
const texts = () => world.platform.shown.map(({ message }) => ('text' in message ? message.text : ''));

/** Says what is owed, as the sweep does after each visit. */
function say(spoken: Pick<HostMessenger, 'notify'> = messenger()): Promise<number | undefined> {
  const troubles = (['wake', 'outbound'] as const).flatMap((kind) => session.files.trouble.get(kind) ?? []);
  const log = { warn: () => void (warnings += 1), error: () => void (warnings += 1) };
  const now = () => world.now;
  return sendOwedNotices(session, troubles, {
    messenger: spoken,
    sessions: world.sessions,
    rates: world.gate.rates,
    now,
    log,
  });
}

/** A message of somebody is given up. */
async function giveUp(messageId: string, reason = 'It broke.', of = session): Promise<void> {
  const ack = { messageId, attempt: 1, runId: 'x', status: 'failed', statusChanged: world.now, error: reason } as const;
  asHost(of, (files) => void files.settle({ acks: [ack], openClaims: [], changesThrough: 0 }, world.now, POLICY));
}

const saysAndDies: HostMessenger['notify'] = async (address, text, key) => {
  await messenger().notify(address, text, key);
  throw new Error('the host dies');
};

describe('a notice that is owed', () => {
  it('is said in the chat of its message, once, with a reason on one line', async () => {
    await giveUp(await world.hear(session, 'p1'), 'It\nbroke\u001b[31m.');
    expect(await say()).toBeUndefined();
    await say();
    expect(texts()).toEqual([
      'A message could not be answered and was given up: It broke [31m. It is kept; write again to ask anew.',
    ]);
  });

  it('says once that a message waits for its model, and whose it is to act', async () => {
    const ids = [await world.hear(session, 'p1'), await world.hear(session, 'p2')];
    const deferred = (kind: DeferralKind, error: string, attempt: number) => {
      const common = { attempt, runId: 'x', status: 'deferred', statusChanged: world.now, error } as const;
      const acks = ids.map((messageId) => ({ ...common, messageId, kind, retryAfterMs: 60_000 }));
      asHost(session, (files) => void files.settle({ acks, openClaims: [], changesThrough: 0 }, world.now, POLICY));
    };
    deferred('unavailable', 'status 529', 1);
    await say();
    deferred('unavailable', 'status 529', 2);
    await say();
    deferred('refused', 'The key\nis wrong.', 3);
    await say();
    deferred('refused', 'The key is wrong.', 4);
    await say();
    expect(texts()).toEqual([
      'The agent cannot answer just now: status 529. Your messages are kept and will be tried again automatically.',
      'The agent cannot answer until its operator has acted: The key is wrong. Your messages are kept and will be answered then; nothing needs to be sent again.',
    ]);
  });

  it('is not lost when the host dies before it is said, and said once when it dies before that is marked', async () => {
    await giveUp(await world.hear(session, 'p1'));
    await expect(say({ notify: () => Promise.reject(new Error('the host dies')) })).rejects.toThrow('dies');
    world.now += 3_600_000;
    await expect(say({ notify: saysAndDies })).rejects.toThrow('dies');
    world.now += 3_600_000;
    await say();
    expect(texts()).toHaveLength(1);
    expect(session.files.notices.owed(10)).toEqual([]);
  });

  it('waits while its channel is away, and is given up where it can never be said', async () => {
    await giveUp(await world.hear(session, 'p1'));
    const results: NotifyResult[] = [
      { type: 'not-now', reason: 'away' },
      { type: 'never', reason: 'no such chat' },
    ];
    const failing = { notify: async () => results.shift() ?? { type: 'sent' as const } };
    expect(await say(failing)).toBe(world.now + 60_000);
    expect(session.files.notices.owed(10)).toHaveLength(1);
    world.now += 60_000;
    expect(await say(failing)).toBeUndefined();
    expect(session.files.notices.owed(10)).toEqual([]);
    expect(warnings).toBe(2);
  });

  it('is one message with all that is owed to the chat, troubles included', async () => {
    for (const id of ['p1', 'p2', 'p3']) await giveUp(await world.hear(session, id), `${id} broke.`);
    asHost(session, (files) => void files.trouble.recordFailure('wake', 'r1', 'No engine.', world.now, TROUBLE));
    asHost(session, (files) => void files.trouble.recordFailure('outbound', 'f1', 'It is a link.', world.now, TROUBLE));
    await say();
    await say();
    expect(texts()).toEqual([
      'The agent cannot answer just now: No engine. Your messages are kept and will be tried again automatically.\n' +
        'The agent cannot answer just now: It is a link. Your messages are kept and will be tried again automatically.\n' +
        '3 messages could not be answered and were given up, the last one for this: p3 broke. ' +
        'They are kept; write again to ask anew.',
    ]);
  });

  it('never floods a chat: messages given up by the dozen are a few notices, and each is in one of them (failure 59)', async () => {
    for (let i = 0; i < 60; i += 1) {
      await giveUp(await world.hear(session, `p${i}`));
      await say();
      world.now += 60_000;
    }
    world.now += 3_600_000;
    for (let i = 0; i < 10; i += 1) {
      await say();
      world.now += 600_000;
    }
    expect(texts().length).toBeLessThanOrEqual(10);
    const told = texts().map((text) => (text.startsWith('A message') ? 1 : Number.parseInt(text, 10)));
    expect(told.reduce((sum, count) => sum + count, 0)).toBe(60);
  });

  it('says once that a trouble is over', async () => {
    asHost(
      session,
      (files) => void files.trouble.recordFailure('wake', 'r1', 'No\n\u001b[31mengine.', world.now, TROUBLE),
    );
    await say();
    expect(texts()[0]).toMatch(/^The agent cannot answer just now: No \[31mengine\. Your messages are kept and/);
    asHost(session, (files) => void files.trouble.resolve('wake', world.now));
    await say();
    await say();
    expect(texts().at(-1)).toBe('The agent can answer again.');
    expect(texts()).toHaveLength(2);
  });

  it('about a mail is for the agent that wrote it, with what it reads next, and wakes nobody (failure 34)', async () => {
    const asker = await world.session('asker');
    const address = { channelType: 'agent', platformId: asker.agentGroupId, threadId: asker.id };
    const content: JsonObject = { text: 'hey' };
    const mail = {
      id: 'mail/1',
      kind: 'chat',
      timestamp: 0,
      trigger: 'wakes',
      sourceSessionId: asker.id,
      address,
      content,
    };
    asHost(session, (files) => files.enqueue({ ...mail, kind: 'chat', trigger: 'wakes' }, world.now));
    await giveUp('mail/1');
    await say();
    await say();
    expect(texts()).toEqual([]);
    expect(asker.files.inHand(world.now, 10)).toMatchObject([
      { kind: 'system', trigger: 'context', content: { action: 'mail', status: 'error' } },
    ]);
    expect(asker.files.dueCount(world.now)).toBe(0);
  });
});

describe('a messenger with limits', () => {
  const PLACE: Address = { channelType: 'memory', platformId: 'nano', threadId: null };

  it('says a few things at once, counts the rest and says how many they were (failure 59)', async () => {
    const limited = rateLimitedMessenger(messenger(), world.gate.rates, () => world.now);
    for (let i = 0; i < 5_000; i += 1) await limited.notify(PLACE, 'No.', `k${i}`);
    expect(texts()).toEqual(Array.from({ length: 20 }, () => 'No.'));
    world.now += 180_000;
    await limited.notify(PLACE, 'No.', 'later');
    await limited.notify({ ...PLACE, platformId: 'other' }, 'Elsewhere.', 'elsewhere');
    expect(texts().slice(20)).toEqual(['No.\n(4980 more like this were not shown.)', 'Elsewhere.']);
  });
});
