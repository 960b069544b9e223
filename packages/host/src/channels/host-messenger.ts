/**
 * Messages that the host sends to people in its own name: replies to refused commands, cards that ask for a decision,
 * outcomes of requests. They go out through the channel directly, never through a session's file.
 */
import { type Address, type Channel, type OutgoingMessage, refusal } from '@nanoclaw/channels';
import type { UserId } from '@nanoclaw/registry';
import type { SetTimer } from '@nanoclaw/session-db';
import { messageOf } from '../errors/index.ts';

/** What became of a notice or a question of the host. The reason is one sentence for the operator. */
export type NotifyResult =
  | { readonly type: 'sent' }
  /** The channel is offline, or it is not certain that the message arrived: to be tried again. */
  | { readonly type: 'not-now'; readonly reason: string }
  /** The channel refuses it for good. */
  | { readonly type: 'never'; readonly reason: string };

/** A question of the host itself, such as the card of an approval. */
export interface HostQuestion {
  /** Comes back with the press of a button. */
  readonly questionId: string;
  /** One line above the question; empty: none. */
  readonly title: string;
  readonly question: string;
  /** The labels of the buttons; an answer is the position of one, from 0. */
  readonly choices: readonly string[];
  /** Wall-clock milliseconds. */
  readonly expiresAt: number;
}

/** Sends the host's own messages. Nothing here rejects, and each is shown once per key where the channel knows keys. */
export interface HostMessenger {
  /** Sends a text to a chat. The same `key` again is the same message. */
  notify(address: Address, text: string, key: string): Promise<NotifyResult>;
  /** Asks for a choice: with the channel's buttons, or as lines of text where it has none. */
  ask(address: Address, ask: HostQuestion, key: string): Promise<NotifyResult>;
  /** The direct chat with a person; `undefined`: there is none, or the channel cannot open it now. */
  directAddress(user: UserId): Promise<Address | undefined>;
}

/** How long a platform may take, in milliseconds: the message that gave the occasion is not acknowledged before. */
const SEND_MAX_MS = 10_000;

/** The messenger of a host with these channels, by their types. */
export function hostMessenger(channels: ReadonlyMap<string, Channel>, setTimer: SetTimer): HostMessenger {
  const send = async (address: Address, message: OutgoingMessage, key: string): Promise<NotifyResult> => {
    const channel = channels.get(address.channelType);
    if (channel === undefined) return { type: 'never', reason: `There is no channel "${address.channelType}".` };
    // An earlier life of the host may have sent it already, so the channel is to look.
    const attempt = { key, attempt: 1, uncertain: true };
    return withTimeout(setTimer, async () => {
      const result = await channel.send(address, message, attempt);
      if (result.type === 'sent') return { type: 'sent' };
      if (result.type === 'offline') return { type: 'not-now', reason: `The channel "${channel.type}" is offline.` };
      return { type: result.permanent ? 'never' : 'not-now', reason: result.reason };
    });
  };
  return {
    notify: (address, text, key) => send(address, { kind: 'text', text }, key),
    ask: (address, ask, key) => {
      const channel = channels.get(address.channelType);
      const question: OutgoingMessage = { kind: 'question', ...ask };
      const isShown = channel !== undefined && refusal(channel, address, question) === undefined;
      return send(address, isShown ? question : { kind: 'text', text: questionText(ask) }, key);
    },
    directAddress: async (user) => {
      const [channelType = '', ...handle] = user.split(':');
      try {
        return await channels.get(channelType)?.directAddress(handle.join(':'));
      } catch {
        return undefined; // as much as a person who has no direct chat: the next one is asked
      }
    },
  };
}

async function withTimeout(setTimer: SetTimer, attempt: () => Promise<NotifyResult>): Promise<NotifyResult> {
  const late = Promise.withResolvers<NotifyResult>();
  const cancel = setTimer(SEND_MAX_MS, () => late.resolve({ type: 'not-now', reason: 'The channel does not answer.' }));
  try {
    return await Promise.race([attempt(), late.promise]);
  } catch (error) {
    return { type: 'not-now', reason: messageOf(error) };
  } finally {
    cancel();
  }
}

/** A question of the host as text; the wording of a choice answers it. Pure. */
function questionText({ title, question, choices }: Omit<HostQuestion, 'questionId' | 'expiresAt'>): string {
  const lines = choices.map((choice) => `  - ${choice}`);
  return [title, question, ...lines, `Answer with ${choices.join(' or ')}.`].filter((line) => line !== '').join('\n');
}
