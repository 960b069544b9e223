// The webhook channel as the suite of the contract sees it: a program that posts, and fetches or has a callback.
import type { Address } from '../src/channel.ts';
import type { PlatformUnderTest, UserMessage, VisibleMessage } from '../src/contract/index.ts';
import { type Change, folded } from './support.ts';
import { HOOK, SECRET, WebhookWorld } from './webhook-world.ts';

export async function openWebhook(mode: 'fetches' | 'has a callback'): Promise<PlatformUnderTest> {
  const world = new WebhookWorld();
  const posted = new Map<string, Told>();
  if (mode === 'has a callback') {
    const url = await world.server((request, body, response) => {
      const key = String(request.headers['idempotency-key']);
      if (!posted.has(key)) posted.set(key, JSON.parse(body)); // a callback takes a key once
      response.end();
    });
    world.endpoints = [{ name: 'hook', secret: SECRET, callback: { url } }];
  }
  let count = 0;
  let last: object | undefined;
  const post = (message: object) => {
    last = message;
    const acknowledged = world.post(message).then(
      ({ status }) => status === 202,
      () => false,
    );
    return { acknowledged };
  };
  return {
    address: HOOK,
    thread: { ...HOOK, threadId: 'thread' },
    channel: () => world.channel(),
    say: async ({ text, at = HOOK, files = [] }: UserMessage) =>
      post({
        id: `m${++count}`,
        text,
        ...(at.threadId === null ? {} : { thread: at.threadId }),
        ...(files.length === 0 ? {} : { files: files.map(inBase64) }),
      }),
    repeat: async () => post(last ?? {}),
    choose: async (questionId, choice) => post({ id: `c${++count}`, choice: { questionId, choice } }),
    visibleMessages: async (at) => seenAt(mode === 'fetches' ? await fetched(world) : [...posted.values()], at),
    file: async (content) => world.file(content),
    close: () => world.close(),
  };
}

/** A message as a program gets it. */
type Told = { id: string; thread?: string; text?: string; files?: { name: string; data: string }[] } & (
  | { kind: 'text' }
  | { kind: 'edit'; of: string }
  | { kind: 'reaction'; to: string; emoji: string }
  | { kind: 'question'; question: string; choices: string[] }
  | { kind: 'card'; card: NonNullable<VisibleMessage['card']>; fallbackText: string }
);

async function fetched(world: WebhookWorld): Promise<Told[]> {
  const viewer = world.channel();
  // The channel of the test may be running; then it is the one to look through.
  await viewer.start(async () => {}).catch(() => {});
  const response = await world.get('?after=0');
  const page: { messages: Told[] } = JSON.parse(await response.text());
  await viewer.stop();
  return page.messages;
}

function seenAt(told: readonly Told[], { threadId }: Address): VisibleMessage[] {
  return folded(told.filter(({ thread }) => (thread ?? null) === threadId).map(changeOf));
}

function changeOf(told: Told): Change & VisibleMessage {
  const platformMessageId = told.id;
  const text = told.text ?? '';
  switch (told.kind) {
    case 'text': {
      const files = (told.files ?? []).map(({ name, data }) => ({ name, bytes: Buffer.from(data, 'base64') }));
      return { kind: 'text', platformMessageId, text, files };
    }
    case 'edit':
      return { kind: 'edit', platformMessageId, text, of: told.of };
    case 'reaction':
      return { kind: 'reaction', platformMessageId, text: told.emoji, to: told.to };
    case 'question':
      return { kind: 'question', platformMessageId, text: told.question, choices: told.choices };
    case 'card':
      return { kind: 'card', platformMessageId, text: told.fallbackText, card: told.card };
  }
}

function inBase64({ name, bytes }: { name: string; bytes: Uint8Array }) {
  return { name, data: Buffer.from(bytes).toString('base64') };
}
