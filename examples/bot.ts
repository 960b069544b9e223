/**
 * A bot of its own in twenty lines: it answers over a channel of its own with a provider of its own, needs no container and no
 * second runtime, and loses nothing when it is killed: what came in meanwhile is one prompt of its next life. Node reads
 * TypeScript itself from 22.18 on.
 *
 *   node examples/bot.ts [folder] [port], then: printf 'HELLO ada\nMSG 1790000000000-1 hello\n' | nc 127.0.0.1 7000
 */
import { inProcess } from '@nanoclaw/containers';
import { createHost, processPorts } from '@nanoclaw/host';
import { scriptedProvider } from '@nanoclaw/providers/scripted';
import { agentProgram } from '@nanoclaw/runner';
import { openSqlite } from '@nanoclaw/session-db/node';
import { LineChannel } from './line-channel.ts';

const [data = 'bot-data', port = '7000'] = process.argv.slice(2);
const provider = scriptedProvider(({ prompt }) =>
  prompt.messages.map(({ content }) => `You said: ${content['text']}`).join('\n'),
);
const host = await createHost({
  data,
  channels: { line: { channel: new LineChannel(Number(port)), newChats: 'answer' } },
  driver: inProcess(agentProgram({ provider, openSqlite, clock: processPorts().clock })),
  onStartDelayed: console.error,
}).catch(({ message, exitCode }) => {
  console.error(message);
  process.exit(exitCode);
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => host.stop());
