// What the cases of the contract share: a host that is told things, and ways to say, send and look.
import assert from 'node:assert/strict';
import type { Attempt, Channel, OutgoingMessage, QuestionMessage, Receive } from '../channel.ts';
import { type Content, contentOf } from './event-content.ts';
import type { PlatformUnderTest } from './platform-under-test.ts';

/** What a case does: throws when the channel breaks its promise. */
export type Check = (platform: PlatformUnderTest) => Promise<void>;

/** Spaces, line ends, quotes, markup, a zero byte, an escape sequence, letters beyond the first plane. */
export const TRICKY_TEXT = 'a  "b" \'c\' \\ <d&> {e} `f`\n\r\n\t\u0000 \u001b[31mred\u001b[0m é 漢 👩‍👩‍👧 𝒳';

/** Every byte there is, over more than one piece of whatever a channel reads at a time. */
export const SOME_BYTES = Uint8Array.from({ length: 70_000 }, (_, n) => n % 256);

/** Compared with others as what it is, whatever holds the bytes. */
export function plainFile({ name, bytes }: { name: string; bytes: Uint8Array }): [string, string] {
  return [name, Buffer.from(bytes).toString('base64')];
}

/** A host that remembers what it was given, files and all, and then stores it, refuses it, or never answers. */
export class Inbox {
  readonly events: Content[] = [];
  readonly #manner: 'stores' | 'refuses' | 'hangs';
  #waiting: { count: number; resolve: () => void }[] = [];

  constructor(manner: 'stores' | 'refuses' | 'hangs' = 'stores') {
    this.#manner = manner;
  }

  readonly receive: Receive = async (event) => {
    this.events.push(await contentOf(event));
    for (const { count, resolve } of this.#waiting) if (this.events.length >= count) resolve();
    if (this.#manner === 'refuses') throw new Error('the disk is full');
    if (this.#manner === 'hangs') await new Promise(() => {});
  };

  texts(): string[] {
    return this.events.flatMap((event) => (event.kind === 'message' ? [event.text] : []));
  }

  /** Resolves once so many events have come. */
  async has(count: number): Promise<void> {
    if (this.events.length >= count) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push({ count, resolve });
    });
  }
}

/** A channel that runs, for a host that stores everything. */
export async function started(platform: PlatformUnderTest): Promise<Channel> {
  const channel = platform.channel();
  await channel.start(new Inbox().receive);
  return channel;
}

/** The person writes, and the channel acknowledges it. */
export async function acknowledgedSay(platform: PlatformUnderTest, text: string): Promise<void> {
  const { acknowledged } = await platform.say({ text });
  assert.equal(await acknowledged, true, 'the message is acknowledged');
}

/** Sends a text at the address of the platform. */
export function sendText(platform: PlatformUnderTest, channel: Channel, text: string, attempt: Attempt) {
  return channel.send(platform.address, { kind: 'text', text }, attempt);
}

/** The first attempt of a key. */
export function firstAttempt(key: string): Attempt {
  return { key, attempt: 1, uncertain: false };
}

/** Fails unless the result refuses for good, with a reason. */
export function assertRefusedForGood(result: Awaited<ReturnType<Channel['send']>>): void {
  assert.equal(result.type, 'failed');
  assert.ok(result.type === 'failed' && result.permanent, 'it is refused for good');
  assert.notEqual(result.reason.trim(), '', 'with a reason');
}

/** The texts that a person sees at the address of the platform. */
export async function shownTexts(platform: PlatformUnderTest): Promise<string[]> {
  return (await platform.shown(platform.address)).map(({ text }) => text);
}

/** Sends at the address of the platform, and gives the id under which people see it. */
export async function sentId(platform: PlatformUnderTest, channel: Channel, message: OutgoingMessage, key: string) {
  const result = await channel.send(platform.address, message, firstAttempt(key));
  assert.equal(result.type, 'sent', result.type === 'failed' ? result.reason : undefined);
  assert.ok(result.type === 'sent');
  return result.platformMessageId ?? assert.fail('a message that can be changed has an id');
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

/** Long enough for an acknowledgement that comes too early to be seen; nothing depends on its length otherwise. */
export function aMoment(): Promise<void> {
  return new Promise((resolve) => {
    // tidy: allow sleep — a suite for tests, not code that a host runs; a case has to give a fault time to show.
    setTimeout(resolve, 30);
  });
}
