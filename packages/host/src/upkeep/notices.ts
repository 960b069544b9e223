/**
 * Notices of troubles in a session's chats: messages given up or waiting for their model, series paused, agents that cannot be
 * started and that can again. What is owed is in the session's file until it has been sent, so no crash loses it; a chat gets a limited number,
 * and several at once in one message.
 */
import { createHash } from 'node:crypto';
import type { RateLimits } from '@nanoclaw/delivery';
import {
  type Address,
  addressKey,
  type DeferralKind,
  type HostSession,
  type Millis,
  type OwedNotice,
  type TroubleRecord,
} from '@nanoclaw/session-db';
import { oneLine } from '@nanoclaw/session-db/text';
import type { HostMessenger, NotifyResult } from '../channels/index.ts';
import type { Logger } from '../observability/index.ts';
import { AGENT_CHANNEL, type SessionHandle, type Sessions } from '../session/index.ts';

/** What sending notices needs. */
export interface NoticePorts {
  /** Sends the notices. */
  readonly messenger: Pick<HostMessenger, 'notify'>;
  /** Finds the session of an agent whose mail was given up. */
  readonly sessions: Pick<Sessions, 'known'>;
  /** Limits the notices of one chat. */
  readonly rates: RateLimits;
  /** Wall-clock milliseconds. */
  readonly now: () => Millis;
  /** Gets what could not be sent. */
  readonly log: Pick<Logger, 'warn' | 'error'>;
}

/** At most so many notices in one chat at once, and then one in ten minutes: those owed meanwhile are sent together. */
const NOTICES = { burst: 3, everyMs: 600_000 } as const;

/** When a notice is tried again that could not be sent, in milliseconds. */
const RETRY_MS = 60_000;

/** How many notices of a session are looked at together. */
const BATCH_MAX = 100;

/**
 * Sends the notices that a session owes its chats, one message for each chat. What cannot be sent now stays owed; gives
 * when to come back for it in wall-clock milliseconds, `undefined` when nothing is left.
 */
export async function sendOwedNotices(
  session: SessionHandle,
  troubles: readonly TroubleRecord[],
  ports: NoticePorts,
): Promise<Millis | undefined> {
  const { replyTo } = session.files.routing();
  const due = [
    ...troubles.flatMap((trouble) => troubleNotice(session.id, trouble) ?? []),
    ...session.files.notices.owed(BATCH_MAX).map((notice) => owedNotice(session.id, notice)),
  ];
  let comeBackAt: Millis | undefined;
  for (const [address, notices] of byAddress(due, replyTo)) {
    const waitMs = address === null ? 'sent' : await sendTo(session, address, notices, ports);
    if (waitMs === 'sent') {
      await session.write((files) => {
        for (const notice of notices) notice.markSent(files);
      });
    } else comeBackAt = Math.min(comeBackAt ?? Number.POSITIVE_INFINITY, ports.now() + waitMs);
  }
  return comeBackAt;
}

/** A notice that is still to be sent. */
interface PendingNotice {
  /** Identifies it for good, so that a channel that knows keys shows it once. */
  readonly key: string;
  /** `null`: where the session answers. */
  readonly address: Address | null;
  readonly about: 'message' | 'task' | 'trouble';
  /** The whole sentence for a trouble; else the reason alone. */
  readonly text: string;
  /** Marks it as sent in the session's file. */
  readonly markSent: (session: HostSession) => void;
}

/** Sends notices to one chat, or gives how long to wait before the next try, in milliseconds. */
async function sendTo(
  session: SessionHandle,
  address: Address,
  notices: readonly PendingNotice[],
  ports: NoticePorts,
): Promise<Millis | 'sent'> {
  const { messenger, rates, now, log } = ports;
  if (address.channelType === AGENT_CHANNEL) return notifyAgent(session, address, notices, ports);
  const waitMs = rates.take([{ key: `notices/${addressKey(address)}`, ...NOTICES }], now());
  if (waitMs > 0) return waitMs;
  const result = await messenger.notify(address, noticeText(notices), keyOf(notices));
  if (result.type === 'not-now') {
    log.warn({ session: session.id, reason: result.reason }, 'a notice could not be sent yet');
    return RETRY_MS;
  }
  if (result.type === 'never') log.error({ session: session.id, reason: result.reason }, 'a notice is undeliverable');
  return 'sent';
}

/** Tells an agent that its mail was given up, with what it reads next. */
async function notifyAgent(
  session: SessionHandle,
  { threadId }: Address,
  notices: readonly PendingNotice[],
  { sessions, now }: NoticePorts,
): Promise<'sent'> {
  const asker = threadId === null ? undefined : sessions.known(threadId);
  await asker?.write((files) =>
    files.enqueue(
      {
        id: `notice/${keyOf(notices)}`,
        kind: 'system',
        timestamp: now(),
        trigger: 'context',
        address: null,
        content: { action: 'mail', status: 'error', error: noticeText(notices), from: session.agentGroupId },
      },
      now(),
    ),
  );
  return 'sent';
}

/** The text of several notices for one chat. Pure. */
function noticeText(notices: readonly PendingNotice[]): string {
  const messages = notices.filter(({ about }) => about === 'message');
  const tasks = notices.filter(({ about }) => about === 'task');
  const lines = notices.filter(({ about }) => about === 'trouble').map(({ text }) => text);
  const [message] = messages.slice(-1);
  if (message !== undefined) {
    lines.push(
      messages.length === 1
        ? `A message could not be answered and was given up: ${message.text} It is kept; write again to ask anew.`
        : `${messages.length} messages could not be answered and were given up, the last one for this: ${message.text} ` +
            'They are kept; write again to ask anew.',
    );
  }
  const [task] = tasks.slice(-1);
  if (task !== undefined) {
    lines.push(
      tasks.length === 1
        ? `A scheduled task could not be done: ${task.text}`
        : `${tasks.length} scheduled tasks could not be done, the last one for this: ${task.text}`,
    );
  }
  return lines.join('\n');
}

/** One key for the notices of one message: the same notices again are the same message. */
function keyOf(notices: readonly PendingNotice[]): string {
  const [only] = notices;
  const keys = notices.map(({ key }) => key);
  if (notices.length === 1 && only !== undefined && only.key.length <= 200) return only.key;
  return `notices/${createHash('sha256').update(JSON.stringify(keys)).digest('hex')}`;
}

const REASON_LENGTH_MAX = 300;

function troubleNotice(
  sessionId: string,
  { kind, noticeOwed, since, error }: TroubleRecord,
): PendingNotice | undefined {
  if (noticeOwed === null) return undefined;
  const reason = oneLine(error, REASON_LENGTH_MAX);
  return {
    key: `${sessionId}/${kind}/${noticeOwed}/${since}`,
    address: null,
    about: 'trouble',
    text:
      noticeOwed === 'began'
        ? `The agent cannot answer just now: ${reason} Your messages are kept and will be tried again automatically.`
        : 'The agent can answer again.',
    markSent: (session) => session.trouble.markNoticeSent(kind, noticeOwed),
  };
}

function owedNotice(sessionId: string, notice: OwedNotice): PendingNotice {
  const reason = oneLine(notice.reason, REASON_LENGTH_MAX);
  const markSent = (session: HostSession) => session.notices.markSent(notice);
  const { address, at } = notice;
  if (notice.type === 'deferred') {
    const key = `deferred/${sessionId}/${notice.messageId}/${at}/${notice.kind}`;
    return { key, address, about: 'trouble', text: deferredText(notice.kind, sentence(reason)), markSent };
  }
  if (notice.type === 'paused') {
    const text = `A scheduled task was paused: ${reason} It runs again once it is resumed.`;
    return { key: `paused/${sessionId}/${notice.seriesId}/${at}`, address, about: 'trouble', text, markSent };
  }
  const about = notice.seriesId === null ? 'message' : 'task';
  return { key: `given-up/${sessionId}/${notice.messageId}/${at}`, address, about, text: reason, markSent };
}

/** What is said once of a model that is in the way: an answer tells that it is over. */
function deferredText(kind: DeferralKind, reason: string): string {
  return kind === 'refused'
    ? `The agent cannot answer until its operator has acted: ${reason} Your messages are kept and will be answered then; nothing needs to be sent again.`
    : `The agent cannot answer just now: ${reason} Your messages are kept and will be tried again automatically.`;
}

/** A text of another program, with an end that what follows can stand behind. */
function sentence(text: string): string {
  return /[.!?…]$/u.test(text) ? text : `${text}.`;
}

/** Notices by the chat where they belong; `null` for those that belong to none. */
function byAddress(due: readonly PendingNotice[], replyTo: Address | null): [Address | null, PendingNotice[]][] {
  const places = new Map<string, [Address | null, PendingNotice[]]>();
  for (const notice of due) {
    const address = notice.address ?? replyTo;
    const key = address === null ? '' : addressKey(address);
    const place = places.get(key);
    if (place === undefined) places.set(key, [address, [notice]]);
    else place[1].push(notice);
  }
  return [...places.values()];
}

/** At most so many replies of the host in one chat at once, and then one in three minutes. */
const ANSWERS = { burst: 20, everyMs: 180_000 } as const;

/** In how many chats suppressed notices are counted at once; beyond that the oldest counts are dropped. */
const SUPPRESSED_CHATS_MAX = 1_000;

/**
 * A messenger that cannot be made to flood a chat, whatever people write there: what is too much is counted instead of
 * sent, and the next notice that is sent says how many were not shown.
 */
export function rateLimitedMessenger(messenger: HostMessenger, rates: RateLimits, now: () => Millis): HostMessenger {
  const suppressed = new Map<string, number>();
  const notify = async (address: Address, text: string, key: string): Promise<NotifyResult> => {
    const place = addressKey(address);
    const count = suppressed.get(place) ?? 0;
    suppressed.delete(place);
    if (rates.take([{ key: `answers/${place}`, ...ANSWERS }], now()) > 0) {
      suppressed.set(place, count + 1);
      for (const oldest of suppressed.keys()) if (suppressed.size > SUPPRESSED_CHATS_MAX) suppressed.delete(oldest);
      return { type: 'sent' };
    }
    return messenger.notify(address, count === 0 ? text : `${text}\n(${count} more like this were not shown.)`, key);
  };
  return { ...messenger, notify };
}
