// A process that serves a terminal folder, for the tests that kill it. Everything it does is said on stdout, a word and
// JSON per line. Usage: terminal-host.ts <folder> <inbox file> <manner>
import { appendFileSync } from 'node:fs';
import { TerminalChannel } from '../src/terminal/terminal-channel.ts';

const [folder, inbox, manner] = process.argv.slice(2);
if (folder === undefined || inbox === undefined || manner === undefined) throw new Error('three arguments');

const channel = new TerminalChannel({ folder, now: () => Date.now() });
const say = (word: string, value: unknown) => process.stdout.write(`${word} ${JSON.stringify(value)}\n`);

await channel.start(async (message) => {
  if (manner === 'hang-before-storing') {
    say('asked', message.platformMessageId);
    await new Promise(() => {});
  }
  appendFileSync(inbox, `${JSON.stringify(message)}\n`);
  if (manner === 'die-after-storing') process.kill(process.pid, 'SIGKILL');
});
say('serving', process.pid);

if (manner === 'send-and-die' || manner === 'send') {
  const address = { channelType: 'terminal', platformId: 'main', threadId: null };
  const attempt = { key: 'the-key', attempt: 1, uncertain: manner === 'send' };
  const result = await channel.send(address, { kind: 'text', text: 'exactly once' }, attempt);
  if (manner === 'send-and-die') process.kill(process.pid, 'SIGKILL');
  say('sent', result);
}
