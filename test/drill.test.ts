/**
 * The fault drill: a real host is killed at random moments while people talk, again and again, and its agents with it now
 * and then. In the end every message that was accepted has one answer, or is a dead letter that an operator can see.
 *
 * A short drill runs in the tests; `NANOCLAW_DRILL_ROUNDS=200 vitest run drill` is the long one. `NANOCLAW_DRILL_SEED`
 * plays the same moments again, as far as real processes do.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectionLost } from '@nanoclaw/channels';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Install, until } from './host-process.js';

const ROUNDS = Number(process.env['NANOCLAW_DRILL_ROUNDS'] ?? 8);
const SEED = Number(process.env['NANOCLAW_DRILL_SEED'] ?? 20_261_121);
const MESSAGES_PER_ROUND = 4;
/** From the moment the host takes connections until it dies, at most. */
const LIFE_MAX_MS = 900;

let install: Install;

beforeEach(() => {
  install = new Install();
});
afterEach(() => install.close());

it(`answers all that was accepted once, through ${ROUNDS} kills at random moments`, {
  timeout: 60_000 + ROUNDS * 10_000,
}, async () => {
  const chance = seeded(SEED);
  const accepted = new Set<string>();
  /** Sent, and the host died before it said whether it has the message: sent again with the same id, as a client does. */
  const unsure = new Set<string>();
  for (let round = 0; round < ROUNDS; round += 1) {
    const host = await install.daemon();
    const { client } = await install.join();
    const fresh = Array.from({ length: MESSAGES_PER_ROUND }, (_, n) => `round-${round}-message-${n}`);
    const talk = Promise.all(
      [...unsure, ...fresh].map(async (id) => {
        await sleep(chance() * LIFE_MAX_MS);
        unsure.add(id);
        try {
          await client.send(`say ${id}`, id);
          accepted.add(id);
          unsure.delete(id);
        } catch (error) {
          if (!(error instanceof ConnectionLost)) throw error;
        }
      }),
    );
    await sleep(chance() * LIFE_MAX_MS);
    host.kill('SIGKILL');
    if (chance() < 0.25) for (const pid of await install.runners()) killed(pid);
    await host.ended;
    await talk;
  }

  await install.daemon();
  const { messages } = await install.join();
  const ended = () => install.count('inbound', "messages_in WHERE status IN ('completed', 'failed', 'cancelled')");
  await until(() => ended() >= accepted.size, 120_000);
  const given = install.rows<{ id: string }>('inbound', "SELECT id FROM messages_in WHERE status = 'failed'");
  /** Each message asks for its own name to be said, so an answer can be told by its words. */
  const saying = (id: string) => messages.filter((message) => message.text.split(/\s/).includes(id));
  const answers = () => [...accepted].filter((id) => saying(id).length > 0);
  await until(() => answers().length + given.length >= accepted.size, 120_000);

  const seed = `NANOCLAW_DRILL_SEED=${SEED}`;
  expect(accepted.size, seed).toBeGreaterThan(ROUNDS / 2);
  const times = (id: string) => saying(id).length;
  const isDeadLetter = (id: string) => given.some((row) => row.id.endsWith(`:${id}`));
  const lost = [...accepted].filter((id) => times(id) === 0 && !isDeadLetter(id));
  const doubled = [...accepted].filter((id) => times(id) > 1);
  expect({ lost, doubled }, seed).toEqual({ lost: [], doubled: [] });
});

function killed(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // It had gone by itself between the look and the kill.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** Numbers from 0 to 1 that a seed determines (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
