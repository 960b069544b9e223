// A process that serves a webhook folder, for the tests that kill it. Everything it does is said on stdout, a word and
// JSON per line. Usage: webhook-host.ts <folder> <inbox file> <manner> <secret> [<callback>]
import { appendFileSync } from 'node:fs';
import { WebhookChannel } from '../src/webhook/webhook-channel.ts';

const [folder, inbox, manner, secret, url] = process.argv.slice(2);
if (folder === undefined || inbox === undefined || manner === undefined || secret === undefined) {
  throw new Error('four arguments');
}

const channel = new WebhookChannel({
  folder,
  port: 0,
  endpoints: [{ name: 'hook', secret, ...(url === undefined ? {} : { callback: { url } }) }],
  now: () => Date.now(),
  setTimer: (delayMs, action) => {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
});
const say = (word: string, value: unknown) => process.stdout.write(`${word} ${JSON.stringify(value)}\n`);

await channel.start(async (message) => {
  if (manner === 'hang-before-storing') {
    say('asked', message.platformMessageId);
    await new Promise(() => {});
  }
  appendFileSync(inbox, `${JSON.stringify(message)}\n`);
  if (manner === 'die-after-storing') process.kill(process.pid, 'SIGKILL');
});
say('serving', channel.url);

if (manner === 'send-and-die' || manner === 'send') {
  const address = { channelType: 'webhook', platformId: 'hook', threadId: null };
  const attempt = { key: 'the-key', attempt: 1, uncertain: manner === 'send' };
  const result = await channel.send(address, { kind: 'text', text: 'exactly once' }, attempt);
  if (manner === 'send-and-die') process.kill(process.pid, 'SIGKILL');
  say('sent', result);
}
