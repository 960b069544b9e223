// What the cases of the contract share: what a case is, ways to write, send and look, and messages to send.
import type { Attempt, Channel, Duplicates, OutgoingMessage, QuestionMessage, SendResult } from '../channel.ts';
import { fail } from './deadline.ts';
import { expectSame, quoted } from './difference.ts';
import type { HostInbox } from './host-inbox.ts';
import type { PlatformLack, UserMessage } from './platform-under-test.ts';
import type { WatchedPlatform } from './watched-platform.ts';

/** One promise of the contract. */
export interface Case {
  /** The promise, as a sentence without its end. */
  readonly name: string;
  /** It is listed for platforms that lack none of these. */
  readonly needs?: readonly PlatformLack[];
  /** It is listed only for platforms that lack this. */
  readonly without?: PlatformLack;
  /** It is listed for channels with one of these `duplicates`. */
  readonly duplicates?: readonly Duplicates[];
  /** Throws a `ContractFailure` when the channel breaks the promise. */
  readonly check: (platform: WatchedPlatform) => Promise<void>;
}

/** Spaces, quotes, markup, letters beyond the first plane; line ends, a zero byte, an escape sequence where they can be. */
export function trickyText(platform: WatchedPlatform): string {
  const lineBreaks = platform.lacks('line-breaks') ? '' : '\n\r\n';
  const controls = platform.lacks('control-characters') ? '' : '\t\u0000 \u001b[31mred\u001b[0m';
  return `a  "b" 'c' \\ <d&> {e} \`f\`${lineBreaks}${controls} é 漢 👩‍👩‍👧 𝒳`;
}

/** Every byte there is, over more than one piece of whatever a channel reads at a time. */
export const SOME_BYTES = Uint8Array.from({ length: 70_000 }, (_, n) => n % 256);

/** The person writes; the host gets it, and the channel acknowledges it where the platform is told. */
export async function writeAndReceive(
  platform: WatchedPlatform,
  host: HostInbox,
  message: string | UserMessage,
): Promise<void> {
  const before = host.events.length;
  const action = await platform.say(typeof message === 'string' ? { text: message } : message);
  const isAcknowledged = await action.acknowledged();
  host.assertReadable();
  if (isAcknowledged === false) fail('A message that the host took, or would have taken, was not acknowledged.');
  await host.has(before + 1);
}

/** Sends a text at the address of the platform. */
export function sendText(platform: WatchedPlatform, channel: Channel, text: string, attempt: Attempt) {
  return channel.send(platform.address, { kind: 'text', text }, attempt);
}

/** The first attempt of a key. */
export function firstAttempt(key: string): Attempt {
  return { key, attempt: 1, uncertain: false };
}

/** Fails unless the message, named within a sentence, is sent. Gives its id, null on a platform without ids. */
export function assertSent(what: string, result: SendResult): string | null {
  if (result.type === 'sent') return result.platformMessageId;
  return fail(
    result.type === 'offline' ? `${what} found the channel offline.` : `${what} was not sent: ${result.reason}`,
  );
}

/** Fails unless the result refuses the message, named within a sentence, for good and with a reason. */
export function assertRefusedForGood(what: string, result: SendResult): void {
  if (result.type !== 'failed') {
    fail(`${what} must be refused for good, and \`send\` gave the result ${quoted(result.type)}.`);
  }
  if (!result.permanent) fail(`${what} must be refused for good, and was refused for now: ${result.reason}`);
  if (result.reason.trim() === '') fail(`${what} was refused without a reason.`);
}

/** Fails unless a person sees exactly these texts at the address of the platform. */
export async function expectVisible(platform: WatchedPlatform, texts: readonly string[]): Promise<void> {
  const visible = await platform.visibleMessages(platform.address);
  expectSame(
    'the texts that a person sees',
    visible.map(({ text }) => text),
    texts,
  );
}

/** Sends at the address of the platform, and gives the id under which it is known from then on. */
export async function sendForId(platform: WatchedPlatform, channel: Channel, message: OutgoingMessage, key: string) {
  const what = message.kind === 'text' ? 'A text' : `A message of the kind ${message.kind}`;
  const id = assertSent(what, await channel.send(platform.address, message, firstAttempt(key)));
  return id ?? fail(`${what} was sent without an id, so that it cannot be changed. Declare that ids are lacking.`);
}

/** Sends at the address of the platform; fails unless it is sent. */
export async function send(platform: WatchedPlatform, channel: Channel, message: OutgoingMessage, attempt: Attempt) {
  const what = message.kind === 'text' ? 'A text' : `A message of the kind ${message.kind}`;
  return assertSent(what, await channel.send(platform.address, message, attempt));
}

/** A question about lunch, or another. */
export function question(changes: Partial<QuestionMessage> = {}): QuestionMessage {
  return {
    kind: 'question',
    questionId: 'q-1',
    title: 'Lunch',
    question: 'What would you like?',
    choices: ['Soup', 'Bread'],
    expiresAt: 2_000_000_000_000,
    ...changes,
  };
}
