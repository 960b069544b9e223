// A chat server that speaks JSON lines, as the suite of the contract sees it: the platform of the README's example.
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { PlatformUnderTest } from '../src/contract/index.ts';
import { LineChannel } from './line-channel.ts';

export async function openLineServer(): Promise<PlatformUnderTest> {
  const texts: string[] = [];
  const unacknowledged = new Map<string, object>();
  const answers = new Map<string, (isAcknowledged: boolean) => void>();
  const sockets = new Set<Socket>();
  let count = 0;
  let last: { id: string; message: object } | undefined;
  const answer = (id: string, isAcknowledged: boolean) => {
    if (isAcknowledged) unacknowledged.delete(id);
    answers.get(id)?.(isAcknowledged);
  };
  const write = (message: object) => {
    for (const socket of sockets) socket.write(`${JSON.stringify(message)}\n`);
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      sockets.delete(socket);
      for (const id of answers.keys()) answer(id, false);
    });
    const lines = createInterface({ input: socket });
    lines.on('error', () => {}); // the socket's own; `close` follows
    lines.on('line', (line) => {
      const { key, text, ack, nack } = JSON.parse(line);
      if (ack !== undefined) answer(ack, true);
      if (nack !== undefined) answer(nack, false);
      if (key === undefined) return;
      texts.push(text);
      write({ shown: key });
    });
    for (const message of unacknowledged.values()) write(message);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const offer = (id: string, message: object) => {
    last = { id, message };
    unacknowledged.set(id, message);
    const acknowledged = new Promise<boolean>((resolve) => {
      answers.set(id, resolve);
    });
    write(message);
    return { acknowledged };
  };
  return {
    address: { channelType: 'line', platformId: 'lobby', threadId: null },
    channel: () => new LineChannel(port),
    say: async ({ text }) => {
      const id = `m${++count}`;
      return offer(id, { id, room: 'lobby', from: 'ada', text, at: 1_000 + count });
    },
    repeat: async () => {
      if (last === undefined) throw new Error('Nothing was said yet.');
      return offer(last.id, last.message);
    },
    visibleMessages: async () => texts.map((text) => ({ text })),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
