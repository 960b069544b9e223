/** `nanoclaw sessions`: the sessions, and the outcome of each message in them. */
import { rmSync } from 'node:fs';
import type { MessagingGroupId, Session, SessionKey } from '@nanoclaw/registry';
import {
  type DeferredWork,
  type InboundEntry,
  type JsonObject,
  type OutboundEntry,
  type SessionView,
  SqliteError,
  sessionFolder,
  type TimelineEntry,
  timeline,
} from '@nanoclaw/session-db';
import { z } from 'zod';
import { isSessionTrouble, messageOf, Problem } from '../errors/index.ts';
import { findingsOf } from '../session/index.ts';
import { changes, liveOnly, type OperatorCommand, option, reads } from './command.ts';
import { ownGroupOnly, ownSession } from './confine.ts';
import type { LiveStatus, ReadContext, SessionAccess } from './contexts.ts';
import { agentGroupNamed, messagingGroupNamed, notFound, onlyGroup, sessionNamed } from './lookup.ts';
import { groupArgument, groupOption, limit, sessionArgument, Text, whole } from './parameters.ts';
import { column, type View } from './view.ts';

const TIMELINE: View = {
  type: 'table',
  columns: [
    column('NUMBER', 'seq'),
    column('TIME', 'at', 'time'),
    column('KIND', 'what'),
    column('OUTCOME', 'became'),
    column('TEXT', 'text'),
  ],
  empty: 'It has no messages yet.',
};

const FINDINGS: View = {
  type: 'table',
  columns: [
    column('FINDING', 'finding'),
    column('COUNT', 'count'),
    column('SINCE', 'since', 'time'),
    column('LAST', 'lastAt', 'time'),
    column('DETAIL', 'detail'),
  ],
  empty: 'Nothing of its agent was stopped.',
};

/** The commands about sessions. */
export const sessionCommands: readonly OperatorCommand[] = [
  reads({
    path: ['sessions', 'list'],
    summary: 'list the sessions',
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
        column('REASON', 'why'),
      ],
      empty: 'There are no sessions yet. One is made by the first message that an agent engages on.',
    },
    run: async (context, { group }) => {
      const { registry } = context;
      const only = await onlyGroup(registry, group);
      const sessions = (await registry.sessions()).filter(({ key }) => only === undefined || key.agentGroupId === only);
      const summaries = [];
      // One after the other, because each opens a file.
      for (const session of sessions) summaries.push(await summary(context, session));
      return summaries;
    },
  }),
  reads({
    path: ['sessions', 'get'],
    summary: 'show one session: what is due, what is wrong, where its answers go',
    parameters: z.object({ session: sessionArgument }),
    agents: ownSession(),
    view: { type: 'record' },
    run: async (context, { session: named }) => {
      const session = await sessionNamed(context, named);
      return { ...(await summary(context, session)), ...(await details(context, session)) };
    },
  }),
  reads({
    path: ['sessions', 'show'],
    summary: 'show the messages of a session with their outcomes, from both of its files',
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
        { key: 'findings', heading: 'FINDINGS', view: FINDINGS },
      ],
    },
    run: async (context, { session: named, ...page }) => {
      const session = await sessionNamed(context, named);
      const read = await withFiles(context, session, ({ files, reader }) => timeline(files, reader, page));
      return {
        session: await summary(context, session),
        timeline: (read?.entries ?? []).map(toEntryView),
        openClaims: read?.openClaims ?? [],
        finding: read?.finding ?? null,
        findings: findingsOf(sessionFolder(context.data.session(session.key.agentGroupId, session.id))),
      };
    },
  }),
  changes({
    path: ['sessions', 'create'],
    summary: 'create a session before its first message, for instance to give it tasks',
    parameters: z.object({
      group: groupArgument,
      chat: option(Text.exactOptional(), "the chat; left out: the agent's own session for all its chats"),
      thread: option(Text.exactOptional(), 'the thread of the chat'),
    }),
    agents: 'never',
    view: { type: 'record' },
    run: async (context, { group, chat, thread }) => {
      const { registry } = context;
      const agentGroupId = (await agentGroupNamed(registry, group)).id;
      const messagingGroupId = chat === undefined ? undefined : (await messagingGroupNamed(registry, chat)).id;
      const session = await registry.sessionFor(keyOf({ agentGroupId }, messagingGroupId, thread));
      // Its files come with it, so that what is given to it next finds them.
      await context.sessions.withSession(session, ({ files }) => files.dueCount(context.now()));
      return summary(context, session);
    },
  }),
  changes({
    path: ['sessions', 'retry'],
    summary: 'retry a session that could not be run, or whose model refused or was away, without waiting',
    parameters: z.object({ session: sessionArgument }),
    agents: ownSession(),
    view: { type: 'message' },
    run: async (context, { session: named }) => {
      const session = await sessionNamed(context, named);
      await context.registry.setSessionQuarantine(session.id, null);
      await context.sessions.withSession(session, ({ files }) => {
        files.trouble.retryNow('wake', context.now());
        files.trouble.retryNow('outbound', context.now());
        files.deferrals.retryNow(context.now());
      });
      context.live?.poke(session.id);
      return { id: session.id, message: `The session ${session.id} will be retried ${whenText(context)}.` };
    },
  }),
  liveOnly({
    path: ['sessions', 'wake'],
    summary: 'check a session now instead of at the next sweep',
    parameters: z.object({ session: sessionArgument }),
    agents: ownSession(),
    view: { type: 'message' },
    run: async (context, { session: named }) => {
      const { id } = await sessionNamed(context, named);
      context.live.poke(id);
      return { id, message: `The host checks the session ${id} now.` };
    },
  }),
  liveOnly({
    path: ['sessions', 'stop'],
    summary: 'stop the run of a session; what it was working on is retried later',
    parameters: z.object({ session: sessionArgument }),
    agents: 'never',
    view: { type: 'message' },
    run: async (context, { session: named }) => {
      const { id } = await sessionNamed(context, named);
      const had = await context.live.stopRun(id, 'an operator stopped it');
      return { id, stopped: had, message: had ? `The run of session ${id} was stopped.` : `Session ${id} has no run.` };
    },
  }),
  changes({
    path: ['sessions', 'delete'],
    summary: 'delete a session with its files; only a backup can bring it back',
    parameters: z.object({ session: sessionArgument }),
    agents: 'never',
    view: { type: 'message' },
    run: async (context, { session: named }) => {
      const session = await sessionNamed(context, named);
      const { id, key } = session;
      if (context.live) await context.live.forget(id);
      else await refuseWhileRunning(context, session);
      if (!(await context.registry.deleteSession(id))) throw notFound('session', named, 'sessions list');
      rmSync(context.data.session(key.agentGroupId, id), { recursive: true, force: true });
      return { id, message: `The session ${id} was deleted, with its files.` };
    },
  }),
];

/** What a session is, its state, and what is wrong with it. */
async function summary(context: Pick<ReadContext, 'registry' | 'sessions' | 'live' | 'now'>, session: Session) {
  const { registry, live, now } = context;
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
    ...stateOf(quarantine, await faultOf(context, session), runOf(id, live?.status())),
    quarantine,
  };
}

/** What is wrong with a session, as its file has it or because that file cannot be used. */
interface SessionFault {
  readonly state: 'unreadable' | 'troubled' | 'deferred';
  readonly why: string;
}

/**
 * The state of a session, and the reason when something is wrong. That a file cannot be read comes before a live run: nothing
 * of what such a run says arrives. A run that is alive comes before earlier ones that could not be started. Pure.
 */
function stateOf(
  quarantine: Session['quarantine'],
  wrong: SessionFault | undefined,
  run: 'running' | 'waiting' | 'none',
) {
  if (quarantine !== null) return { state: 'quarantined', why: quarantine.reason };
  if (wrong?.state === 'unreadable') return wrong;
  if (run === 'running') return { state: 'running', why: wrong?.state === 'deferred' ? wrong.why : null };
  if (run === 'waiting')
    return { state: 'waiting', why: 'All places for agents, or those of its agent or chat, are taken.' };
  return wrong ?? { state: 'idle', why: null };
}

/** What the running host says of the session's run. Pure. */
function runOf(id: string, status: LiveStatus | undefined): 'running' | 'waiting' | 'none' {
  if (status?.running.includes(id) === true) return 'running';
  return status?.waiting.includes(id) === true ? 'waiting' : 'none';
}

async function faultOf(context: Pick<ReadContext, 'sessions'>, session: Session): Promise<SessionFault | undefined> {
  try {
    return await withFiles(context, session, ({ files }) => {
      const [outbound, wake] = [files.trouble.get('outbound'), files.trouble.get('wake')];
      // One without failures is over, and only its notice is still owed.
      if (outbound !== undefined && outbound.failures > 0) return { state: 'unreadable', why: outbound.error };
      if (wake !== undefined && wake.failures > 0) return { state: 'troubled', why: wake.error };
      const deferred = files.deferrals.get();
      return deferred && { state: 'deferred', why: deferralText(deferred) };
    });
  } catch (error) {
    if (!isSessionTrouble(error)) throw error;
    return { state: 'unreadable', why: messageOf(error) };
  }
}

/** The details of a session, from its own file. */
async function details(context: ReadContext, session: Session) {
  const found = await withFiles(context, session, ({ files }) => ({
    liveRun: files.liveRun() ?? null,
    due: files.dueCount(context.now()),
    nextDueAt: files.nextDueAt() ?? null,
    nextDeliveryAt: files.deliveries.nextAt() ?? null,
    openTasks: files.series.live().length,
    deadLetters: { in: files.deadLetters.count(), out: files.deliveries.deadLetterCount() },
    deferred: files.deferrals.get() ?? null,
    trouble: [files.trouble.get('wake'), files.trouble.get('outbound')].filter((each) => each !== undefined),
    replyTo: files.routing().replyTo,
    destinations: files.routing().destinations.map(({ name }) => name),
  }));
  return found ?? {};
}

/** What `use` gives; `undefined` for a session whose files have not been made yet. */
export async function withFiles<T>(
  { sessions }: Pick<ReadContext, 'sessions'>,
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
 * As `withFiles`, and `undefined` also for a session whose file cannot be used, which must not keep the others from being
 * looked at: `status` counts those, and `sessions get` says what is wrong.
 */
export async function withUsableFiles<T>(
  context: Pick<ReadContext, 'sessions'>,
  session: Session,
  use: (access: SessionAccess<SessionView>) => T | Promise<T>,
): Promise<T | undefined> {
  try {
    return await withFiles(context, session, use);
  } catch (error) {
    if (!isSessionTrouble(error)) throw error;
    return undefined;
  }
}

async function refuseWhileRunning(context: ReadContext, session: Session): Promise<void> {
  const run = await withFiles(context, session, ({ files }) => files.liveRun());
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

/** One message of a timeline, with what a person wants to see of it in front of the rest. */
function toEntryView(entry: TimelineEntry) {
  if (entry.type === 'in') {
    const due = openText(entry);
    return {
      at: entry.timestamp,
      what: entry.trigger === 'context' ? `in ${entry.kind}, context` : `in ${entry.kind}`,
      became: entry.error === null ? due : `${due}: ${entry.error}`,
      text: contentText(entry.content),
      ...entry,
    };
  }
  const { message, parts } = entry;
  return {
    at: message?.timestamp ?? null,
    what: `out ${message?.kind ?? 'message'}`,
    became: outcomeText(parts),
    text: message === undefined ? 'forgotten' : contentText(message.content),
    ...entry,
  };
}

/** How far a message for the agent has come. */
function openText({ status, deferral, tries }: InboundEntry): string {
  if (deferral !== null) return deferral === 'refused' ? 'model refused' : 'model unavailable';
  return status === 'pending' && tries > 0 ? `retried after ${tries}` : status;
}

/** Why the messages of a session wait for its model. */
function deferralText({ kind, reason }: DeferredWork): string {
  return kind === 'refused' ? `Its model refused: ${reason}` : `Its model is unavailable: ${reason}`;
}

/** The outcome of a message of the agent: that of the part that failed, else of the part that is still open. */
function outcomeText(parts: OutboundEntry['parts']): string {
  const open = parts.find(({ status }) => status === 'failed') ?? parts.find(({ status }) => status !== 'delivered');
  if (open === undefined) return parts.length === 0 ? 'not accepted' : 'delivered';
  return open.error === null ? open.status : `${open.status}: ${open.error}`;
}

/** The text of a content, whatever its kind; JSON of one that has none. */
export function contentText(content: JsonObject): string {
  for (const key of ['text', 'prompt', 'question', 'fallbackText']) {
    const text = content[key];
    if (typeof text === 'string') return text;
  }
  return resultText(content) ?? JSON.stringify(content);
}

/** The text of the result of an agent's request. */
function resultText({ action, status, error }: JsonObject): string | undefined {
  if (typeof action !== 'string' || typeof status !== 'string') return undefined;
  return typeof error === 'string' ? `${action}: ${error}` : `${action}: ${status}`;
}

function whenText({ live }: Pick<ReadContext, 'live'>): string {
  return live === undefined ? 'when the host starts' : 'now';
}
