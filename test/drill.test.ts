/**
 * The fault drill: a real host is killed at random moments while people talk in two chats and a program over HTTP, again
 * and again, and its agents with it now and then. In the end every message that was accepted has one answer, or is a dead letter that an operator can see.
 *
 * A short drill runs in the tests; `NANOCLAW_DRILL_ROUNDS=200 vitest run drill` is the long one. `NANOCLAW_DRILL_SEED`
 * plays the same moments again, as far as real processes do.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectionLost } from '@nanoclaw/channels/terminal';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { freePort, type HostProcess, Install, until } from './host-process.ts';
import { type WebhookAnswer, WebhookProgram } from './webhook-program.ts';

const ROUNDS = Number(process.env['NANOCLAW_DRILL_ROUNDS'] ?? 8);
const SEED = Number(process.env['NANOCLAW_DRILL_SEED'] ?? 20_261_121);
const MESSAGES_PER_ROUND = 6;
/** From the moment the host takes connections until it dies, at most. */
const LIFE_MAX_MS = 900;

let install: Install;

beforeEach(() => {
  install = new Install();
});
afterEach(() => install.close());

it(`answers all that was accepted once, through ${ROUNDS} kills at random moments`, {
  timeout: 60_000 + ROUNDS * 15_000,
}, async () => {
  const chance = seeded(SEED);
  const port = await freePort();
  const shop = new WebhookProgram('shop', await wired(), port);
  const ways: readonly Way[] = [terminal('main'), terminal('side'), webhook(shop)];
  const accepted = new Set<string>();
  /** Sent, and the host died before it said whether it has the message: sent again with the same id, as a client does. */
  const unsure = new Map<string, Way>();
  for (let round = 0; round < ROUNDS; round += 1) {
    const host = await daemon(port);
    const senders = new Map(await Promise.all(ways.map(async (way) => [way, await way.open()] as const)));
    for (let n = 0; n < MESSAGES_PER_ROUND; n += 1) {
      unsure.set(`round-${round}-message-${n}`, ways[n % ways.length] ?? terminal('main'));
    }
    const talk = Promise.all(
      [...unsure].map(async ([id, way]) => {
        await sleep(chance() * LIFE_MAX_MS);
        if (!(await senders.get(way)?.(id))) return;
        accepted.add(id);
        unsure.delete(id);
      }),
    );
    await sleep(chance() * LIFE_MAX_MS);
    host.kill('SIGKILL');
    if (chance() < 0.25) for (const pid of await install.runners()) killed(pid);
    await host.ended;
    await talk;
  }

  await daemon(port);
  const ended = () => sum((session) => install.count('inbound', ENDED, session));
  await until(() => ended() >= accepted.size, 120_000);
  const given = new Set(sessions().flatMap((session) => install.rows<{ id: string }>('inbound', FAILED, session)));
  const [main, side] = [await install.join(), await install.join({ chat: 'side' })];
  const fetched: WebhookAnswer[] = [];
  await until(async () => {
    fetched.push(...(await shop.fetched(fetched.at(-1)?.n, 1)));
    return answered().length + given.size >= accepted.size;
  }, 120_000);

  /** Each message asks for its own name to be said, so an answer can be told by its words. */
  function times(id: string): number {
    const texts = [...main.messages, ...side.messages, ...fetched].map(({ text = '' }) => text);
    return texts.filter((text) => text.split(/\s/).includes(id)).length;
  }
  function answered(): string[] {
    return [...accepted].filter((id) => times(id) > 0);
  }

  const seed = `NANOCLAW_DRILL_SEED=${SEED}`;
  const isDeadLetter = (id: string) => [...given].some((row) => row.id.endsWith(`:${id}`));
  const lost = [...accepted].filter((id) => times(id) === 0 && !isDeadLetter(id));
  const doubled = [...accepted].filter((id) => times(id) > 1);
  if (process.env['NANOCLAW_DRILL_ROUNDS']) {
    const figures = { rounds: ROUNDS, accepted: accepted.size, unsure: unsure.size, deadLetters: given.size };
    process.stdout.write(`${JSON.stringify(figures)}\n`);
  }
  expect(accepted.size, seed).toBeGreaterThan(ROUNDS / 2);
  expect({ lost, doubled }, seed).toEqual({ lost: [], doubled: [] });
});

const ENDED = "messages_in WHERE status IN ('completed', 'failed', 'cancelled')";
const FAILED = "SELECT id FROM messages_in WHERE status = 'failed'";

/** A way of speaking to the host. */
interface Way {
  /** Ready to send; what it gives sends a message and says whether the host has it for certain. */
  readonly open: () => Promise<(id: string) => Promise<boolean>>;
}

function terminal(chat: string): Way {
  return {
    open: async () => {
      const person = await install.join({ chat });
      return async (id) => {
        try {
          await person.say(`say ${id}`, id);
          return true;
        } catch (error) {
          if (!(error instanceof ConnectionLost)) throw error;
          return false;
        }
      };
    },
  };
}

function webhook(program: WebhookProgram): Way {
  return {
    open: async () => async (id) => {
      try {
        return (await program.post({ id, text: `say ${id}` })) === 202;
      } catch (error) {
        // Nobody answers, or the answer broke off: what `fetch` says of every trouble with a connection.
        if (!(error instanceof TypeError)) throw error;
        return false;
      }
    },
  };
}

/** Makes a second chat of the terminal and one for programs, each with a conversation of its own; gives the secret. */
async function wired(): Promise<string> {
  const host = await install.daemon();
  const secret = (await install.nanoclaw('webhooks', 'create', 'shop')).text('secret');
  await install.nanoclaw('messaging-groups', 'create', 'terminal', 'side', '--strangers', 'public');
  await install.nanoclaw('messaging-groups', 'create', 'webhook', 'shop', '--strangers', 'public');
  for (const chat of ['terminal:side', 'webhook:shop']) {
    await install.nanoclaw('wirings', 'create', 'main', chat, '--engage', 'pattern', '--pattern', '.');
  }
  host.kill('SIGTERM');
  await host.ended;
  return secret;
}

/** A host that comes up at once: one that crashes at every start holds itself back otherwise. */
function daemon(port: number): Promise<HostProcess> {
  rmSync(join(install.data, 'starts.json'), { force: true });
  return install.daemon({ NANOCLAW_WEBHOOK_PORT: String(port) });
}

function sessions(): string[] {
  const agents = join(install.data, 'sessions');
  return readdirSync(agents).flatMap((agent) => readdirSync(join(agents, agent)));
}

function sum(of: (session: string) => number): number {
  return sessions().reduce((total, session) => total + of(session), 0);
}

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
