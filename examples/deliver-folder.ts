/**
 * A bot that uses `@nanoclaw/delivery` and nothing else of NanoClaw's host: it delivers what the agents in a folder of
 * sessions have said to a function, here one that prints. Each folder in it is a session (see `@nanoclaw/session-db`).
 *
 *   node examples/deliver-folder.ts <folder> [--once]
 *
 * With `--once` it delivers what is due and ends; otherwise it goes on until it is interrupted.
 */
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DELIVERY_POLICY, DeliveryLoop, type DeliveryLoopPorts, Gate, splitText } from '@nanoclaw/delivery';
import { addressKey, HostSession, inProcessReader, sessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';

const [folder, mode] = process.argv.slice(2);
if (folder === undefined) {
  console.error('Nothing was delivered: say which folder has the sessions. node deliver-folder.ts <folder> [--once]');
  process.exit(2);
}

/** Where messages go and how. A bot for a real platform has its own `route` and `send`. */
const ports: DeliveryLoopPorts = {
  route: (_session, { address, content }) => {
    if (address === null)
      return { type: 'refused', reason: 'The message has no address, and this bot has no default.' };
    const texts = splitText(String(content['text'] ?? ''), { max: 4_000, unit: 'code-points' });
    if (texts.length === 0)
      return { type: 'refused', reason: 'The message has no text, and this bot shows only text.' };
    return {
      type: 'deliver',
      address,
      account: address.channelType,
      // A line printed twice cannot be taken back: `attempt.isPossibleDuplicate` says when that may be.
      duplicates: 'none',
      parts: texts.map((text) => ({ text })),
      rates: [{ key: addressKey(address), burst: 20, everyMs: 100 }],
    };
  },
  send: async ({ address, content }, { session, key, isPossibleDuplicate }) => {
    const mark = isPossibleDuplicate ? ' (perhaps again)' : '';
    console.log(`${session} → ${address?.platformId ?? ''}${mark}: ${String(content['text'])}`);
    return { type: 'sent', platformMessageId: key };
  },
  cleanUp: async () => undefined,
  notify: async (session, { reason, letters }) => {
    console.error(`${session}: ${letters.length} not delivered and kept as dead letters. ${reason}`);
  },
  gate: new Gate(),
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer: (delayMs, action) => {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
  policy: DELIVERY_POLICY,
};

const loop = new DeliveryLoop(ports, {
  onTrouble: (trouble) => {
    if (trouble.type !== 'failed') return;
    const { key, error, retryAt } = trouble;
    console.error(`${key}: nothing lost, tried again at ${new Date(retryAt).toISOString()}. ${String(error)}`);
  },
});
const sessions = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name: key }) => {
    const places = sessionFolder(resolve(join(folder, key)));
    const host = HostSession.open(places, openSqlite);
    loop.add({ key, folder: places, inSession: (use) => use(host), reader: inProcessReader(places, openSqlite) });
    return { key, host };
  });
loop.start();

if (mode === '--once') {
  await Promise.all(sessions.map(({ key }) => loop.drain(key)));
} else {
  await new Promise<void>((stop) => {
    process.once('SIGINT', stop);
    process.once('SIGTERM', stop);
  });
}
await loop.stop(10_000);
for (const { host } of sessions) host[Symbol.dispose]();
