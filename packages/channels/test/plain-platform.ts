// The least that can be a platform, in memory: lines of text, as IRC has them. Nothing else is there.
import type { Address, Channel, Receive, SendResult } from '../src/channel.ts';
import type { PlatformLack, PlatformUnderTest } from '../src/contract/index.ts';
import { refusal, refused } from '../src/refusal.ts';

export const PLAIN_LACKS: readonly PlatformLack[] = [
  'files',
  'attachments',
  'edits',
  'reactions',
  'questions',
  'cards',
  'threads',
  'groups',
  'direct-chats',
  'typing',
  'message-ids',
  'acknowledgements',
  'redelivery',
  'line-breaks',
  'control-characters',
];

export async function openPlain(): Promise<PlatformUnderTest> {
  const address: Address = { channelType: 'plain', platformId: '#chat', threadId: null };
  const texts: string[] = [];
  const listeners = new Map<Channel, Receive>();
  let count = 0;
  const makeChannel = (): Channel => {
    const channel: Channel = {
      type: 'plain',
      duplicates: 'none',
      limits: { text: { max: 400, unit: 'utf8-bytes' } },
      shows: new Set(),
      start: async (receive) => {
        if (listeners.has(channel)) throw new Error('The plain channel is running already.');
        listeners.set(channel, receive);
      },
      send: async (to, message): Promise<SendResult> => {
        if (!listeners.has(channel)) return { type: 'offline' };
        const impossible = refusal(channel, to, message);
        if (impossible !== undefined) return impossible;
        if (to.threadId !== null || message.kind !== 'text') return refused('The platform has no threads.');
        if (/\p{Cc}/u.test(message.text)) return refused('A line holds no control characters.');
        texts.push(message.text);
        return { type: 'sent', platformMessageId: null };
      },
      stop: async () => {
        listeners.delete(channel);
      },
      health: () => ({ state: listeners.has(channel) ? 'online' : 'stopped' }),
      directAddress: async () => undefined,
    };
    return channel;
  };
  return {
    address,
    channel: makeChannel,
    say: async ({ text }) => {
      const message = {
        kind: 'message',
        platformMessageId: `m${++count}`,
        address,
        sender: { id: 'ada', name: 'Ada' },
        text,
        files: [],
        timestamp: 1_000 + count,
        isMention: true,
        isDirect: false,
      } as const;
      await Promise.allSettled([...listeners.values()].map((receive) => receive(message)));
      return undefined;
    },
    visibleMessages: async () => texts.map((text) => ({ text })),
    close: async () => {},
  };
}
