/** `nanoclaw sessions`: the conversations, and what became of each message in them. */
import { rmSync } from 'node:fs';
import type { MessagingGroupId, Session, SessionKey } from '@nanoclaw/registry';
import {
  type JsonObject,
  type OutboundEntry,
  type SessionView,
  SqliteError,
  type TimelineEntry,
  timeline,
  VersionError,
} from '@nanoclaw/session-db';
import { z } from 'zod';
import { messageOf, Problem, systemCode } from '../errors/index.ts';
import { asks, changes, type OperatorCommand, option, reads } from './command.ts';
import { ownGroupOnly, ownSession } from './confine.ts';
import type { Reading, SessionAccess } from './contexts.ts';
import { agentGroupNamed, messagingGroupNamed, notFound, sessionNamed } from './lookup.ts';
import { groupArgument, groupOption, limit, sessionArgument, Text, whole } from './parameters.ts';
import { column, type View } from './view.ts';

const TIMELINE: View = {
  type: 'table',
  columns: [
    column('NO', 'seq'),
    column('AT', 'at', 'time'),
    column('WHAT', 'what'),
    column('BECAME', 'became'),
    column('TEXT', 'text'),
  ],
  empty: 'Nothing has been said in it yet.',
};

/** The sessions. */
export const sessionCommands: readonly OperatorCommand[] = [
  reads({
    path: ['sessions', 'list'],
    summary: 'list the conversations',
    parameters: z.object({ group: groupOption }),
    agents: ownGroupOnly(),
    view: {
      type: 'table',
      columns: [
        column('ID', 'id', 'id'),
        column('AGENT', 'agent'),
        column('CHAT', 'chat'),
        column('THREAD', 'threadId'),
        column('SINCE', 'createdAt', 'time'),
        column('STATE', 'state'),
        column('WHY', 'why'),
      ],
      empty: 'There are no sessions yet. One is made by the first message that an agent engages on.',
    },
    run: async (operator, { group }) => {
      const { registry } = operator;
      const only = group === undefined ? undefined : (await agentGroupNamed(registry, group)).id;
      const sessions = (await registry.sessions()).filter(({ key }) => only === undefined || key.agentGroupId === only);
      const told = [];
      // One after the other, because each opens a file.
      for (const session of sessions) told.push(await summary(operator, session));
      return told;
    },
  }),
  reads({
    path: ['sessions', 'get'],
    summary: 'show one conversation: what is due, what is wrong, where its answers go',
    parameters: z.object({ session: sessionArgument }),
    agents: ownSession(),
    view: { type: 'record' },
    run: async (operator, { session: named }) => {
      const session = await sessionNamed(operator, named);
      return { ...(await summary(operator, session)), ...(await condition(operator, session)) };
    },
  }),
  reads({
    path: ['sessions', 'show'],
    summary: 'show what was said in a conversation and what became of each message, from both of its files',
    parameters: z.object({
      session: sessionArgument,
      limit: limit(50),
      before: option(whole(1, Number.MAX_SAFE_INTEGER).exactOptional(), 'only messages before this number', {
        value: 'no',
      }),
    }),
    agents: ownSession(),
    view: {
      type: 'sections',
      sections: [
        { key: 'session', heading: 'SESSION', view: { type: 'record' } },
        { key: 'timeline', heading: 'TIMELINE', view: TIMELINE },
      ],
    },
    run: async (operator, { session: named, ...page }) => {
      const session = await sessionNamed(operator, named);
      const read = await withFiles(operator, session, ({ files, reader }) => timeline(files, reader, page));
      return {
        session: await summary(operator, session),
        timeline: (read?.entries ?? []).map(entryTold),
        openClaims: read?.openClaims ?? [],
        finding: read?.finding ?? null,
      };
    },
  }),
  changes({
    path: ['sessions', 'create'],
    summary: 'make a conversation before anybody has spoken in it, for instance to give it tasks',
    parameters: z.object({
      group: groupArgument,
      chat: option(Text.exactOptional(), "the chat; left out: the agent's own session for all its chats"),
      thread: option(Text.exactOptional(), 'the thread of the chat'),
    }),
    agents: 'never',
    view: { type: 'record' },
    run: async (operator, { group, chat, thread }) => {
      const { registry } = operator;
      const agentGroupId = (await agentGroupNamed(registry, group)).id;
      const messagingGroupId = chat === undefined ? undefined : (await messagingGroupNamed(registry, chat)).id;
      const session = await registry.sessionFor(keyOf({ agentGroupId }, messagingGroupId, thread));
      // Its files come with it, so that what is given to it next finds them.
      await operator.sessions.withSession(session, ({ files }) => files.dueCount(operator.now()));
      return summary(operator, session);
    },
  }),
  changes({
    path: ['sessions', 'retry'],
    summary: 'end the waits of a conversation that could not be run: it is tried again at once',
    parameters: z.object({ session: sessionArgument }),
    agents: ownSession(),
    view: { type: 'message' },
    run: async (operator, { session: named }) => {
      const session = await sessionNamed(operator, named);
      await operator.registry.setSessionQuarantine(session.id, null);
      await operator.sessions.withSession(session, ({ files }) => {
        files.trouble.retryNow('wake', operator.now());
        files.trouble.retryNow('outbound', operator.now());
      });
      operator.live?.poke(session.id);
      return { id: session.id, message: `The session ${session.id} is tried again ${soon(operator)}.` };
    },
  }),
  asks({
    path: ['sessions', 'wake'],
    summary: 'look at a conversation at once instead of at the next pass',
    parameters: z.object({ session: sessionArgument }),
    agents: ownSession(),
    view: { type: 'message' },
    run: async (operator, { session: named }) => {
      const { id } = await sessionNamed(operator, named);
      operator.live.poke(id);
      return { id, message: `The host looks at the session ${id} now.` };
    },
  }),
  asks({
    path: ['sessions', 'stop'],
    summary: 'stop the run of a conversation; what it was working on is tried again later',
    parameters: z.object({ session: sessionArgument }),
    agents: 'never',
    view: { type: 'message' },
    run: async (operator, { session: named }) => {
      const { id } = await sessionNamed(operator, named);
      const had = await operator.live.stopRun(id, 'an operator stopped it');
      return { id, stopped: had, message: had ? `The run of session ${id} was stopped.` : `Session ${id} has no run.` };
    },
  }),
  changes({
    path: ['sessions', 'delete'],
    summary: 'delete a conversation with its files; there is no way back but a backup',
    parameters: z.object({ session: sessionArgument }),
    agents: 'never',
    view: { type: 'message' },
    run: async (operator, { session: named }) => {
      const session = await sessionNamed(operator, named);
      const { id, key } = session;
      if (operator.live) await operator.live.forget(id);
      else await refuseWhileRunning(operator, session);
      if (!(await operator.registry.deleteSession(id))) throw notFound('session', named, 'sessions list');
      rmSync(operator.data.session(key.agentGroupId, id), { recursive: true, force: true });
      return { id, message: `The session ${id} was deleted, with its files.` };
    },
  }),
];

/** What a session is, how it is just now, and what is wrong with it. */
async function summary(operator: Pick<Reading, 'registry' | 'sessions' | 'live' | 'now'>, session: Session) {
  const { registry, live, now } = operator;
  const { id, key, createdAt } = session;
  const agent = await registry.agentGroup(key.agentGroupId);
  const chat = key.scope === 'agent' ? undefined : await registry.messagingGroup(key.messagingGroupId);
  const quarantine = session.quarantine !== null && session.quarantine.until > now() ? session.quarantine : null;
  return {
    id,
    agentGroupId: key.agentGroupId,
    agent: agent?.folder ?? key.agentGroupId,
    chat: chat === undefined ? null : `${chat.channelType}:${chat.platformId}`,
    threadId: key.scope === 'thread' ? key.threadId : null,
    createdAt,
    ...stateOf(quarantine, await trouble(operator, session), live?.status().running.includes(id) ?? false),
    quarantine,
  };
}

/** What is wrong with a session, as its file has it or because that file cannot be used. */
interface Wrong {
  readonly state: 'unreadable' | 'troubled';
  readonly why: string;
}

/**
 * How a session is, and why when something is wrong. That a file cannot be read comes before a run that is alive: nothing
 * of what such a run says arrives. A run that is alive comes before earlier ones that could not be started. Pure.
 */
function stateOf(quarantine: Session['quarantine'], wrong: Wrong | undefined, isRunning: boolean) {
  if (quarantine !== null) return { state: 'quarantined', why: quarantine.reason };
  if (wrong?.state === 'unreadable') return wrong;
  if (isRunning) return { state: 'running', why: null };
  return wrong ?? { state: 'resting', why: null };
}

async function trouble(operator: Pick<Reading, 'sessions'>, session: Session): Promise<Wrong | undefined> {
  try {
    return await withFiles(operator, session, ({ files }) => {
      const [outbound, wake] = [files.trouble.get('outbound'), files.trouble.get('wake')];
      // One without failures is over, and only its chat has still to hear so.
      if (outbound !== undefined && outbound.failures > 0) return { state: 'unreadable', why: outbound.error };
      if (wake !== undefined && wake.failures > 0) return { state: 'troubled', why: wake.error };
      return undefined;
    });
  } catch (error) {
    if (!isUnusable(error)) throw error;
    return { state: 'unreadable', why: messageOf(error) };
  }
}

/** What the session's own file says of it. */
async function condition(operator: Reading, session: Session) {
  const found = await withFiles(operator, session, ({ files }) => ({
    liveRun: files.liveRun() ?? null,
    due: files.dueCount(operator.now()),
    nextDueAt: files.nextDueAt() ?? null,
    nextDeliveryAt: files.deliveries.nextAt() ?? null,
    openTasks: files.series.live().length,
    deadLetters: { in: files.deadLetters.count(), out: files.deliveries.deadLetterCount() },
    trouble: [files.trouble.get('wake'), files.trouble.get('outbound')].filter((each) => each !== undefined),
    replyTo: files.routing().replyTo,
    destinations: files.routing().destinations.map(({ name }) => name),
  }));
  return found ?? {};
}

/** What `use` gives; `undefined` for a session whose files have not been made yet. */
export async function withFiles<T>(
  { sessions }: Pick<Reading, 'sessions'>,
  session: Session,
  use: (access: SessionAccess<SessionView>) => T | Promise<T>,
): Promise<T | undefined> {
  try {
    return await sessions.withSession(session, use);
  } catch (error) {
    if (error instanceof SqliteError && error.code === 'SQLITE_CANTOPEN') return undefined;
    throw error;
  }
}

/**
 * As `withFiles`, and `undefined` also for a session whose file cannot be used, which is not to keep the others from being
 * looked at: `status` counts those, and `sessions get` says what is wrong.
 */
export async function withUsableFiles<T>(
  operator: Pick<Reading, 'sessions'>,
  session: Session,
  use: (access: SessionAccess<SessionView>) => T | Promise<T>,
): Promise<T | undefined> {
  try {
    return await withFiles(operator, session, use);
  } catch (error) {
    if (!isUnusable(error)) throw error;
    return undefined;
  }
}

/** Whether an error is the trouble of one session's file, and of no other's. */
export function isUnusable(error: unknown): boolean {
  return error instanceof SqliteError || error instanceof VersionError || systemCode(error) !== undefined;
}

async function refuseWhileRunning(operator: Reading, session: Session): Promise<void> {
  const run = await withFiles(operator, session, ({ files }) => files.liveRun());
  if (run === undefined) return;
  throw new Problem(
    `The session ${session.id} may have a run that is alive (${run}); nothing was deleted. Start the host, which stops ` +
      'it, and delete the session then.',
    7,
  );
}

function keyOf(
  { agentGroupId }: Pick<SessionKey, 'agentGroupId'>,
  messagingGroupId: MessagingGroupId | undefined,
  threadId: string | undefined,
): SessionKey {
  if (messagingGroupId !== undefined && threadId !== undefined) {
    return { scope: 'thread', agentGroupId, messagingGroupId, threadId };
  }
  if (messagingGroupId !== undefined) return { scope: 'chat', agentGroupId, messagingGroupId };
  if (threadId === undefined) return { scope: 'agent', agentGroupId };
  throw new Problem('A thread belongs to a chat: give --chat too. Nothing was changed.', 2);
}

/** One message of a timeline with what a person wants to see of it in front of the rest. */
function entryTold(entry: TimelineEntry) {
  if (entry.type === 'in') {
    const due = entry.status === 'pending' && entry.tries > 0 ? `retried after ${entry.tries}` : entry.status;
    return {
      at: entry.timestamp,
      what: entry.trigger === 'context' ? `in ${entry.kind}, context` : `in ${entry.kind}`,
      became: entry.error === null ? due : `${due}: ${entry.error}`,
      text: words(entry.content),
      ...entry,
    };
  }
  const { message, parts } = entry;
  return {
    at: message?.timestamp ?? null,
    what: `out ${message?.kind ?? 'message'}`,
    became: becameOf(parts),
    text: message === undefined ? 'forgotten' : words(message.content),
    ...entry,
  };
}

/** What became of a message of the agent: of its parts the one that failed tells, or else the one still to be done. */
function becameOf(parts: OutboundEntry['parts']): string {
  const open = parts.find(({ status }) => status === 'failed') ?? parts.find(({ status }) => status !== 'delivered');
  if (open === undefined) return parts.length === 0 ? 'not taken in' : 'delivered';
  return open.error === null ? open.status : `${open.status}: ${open.error}`;
}

/** The words of a content, whatever kind it is of; JSON of what has none. */
export function words(content: JsonObject): string {
  for (const key of ['text', 'prompt', 'question', 'fallbackText']) {
    const said = content[key];
    if (typeof said === 'string') return said;
  }
  return resultWords(content) ?? JSON.stringify(content);
}

/** What an agent was told of something that it asked its host for. */
function resultWords({ action, status, error }: JsonObject): string | undefined {
  if (typeof action !== 'string' || typeof status !== 'string') return undefined;
  return typeof error === 'string' ? `${action}: ${error}` : `${action}: ${status}`;
}

function soon({ live }: Pick<Reading, 'live'>): string {
  return live === undefined ? 'when the host starts' : 'now';
}
