/**
 * Mail between agents: an outbound message to another agent becomes an inbound one of its session. Who may write to whom
 * is what the registry's destinations say. An answer goes to the very session that asked.
 *
 * Every mail belongs to a chain that began with a person's message, a task or an event, its root. A chain has a limit of
 * hops and of mails, so that two agents that answer each other for ever come to an end that people can see.
 */
import { createReadStream } from 'node:fs';
import { type AgentGroup, type AgentGroupId, agentActor, isId, type Registry } from '@nanoclaw/registry';
import {
  type Attachment,
  type JsonObject,
  type Millis,
  type OutboundMessage,
  type SendResult,
  type SessionView,
  storeAttachments,
} from '@nanoclaw/session-db';
import type { ReceivedRow } from '@nanoclaw/session-db/protocol';
import { asText, fileNames } from '../channels/index.ts';
import {
  AGENT_CHANNEL,
  answeredMessage,
  destinationsOf,
  isCurrent,
  RESULT_ID_PREFIX,
  resultId,
  type SessionHandle,
  type Sessions,
} from '../session/index.ts';

/** How far a chain may go, and how many mails it may have (SECURITY.md, rule 5). */
export const MAIL_LIMITS = { hopsMax: 4, mailsMax: 20 } as const;

/** What sending mail needs. */
export interface MailPorts {
  /** Knows the agents, their destinations and the chains of mail. */
  readonly registry: Registry;
  /** Finds the session that gets the mail. */
  readonly sessions: Pick<Sessions, 'known' | 'forKey'>;
  /** Wall-clock milliseconds. */
  readonly now: () => Millis;
  /** Copies the files of an agent's message into the host's spool. */
  readonly spool: (session: SessionHandle, messageId: string, names: readonly string[]) => Promise<Attachment[]>;
  /** Called for a session that has something new to do. Must not throw. */
  readonly wake: (sessionId: string) => void;
  /** True at most once a day for a name, so that what agents repeat does not fill the audit log. */
  readonly isFirst: (name: string) => boolean;
}

/**
 * Makes one attempt to deliver a mail. Resolves with `sent` when the target's session has it on disk. Doing it again
 * gives the same message, and counts once.
 */
export async function sendMail(
  from: SessionHandle,
  row: OutboundMessage,
  to: string,
  ports: MailPorts,
): Promise<SendResult> {
  const { registry, now } = ports;
  const agent = isId<AgentGroupId>(to) ? await registry.agentGroup(to) : undefined;
  if (agent === undefined) return refused('There is no such agent.');
  if (agent.id === from.agentGroupId) return refused('An agent cannot write to itself.');
  const allowed = await registry.destinations.list(from.agentGroupId);
  if (!allowed.some(({ target }) => target.type === 'agent' && target.agentGroupId === agent.id)) {
    return refused(`This agent may not write to ${agent.name}.`);
  }
  const text = asText({ ...row.content, files: [] });
  if (text === undefined && fileNames(row.content).length === 0) return refused('The mail is empty.');
  const message = answeredMessage(from.files, row);
  if (message === undefined) return refused('The mail does not name the message of its session that it answers.');

  const id = mailId(from, row);
  const target = await sessionFor(agent, from, message, ports);
  if (target === undefined) return { type: 'offline' };
  if (target.files.received(id) !== undefined) return { type: 'sent', platformMessageId: id };
  const chain = await nextInChain(from, message, ports);
  const over = await chainLimitReached(from, row, target, chain, ports);
  if (over !== undefined) return refuseChain(from, agent, chain, over, ports);
  const content = await mailContent(from, row, text ?? '', id, target, ports);
  const destinations = await destinationsOf(target, registry);
  const sender = { channelType: AGENT_CHANNEL, platformId: from.agentGroupId, threadId: from.id };
  // Where it may write to: a session that only gets mail has no other occasion to learn that.
  await target.write((files) => {
    files.setRouting({ destinations, replyTo: files.routing().replyTo }, now());
    files.enqueue(
      { id, kind: 'chat', timestamp: now(), trigger: 'wakes', address: sender, sourceSessionId: from.id, content },
      now(),
    );
  });
  ports.wake(target.id);
  return { type: 'sent', platformMessageId: id };
}

/** A place in a chain of mails. */
export interface Chain {
  /** What the chain began with: `<session>/<inbound message>`. */
  readonly root: string;
  /** How many mails from there, from 1. */
  readonly hop: number;
}

/**
 * The chain that a row of a session carries on, and its place there. The row's claim counts for what the session is at
 * work on; with an older message it would begin a chain anew, so the last mail to the session counts then, if it is further on.
 */
async function nextInChain(
  from: SessionHandle,
  message: ReceivedRow,
  { registry, now }: Pick<MailPorts, 'registry' | 'now'>,
): Promise<Chain> {
  const own = await chainOf(from, message, registry);
  if (isCurrent(message, now())) return own;
  const latest = await registry.mail.latestTo(from.id);
  return latest !== undefined && latest.hop >= own.hop ? { root: latest.root, hop: latest.hop + 1 } : own;
}

async function chainOf(session: SessionHandle, message: ReceivedRow, registry: Registry, steps = 0): Promise<Chain> {
  const before = await registry.mail.to(session.id, message.id);
  if (before !== undefined) return { root: before.root, hop: before.hop + 1 };
  const fresh = { root: `${session.id}/${message.id}`, hop: 1 };
  const endless = { ...fresh, hop: MAIL_LIMITS.hopsMax + 1 };
  // Mail that is in no record any more is as far on as can be.
  if (message.sourceSessionId !== null || steps === STEPS_MAX) return endless;
  const cause = causeOfResult(session.files, message);
  if (cause === undefined) return fresh;
  const chain = await chainOf(session, cause, registry, steps + 1);
  // What a person had scheduled begins a chain each time; what a mail has led to goes on with that mail's.
  return message.seriesId !== null && chain.hop === 1 ? fresh : chain;
}

/** No honest agent gets results of results beyond this. */
const STEPS_MAX = 20;

/**
 * The message that led to this one, when this is the result of a request, or an occurrence of a series, which
 * has the id of the row that scheduled it. `undefined` for any other.
 */
function causeOfResult(session: SessionView, { id, seriesId }: ReceivedRow): ReceivedRow | undefined {
  const result = seriesId === null ? (id.startsWith(RESULT_ID_PREFIX) ? id : undefined) : resultId(seriesId);
  const causedBy = result === undefined ? undefined : session.received(result)?.content['causedBy'];
  return typeof causedBy === 'string' ? session.received(causedBy) : undefined;
}

/**
 * Counts a mail to its chain, once however often it is tried. Gives the reason when the chain has reached its limit; what was
 * counted before goes on.
 */
async function chainLimitReached(
  from: SessionHandle,
  row: OutboundMessage,
  target: SessionHandle,
  chain: Chain,
  { registry, now }: MailPorts,
): Promise<string | undefined> {
  const { hopsMax, mailsMax } = MAIL_LIMITS;
  const inboundId = mailId(from, row);
  if ((await registry.mail.to(target.id, inboundId)) !== undefined) return undefined;
  if (chain.hop > hopsMax) {
    return `This exchange between agents went on for ${hopsMax} mails without a message of a person, and was stopped here.`;
  }
  const parties = { fromSessionId: from.id, toSessionId: target.id };
  const mail = { id: `${from.id}/${row.id}`, ...parties, inboundId, ...chain, at: now() };
  if ((await registry.mail.record(mail, { rootMax: mailsMax })) === 'recorded') return undefined;
  return `One message has led to ${mailsMax} mails between agents, and they were stopped here.`;
}

/** The id of a mail in the session that gets it. */
function mailId(from: SessionHandle, row: OutboundMessage): string {
  return `mail/${from.id}/${row.id}`;
}

async function refuseChain(
  from: SessionHandle,
  to: AgentGroup,
  { root, hop }: Chain,
  reason: string,
  { registry, now, isFirst }: MailPorts,
): Promise<SendResult> {
  if (isFirst(`mail-stopped/${root}`)) {
    await registry.audit.add({
      at: now(),
      actor: agentActor(from.agentGroupId),
      action: 'mail',
      target: to.id,
      outcome: 'refused',
      detail: { reason, root, hop, session: from.id },
    });
  }
  return refused(`${reason} A new message of a person begins a new exchange.`);
}

/**
 * The session a mail goes to: the one that wrote first, when this answers a mail of that agent, else the agent's own for mail.
 * `undefined`: this host does not know it just now.
 */
async function sessionFor(
  agent: AgentGroup,
  from: SessionHandle,
  message: ReceivedRow,
  { registry, sessions }: MailPorts,
): Promise<SessionHandle | undefined> {
  const asked = message.sourceSessionId === null ? undefined : await registry.mail.to(from.id, message.id);
  const asker = asked === undefined ? undefined : sessions.known(asked.fromSessionId);
  if (asker?.agentGroupId === agent.id) return asker;
  return sessions.forKey({ scope: 'agent', agentGroupId: agent.id });
}

async function mailContent(
  from: SessionHandle,
  row: OutboundMessage,
  text: string,
  id: string,
  target: SessionHandle,
  { registry, spool }: MailPorts,
): Promise<JsonObject> {
  const names = fileNames(row.content);
  const spooled = names.length === 0 ? [] : await spool(from, row.id, names);
  const files = spooled.filter((file) => file.type === 'stored');
  const stored = await storeAttachments(
    target.folder,
    id,
    files.map(({ name, path }) => ({ name, bytes: bytesOf(path) })),
  );
  const refusals = [...spooled, ...stored].filter((file) => file.type === 'refused');
  const attachments = stored.filter((file) => file.type === 'stored').map(({ name }) => ({ name }));
  const lines = refusals.map(
    ({ name, reason }) => `(The file ${JSON.stringify(name)} did not come with it: ${reason})`,
  );
  const sender = await registry.agentGroup(from.agentGroupId);
  return {
    text: [text, ...lines].filter(Boolean).join('\n'),
    sender: { id: agentActor(from.agentGroupId), name: sender?.name ?? from.agentGroupId },
    ...(attachments.length === 0 ? {} : { attachments }),
  };
}

/** The bytes of a file, opened when the first piece is read, so that a file that is refused unread leaves nothing open. */
async function* bytesOf(path: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path);
}

function refused(reason: string): SendResult {
  return { type: 'failed', permanent: true, reason };
}
