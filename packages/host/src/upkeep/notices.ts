/**
 * What the host has to say in a session's chats of troubles: messages given up, series paused, agents that cannot be started
 * and that can again. What is owed is in the session's file until it has been said, so no crash loses it; a chat hears of
 * it so often and no more, and of several things at once in one message.
 */
import { createHash } from 'node:crypto';
import type { RateLimits } from '@nanoclaw/delivery';
import {
  type Address,
  addressKey,
  type HostSession,
  type Millis,
  type OwedNotice,
  type TroubleRecord,
} from '@nanoclaw/session-db';
import { oneLine, type Said, type Voice } from '../channels/index.ts';
import type { Logger } from '../observability/index.ts';
import { AGENT, type SessionHandle, type Sessions } from '../session/index.ts';

/** What notices work with. */
export interface NoticesContext {
  readonly voice: Pick<Voice, 'say'>;
  readonly sessions: Pick<Sessions, 'known'>;
  readonly rates: RateLimits;
  readonly now: () => Millis;
  readonly log: Pick<Logger, 'warn' | 'error'>;
}

/** At most so many notices in one chat at once, and then one in ten minutes: what is owed meanwhile is said together. */
const NOTICES = { burst: 3, everyMs: 600_000 } as const;

/** When something is tried again that could not be said just now. */
const AGAIN_MS = 60_000;

/** How many notices of a session are looked at together. */
const TOGETHER_MAX = 100;

/**
 * Says what a session owes its chats, each chat in one message. What cannot be said now stays owed; gives when to come
 * back for it, `undefined` when nothing is left.
 */
export async function sayOwed(
  session: SessionHandle,
  troubles: readonly TroubleRecord[],
  context: NoticesContext,
): Promise<Millis | undefined> {
  const { replyTo } = session.files.routing();
  const due = [
    ...troubles.flatMap((trouble) => troubleNotice(session.id, trouble) ?? []),
    ...session.files.notices.owed(TOGETHER_MAX).map((notice) => owedNotice(session.id, notice)),
  ];
  let comeBackAt: Millis | undefined;
  for (const [address, notices] of byPlace(due, replyTo)) {
    const waitMs = address === null ? 'told' : await sayAt(session, address, notices, context);
    if (waitMs === 'told') for (const notice of notices) notice.told(session.files);
    else comeBackAt = Math.min(comeBackAt ?? Number.POSITIVE_INFINITY, context.now() + waitMs);
  }
  return comeBackAt;
}

/** One thing to be said. */
interface Due {
  /** Names it for good. */
  readonly key: string;
  /** `null`: where the session answers. */
  readonly address: Address | null;
  readonly about: 'message' | 'task' | 'trouble';
  /** The whole sentence for a trouble; else the reason alone. */
  readonly text: string;
  /** Marks it as told. */
  readonly told: (session: HostSession) => void;
}

/** Says it, or gives how long to wait before the next try, in milliseconds. */
async function sayAt(
  session: SessionHandle,
  address: Address,
  notices: readonly Due[],
  context: NoticesContext,
): Promise<Millis | 'told'> {
  const { voice, rates, now, log } = context;
  if (address.channelType === AGENT) return tellAgent(session, address, notices, context);
  const waitMs = rates.take([{ key: `notices/${addressKey(address)}`, ...NOTICES }], now());
  if (waitMs > 0) return waitMs;
  const said = await voice.say(address, noticeText(notices), keyOf(notices));
  if (said.type === 'not-now') {
    log.warn({ session: session.id, reason: said.reason }, 'a notice could not be said yet');
    return AGAIN_MS;
  }
  if (said.type === 'never') log.error({ session: session.id, reason: said.reason }, 'nobody could be told');
  return 'told';
}

/** An agent that wrote a mail learns that it was given up, with what it reads next. */
function tellAgent(
  session: SessionHandle,
  { threadId }: Address,
  notices: readonly Due[],
  { sessions, now }: NoticesContext,
): 'told' {
  const asker = threadId === null ? undefined : sessions.known(threadId);
  asker?.files.enqueue(
    {
      id: `notice/${keyOf(notices)}`,
      kind: 'system',
      timestamp: now(),
      trigger: 'context',
      address: null,
      content: { action: 'mail', status: 'error', error: noticeText(notices), from: session.agentGroupId },
    },
    now(),
  );
  return 'told';
}

/** The text of several notices for one chat. Pure. */
function noticeText(notices: readonly Due[]): string {
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

/** One key for what is said together: the same notices again are the same message. */
function keyOf(notices: readonly Due[]): string {
  const [only] = notices;
  const keys = notices.map(({ key }) => key);
  if (notices.length === 1 && only !== undefined && only.key.length <= 200) return only.key;
  return `notices/${createHash('sha256').update(JSON.stringify(keys)).digest('hex')}`;
}

const REASON_LENGTH_MAX = 300;

function troubleNotice(sessionId: string, { kind, noticeOwed, since, error }: TroubleRecord): Due | undefined {
  if (noticeOwed === null) return undefined;
  const reason = oneLine(error, REASON_LENGTH_MAX);
  return {
    key: `${sessionId}/${kind}/${noticeOwed}/${since}`,
    address: null,
    about: 'trouble',
    text:
      noticeOwed === 'began'
        ? `The agent cannot answer just now: ${reason} Your messages are kept; it is tried again by itself.`
        : 'The agent can answer again.',
    told: (session) => session.trouble.told(kind, noticeOwed),
  };
}

function owedNotice(sessionId: string, notice: OwedNotice): Due {
  const reason = oneLine(notice.reason, REASON_LENGTH_MAX);
  const told = (session: HostSession) => session.notices.told(notice);
  const { address, at } = notice;
  if (notice.type === 'paused') {
    const text = `A scheduled task was paused: ${reason} It runs again once somebody resumes it.`;
    return { key: `paused/${sessionId}/${notice.seriesId}/${at}`, address, about: 'trouble', text, told };
  }
  const about = notice.seriesId === null ? 'message' : 'task';
  return { key: `given-up/${sessionId}/${notice.messageId}/${at}`, address, about, text: reason, told };
}

/** Notices by the place where they belong; those without any are for nobody. */
function byPlace(due: readonly Due[], replyTo: Address | null): [Address | null, Due[]][] {
  const places = new Map<string, [Address | null, Due[]]>();
  for (const notice of due) {
    const address = notice.address ?? replyTo;
    const key = address === null ? '' : addressKey(address);
    const place = places.get(key);
    if (place === undefined) places.set(key, [address, [notice]]);
    else place[1].push(notice);
  }
  return [...places.values()];
}

/** At most so many answers of the host in one chat at once, and then one in three minutes. */
const ANSWERS = { burst: 20, everyMs: 180_000 } as const;

/** How many chats may have something held back at once; beyond that only the last ones are counted. */
const COUNTED_MAX = 1_000;

/**
 * A voice that cannot be made to flood a chat, whatever people write there: what is too much is not said but counted, and
 * the next thing that is said tells how much that was.
 */
export function limitedVoice(voice: Voice, rates: RateLimits, now: () => Millis): Voice {
  const heldBack = new Map<string, number>();
  const say = async (address: Address, text: string, key: string): Promise<Said> => {
    const place = addressKey(address);
    const count = heldBack.get(place) ?? 0;
    heldBack.delete(place);
    if (rates.take([{ key: `answers/${place}`, ...ANSWERS }], now()) > 0) {
      heldBack.set(place, count + 1);
      for (const oldest of heldBack.keys()) if (heldBack.size > COUNTED_MAX) heldBack.delete(oldest);
      return { type: 'said' };
    }
    return voice.say(address, count === 0 ? text : `${text}\n(${count} more like this were not shown.)`, key);
  };
  return { ...voice, say };
}
