/**
 * From a message to the first reply of an agent that has to be started, and where the time goes. Nothing is asserted of
 * the figures; they are printed.
 */
import { expect, it } from 'vitest';
import { until } from '../host-process.ts';
import { ENGINE, EngineInstall, engine } from './engine-install.ts';

const ROUNDS = 5;
const PARTS = ['message to start', 'engine', 'runner to claim', 'claim to answer', 'answer to chat', 'in all'] as const;

it.skipIf(ENGINE === '')('a message starts an agent and is answered; this is how long it takes', async () => {
  const rounds: number[][] = [];
  // Each on a host of its own: to be started again and again in one session is what the sweep slows down.
  for (let round = 0; round < ROUNDS; round += 1) rounds.push(await measured());
  const lines = PARTS.map((part, i) => {
    const figures = rounds.map((round) => round[i] ?? 0).toSorted((a, b) => a - b);
    return `  ${part.padEnd(18)}${String(figures[Math.floor(ROUNDS / 2)]).padStart(6)} ms  (${figures.join(', ')})`;
  });
  process.stdout.write(`start to first reply on ${ENGINE}, median of ${ROUNDS}\n${lines.join('\n')}\n`);
});

/** The parts of one start, in milliseconds, and their sum. */
async function measured(): Promise<number[]> {
  const install = new EngineInstall();
  try {
    await install.daemon();
    const { client, messages } = await install.host.join();
    const sent = Date.now();
    const id = await client.send('hello');
    await until(() => messages.length > 0);
    const seen = Date.now();
    expect(messages[0]?.inReplyTo).toBe(id);
    const format = '{{index .Config.Labels "io.nanoclaw.started"}} {{json .State.StartedAt}}';
    const described = await engine('inspect', '--format', format, await install.container());
    const [asked = '', started = ''] = described.split(' ');
    const [turn] = install.host.rows<{ at: number }>('outbound', 'SELECT started_at AS at FROM turns');
    const [reply] = install.host.rows<{ at: number }>('outbound', 'SELECT timestamp AS at FROM messages_out');
    const marks = [sent, Number(asked), Date.parse(JSON.parse(started)), turn?.at ?? 0, reply?.at ?? 0, seen];
    return [...marks.slice(1).map((mark, i) => mark - (marks[i] ?? 0)), seen - sent];
  } finally {
    await install.close();
  }
}
