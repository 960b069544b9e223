/**
 * What the host says to people in its own name: answers to refused commands, cards that ask for a decision, what became
 * of a request. It goes out through the channel directly, never through a session's file.
 */
import { type Address, type Channel, type OutgoingMessage, refusal } from '@nanoclaw/channels';
import type { UserId } from '@nanoclaw/registry';
import type { SetTimer } from '@nanoclaw/session-db';
import { messageOf } from '../errors/index.ts';

/** What became of something said. The reason is one sentence for an operator. */
export type Said =
  | { readonly type: 'said' }
  /** The channel is offline, or it is not certain that anybody sees it. */
  | { readonly type: 'not-now'; readonly reason: string }
  /** It can never be said there. */
  | { readonly type: 'never'; readonly reason: string };

/** A question of the host itself. */
export interface Ask {
  readonly questionId: string;
  readonly title: string;
  readonly question: string;
  readonly choices: readonly string[];
  readonly expiresAt: number;
}

/** Says things to people. Nothing here rejects, and each thing is shown once per key where the channel knows keys. */
export interface Voice {
  say(address: Address, text: string, key: string): Promise<Said>;
  /** Asks for a choice: with the channel's own means, or in lines with numbers where it has none. */
  ask(address: Address, ask: Ask, key: string): Promise<Said>;
  /** The direct chat with a person; `undefined`: there is none, or it cannot be had now. */
  directAddress(user: UserId): Promise<Address | undefined>;
}

/** How long a platform may take, in milliseconds: the message that gave the occasion is not acknowledged before. */
const SAY_MAX_MS = 10_000;

/** The voice of a host with these channels. */
export function voiceOf(channels: ReadonlyMap<string, Channel>, setTimer: SetTimer): Voice {
  const send = async (address: Address, message: OutgoingMessage, key: string): Promise<Said> => {
    const channel = channels.get(address.channelType);
    if (channel === undefined) return { type: 'never', reason: `There is no channel "${address.channelType}".` };
    // Nobody knows whether an earlier life of the host has said it already, so the channel is to look.
    const attempt = { key, attempt: 1, uncertain: true };
    return inTime(setTimer, async () => {
      const result = await channel.send(address, message, attempt);
      if (result.type === 'sent') return { type: 'said' };
      if (result.type === 'offline') return { type: 'not-now', reason: `The channel "${channel.type}" is offline.` };
      return { type: result.permanent ? 'never' : 'not-now', reason: result.reason };
    });
  };
  return {
    say: (address, text, key) => send(address, { kind: 'text', text }, key),
    ask: (address, ask, key) => {
      const channel = channels.get(address.channelType);
      const question: OutgoingMessage = { kind: 'question', ...ask };
      const isShown = channel !== undefined && refusal(channel, address, question) === undefined;
      return send(address, isShown ? question : { kind: 'text', text: inLines(ask) }, key);
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

async function inTime(setTimer: SetTimer, attempt: () => Promise<Said>): Promise<Said> {
  const late = Promise.withResolvers<Said>();
  const cancel = setTimer(SAY_MAX_MS, () => late.resolve({ type: 'not-now', reason: 'The channel does not answer.' }));
  try {
    return await Promise.race([attempt(), late.promise]);
  } catch (error) {
    return { type: 'not-now', reason: messageOf(error) };
  } finally {
    cancel();
  }
}

/** A question of the host as text; the wording of a choice answers it. Pure. */
function inLines({ title, question, choices }: Omit<Ask, 'questionId' | 'expiresAt'>): string {
  const lines = choices.map((choice) => `  - ${choice}`);
  return [title, question, ...lines, `Answer with ${choices.join(' or ')}.`].filter((line) => line !== '').join('\n');
}
