import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { removeAttachments } from '@nanoclaw/session-db';
import { messageFiles, type ReceivedRow } from '@nanoclaw/session-db/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAIL_LIMITS } from '../src/outbound/mail.ts';
import { send } from '../src/outbound/outbound.ts';
import type { SessionHandle } from '../src/session/sessions.ts';
import { asHost, OutboundWorld } from './outbound-world.ts';

let world: OutboundWorld;
let anna: SessionHandle;
let bert: SessionHandle;
let asked: string;

beforeEach(async () => {
  world = await OutboundWorld.make();
  anna = await world.session('anna');
  bert = await world.session('bert');
  await world.mayMail(anna, bert, 'bert');
  await world.mayMail(bert, anna, 'anna');
  asked = await world.hear(anna, 'p1', 'olga');
});
afterEach(() => world[Symbol.asyncDispose]());

const to = (session: SessionHandle) => ({ channelType: 'agent', platformId: session.agentGroupId, threadId: null });
const errors = (session: SessionHandle) => session.files.deliveries.deadLetters(100).map(({ error }) => error);
const mailIn = (session: SessionHandle): ReceivedRow[] =>
  session.files.inHand(world.now, 1_000).filter(({ sourceSessionId }) => sourceSessionId !== null);

/** The session in which an agent gets mail that answers nothing. */
const mailbox = (session: SessionHandle) => world.open({ scope: 'agent', agentGroupId: session.agentGroupId });

describe('a mail', () => {
  it('is a message in the own session of the other agent, with its sender, its files and a way back', async () => {
    const { id } = world.row(anna, {
      address: to(bert),
      inReplyTo: asked,
      content: { text: 'hey', files: ['a.txt', 'no'] },
    });
    world.files(anna, id, { 'a.txt': 'A' });
    await world.deliver(anna);
    const box = await mailbox(bert);
    const [mail] = mailIn(box);
    expect(mail).toMatchObject({
      id: `mail/${anna.id}/${id}`,
      kind: 'chat',
      trigger: 'wakes',
      sourceSessionId: anna.id,
      address: { channelType: 'agent', platformId: anna.agentGroupId, threadId: anna.id },
      content: { sender: { id: `agent:${anna.agentGroupId}`, name: 'anna' }, attachments: [{ name: 'a.txt' }] },
    });
    expect(mail?.content['text']).toBe('hey\n(The file "no" did not come with it: There is no such file.)');
    expect(readFileSync(join(messageFiles(box.folder.inbound.files, mail?.id ?? ''), 'a.txt'), 'utf8')).toBe('A');
    expect(world.woken).toContain(box.id);
    expect(box.files.routing().destinations).toContainEqual(
      expect.objectContaining({ type: 'agent', agentGroupId: anna.agentGroupId }),
    );
  });

  it('is one message when the host dies between its steps and tries again', async () => {
    const { id } = world.row(anna, { address: to(bert), inReplyTo: asked, content: { text: 'x', files: ['a.txt'] } });
    world.files(anna, id, { 'a.txt': 'A' });
    const read = await anna.reader.read({ acksAfter: 0, messagesAfter: 0, again: [] });
    const [row] = read.type === 'read' ? read.messages : [];
    if (row === undefined) throw new Error('no row');
    const attempt = { session: anna.id, key: 'k', attempt: 1, part: 0, uncertain: true, isPossibleDuplicate: false };
    const more = { plain: false, target: undefined, signal: new AbortController().signal };
    for (let i = 0; i < 3; i += 1) await send(anna, row, { ...attempt, ...more }, world.outbound());
    // Its files are gone by the time of one more attempt, and it is the same mail all the same.
    removeAttachments(anna.folder, id);
    const last = await send(anna, row, { ...attempt, ...more }, world.outbound());
    expect(last).toMatchObject({ type: 'sent' });
    const box = await mailbox(bert);
    expect(mailIn(box)).toHaveLength(1);
    expect(await world.registry.mail.count(`${anna.id}/${asked}`)).toBe(1);
  });

  it('goes nowhere without the destination, which the registry has and not the row (failure 49)', async () => {
    const carl = await world.session('carl');
    world.row(anna, { address: to(carl), inReplyTo: asked });
    await world.deliver(anna);
    expect(errors(anna)).toEqual([
      `This agent may not write to agent ${carl.agentGroupId}: it is not among the destinations of this session.`,
    ]);
  });

  it('goes nowhere once its destination has been deleted, although the session still has it', async () => {
    for (const { id, agentGroupId } of await world.registry.destinations.list()) {
      if (agentGroupId === anna.agentGroupId) await world.registry.destinations.delete(id);
    }
    world.row(anna, { address: to(bert), inReplyTo: asked });
    await world.deliver(anna);
    expect(errors(anna)).toEqual(['This agent may not write to bert.']);
  });

  it('never comes back to its own agent as input (failure 34)', async () => {
    const { destinations, replyTo } = anna.files.routing();
    const self = { type: 'agent', name: 'self', displayName: 'self', agentGroupId: anna.agentGroupId } as const;
    asHost(anna, (files) => files.setRouting({ destinations: [...destinations, self], replyTo }, world.now));
    world.row(anna, { address: to(anna), inReplyTo: asked });
    await world.deliver(anna);
    expect(errors(anna)).toEqual(['An agent cannot write to itself.']);
    expect(mailIn(anna)).toEqual([]);
  });

  it('answers into the very session that asked, and no other of that agent (failure 29)', async () => {
    const second = await world.open({ scope: 'agent', agentGroupId: anna.agentGroupId });
    await world.refresh(second);
    world.row(anna, { address: to(bert), inReplyTo: asked });
    await world.deliver(anna);
    const box = await mailbox(bert);
    const [mail] = mailIn(box);
    // The thread of the row is a claim; the way back is in the registry.
    world.row(box, { address: { ...to(anna), threadId: second.id }, inReplyTo: mail?.id ?? '' });
    await world.deliver(box);
    expect(mailIn(anna)).toHaveLength(1);
    expect(mailIn(second)).toEqual([]);
  });

  it('that names no message of its session is refused', async () => {
    world.row(anna, { address: to(bert) });
    world.row(anna, { address: to(bert), inReplyTo: 'invented' });
    await world.deliver(anna);
    expect(errors(anna)).toHaveLength(2);
    expect(errors(anna)[0]).toBe('The mail does not name the message of its session that it answers.');
  });
});

/** Each answers every mail with a mail, as their final texts do by themselves, until nobody gets one. */
async function chatter(roundsMax: number, claims: (mail: ReceivedRow) => string): Promise<number> {
  const sessions = [anna, await mailbox(bert)];
  const answered = new Set<string>();
  world.row(anna, { address: to(bert), inReplyTo: asked });
  for (let round = 0; round < roundsMax; round += 1) {
    for (const session of sessions) await world.deliver(session);
    const fresh = sessions.flatMap((session) =>
      mailIn(session)
        .filter(({ id }) => !answered.has(id))
        .map((mail) => ({ session, mail })),
    );
    if (fresh.length === 0) return round;
    for (const { session, mail } of fresh) {
      answered.add(mail.id);
      world.row(session, { address: mail.address, inReplyTo: claims(mail) });
    }
  }
  return roundsMax;
}

describe('two agents that write to each other for ever', () => {
  it('are stopped by the limit of hops, and the operator and the agent see why (failure 34)', async () => {
    const rounds = await chatter(50, (mail) => mail.id);
    expect(rounds).toBe(MAIL_LIMITS.hopsMax);
    expect(await world.registry.mail.count(`${anna.id}/${asked}`)).toBe(MAIL_LIMITS.hopsMax);
    const reason = expect.stringContaining(`went on for ${MAIL_LIMITS.hopsMax} mails without a message of a person`);
    expect(world.notices).toMatchObject([{ reason }]);
    expect(errors(anna)).toEqual([reason]);
    const told = anna.files.inHand(world.now, 100).find(({ id }) => id.startsWith('undelivered/'));
    expect(told).toMatchObject({ kind: 'system', trigger: 'context', content: { status: 'error', error: reason } });
    expect(await world.registry.audit.list({ limit: 10 })).toMatchObject([
      { action: 'mail', outcome: 'refused', actor: `agent:${anna.agentGroupId}`, detail: { reason } },
    ]);
  });

  it('are stopped by the number of mails when one claims an earlier message of a person each time', async () => {
    const box = await mailbox(bert);
    for (let i = 0; i < 40; i += 1) world.row(anna, { address: to(bert), inReplyTo: asked });
    for (let minute = 0; minute < 20; minute += 1) {
      await world.deliver(anna);
      world.now += 60_000;
    }
    expect(mailIn(box)).toHaveLength(MAIL_LIMITS.mailsMax);
    expect(errors(anna)).toHaveLength(20);
    expect(await world.registry.audit.list({ limit: 100 })).toHaveLength(1);
  });

  it('do not begin anew with a message that ended long ago', async () => {
    const box = await mailbox(bert);
    await chatter(50, (mail) => mail.id);
    world.complete(anna, asked);
    world.now += 3_600_000;
    world.row(anna, { address: to(bert), inReplyTo: asked });
    await world.deliver(anna);
    expect(mailIn(box)).toHaveLength(2);
    expect(errors(anna)).toHaveLength(2);
  });

  it('do not begin anew by way of a result or a task of their own', async () => {
    world.row(anna, { address: to(bert), inReplyTo: asked });
    await world.deliver(anna);
    const box = await mailbox(bert);
    const [mail] = mailIn(box);
    const request = world.row(box, { kind: 'system', inReplyTo: mail?.id ?? '', content: { action: 'dance' } });
    const in5 = new Date(world.now + 300_000).toISOString();
    const task = world.row(box, {
      kind: 'system',
      inReplyTo: mail?.id ?? '',
      content: { action: 'schedule_task', prompt: 'go on', processAfter: in5 },
    });
    await world.deliver(box);
    const occurrence = box.files.series.open(task.id)[0]?.id ?? '';
    world.row(box, { address: to(anna), inReplyTo: `result/${request.id}` });
    world.row(box, { address: to(anna), inReplyTo: occurrence });
    await world.deliver(box);
    const own = await mailbox(anna);
    const mails = await Promise.all(mailIn(own).map(({ id }) => world.registry.mail.to(own.id, id)));
    const before = { root: `${anna.id}/${asked}`, hop: 2, fromSessionId: box.id };
    expect(mails).toMatchObject([before, before]);
  });

  it('do not begin anew with a mail of which the registry has forgotten the chain', async () => {
    world.row(anna, { address: to(bert), inReplyTo: asked });
    await world.deliver(anna);
    const box = await mailbox(bert);
    const [mail] = mailIn(box);
    await world.registry.prune(world.now + 1, 100);
    world.row(box, { address: to(anna), inReplyTo: mail?.id ?? '' });
    await world.deliver(box);
    expect(errors(box)).toEqual([expect.stringContaining('without a message of a person')]);
    expect(mailIn(await mailbox(anna))).toEqual([]);
  });

  it('are held back when they are too fast, each mail kept', async () => {
    for (let i = 0; i < 40; i += 1) {
      const id = await world.hear(anna, `q${i}`, 'olga');
      world.row(anna, { address: to(bert), inReplyTo: id });
    }
    for (let i = 0; i < 3; i += 1) await world.deliver(anna);
    const box = await mailbox(bert);
    expect(mailIn(box)).toHaveLength(30);
    for (let minute = 0; minute < 15; minute += 1) {
      world.now += 60_000;
      await world.deliver(anna);
    }
    expect(mailIn(box)).toHaveLength(40);
    expect(errors(anna)).toEqual([]);
  });
});
