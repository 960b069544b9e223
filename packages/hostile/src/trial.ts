/** One attack, tried: what it came to, and what everyone else noticed of it. */
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Arena, type Chat, SECRET } from './arena.ts';
import type { Attack } from './attack.ts';

/** What an attack came to. */
export interface Trial {
  readonly attack: string;
  /** Why it was not contained: a reason each. None is as it should be. */
  readonly breaches: readonly string[];
  /** What the host said of it; `undefined` when it should have said something and did not. */
  readonly finding: string | undefined;
  /** How late the host's loop was at most, in milliseconds, and how late an idle process beside it. */
  readonly stallMs: number;
  readonly idleStallMs: number;
  /** What an honest agent's answer took, in milliseconds: the middle one, and the longest. */
  readonly delayMs: number;
  readonly delayMaxMs: number;
}

/** How an attack is watched. */
export interface TrialOptions {
  /** How long the others are asked meanwhile, in milliseconds. */
  readonly watchMs: number;
  /** How long the host may take to give it its name, in milliseconds. */
  readonly nameMs: number;
}

/** Someone who has nothing to do with it, and is to be answered all the same. */
export interface Honest {
  /** Asks for these words to be said; gives after how many milliseconds they were. Rejects when they are not in time. */
  asks(words: string, limitMs: number): Promise<number>;
}

/** What everyone else notices. */
export interface Watched extends Pick<Trial, 'breaches' | 'stallMs' | 'idleStallMs' | 'delayMs' | 'delayMaxMs'> {}

/** Tries one attack of a container and watches what comes of it. */
export async function tried(arena: Arena, attack: Attack, number: number, options: TrialOptions): Promise<Trial> {
  const others = new Set(arena.sessions());
  const chat = await arena.attackersChat(`attacker-${number}`);
  // The attacker's session is there, and its run is warm: what is measured is the attack.
  await chat.asks('hello', 'You said: hello');
  const session = basename(arena.sessions().find((folder) => !others.has(folder)) ?? '');
  const before = {
    log: arena.log().length,
    counters: (await arena.figures()).counters,
    state: new Set((await arena.command('sessions', 'show', session)).split('\n')),
  };
  const watched = await watch(arena, await innocent(arena), options.watchMs, () => chat.says(`attack ${attack.name}`));
  const finding = await named(arena, attack, { session, chat, ...before }, options.nameMs);
  const shown = chat.text().includes(SECRET) ? ['the secret of another session was shown'] : [];
  return { ...watched, attack: `${attack.kind} … ${attack.name}`, breaches: [...watched.breaches, ...shown], finding };
}

/** The person whose agent is honest. */
export async function innocent(arena: Arena): Promise<Honest> {
  const chat = await arena.chat('innocent');
  return {
    async asks(words, limitMs) {
      const delayMs = await chat.asks(`say ${words}`, words, limitMs);
      if (chat.times(words) !== 1) throw new Error(`${words} was said ${chat.times(words)} times.`);
      return delayMs;
    },
  };
}

/** How the honest one is answered, from the moment when something begins. */
export async function watch(
  arena: Arena,
  honest: Honest,
  watchMs: number,
  begin: () => Promise<void>,
): Promise<Watched> {
  const breaches: string[] = [];
  const delays: number[] = [];
  // Both begin anew with a look.
  await Promise.all([arena.figures(), arena.idleStallMs()]);
  await begin();
  for (const end = Date.now() + watchMs; Date.now() < end; ) {
    try {
      delays.push(await honest.asks(`word-${Date.now().toString(36)}`, ANSWER_MS_MAX));
    } catch (error) {
      breaches.push(`the honest one: ${error instanceof Error ? error.message : String(error)}`);
      break;
    }
    await sleep(50);
  }
  if (!arena.isAlive) return { ...NOTHING, breaches: [...breaches, 'the host has ended'] };
  const [{ stallMs }, idleStallMs] = await Promise.all([arena.figures(), arena.idleStallMs()]);
  if (arena.log().includes(SECRET)) breaches.push('the secret of another session is in the log');
  delays.sort((a, b) => a - b);
  const [delayMs, delayMaxMs] = [delays[Math.floor(delays.length / 2)], delays.at(-1)];
  return { breaches, stallMs, idleStallMs, delayMs: delayMs ?? Number.NaN, delayMaxMs: delayMaxMs ?? Number.NaN };
}

const ANSWER_MS_MAX = 20_000;
const NOTHING = { stallMs: Number.NaN, idleStallMs: Number.NaN, delayMs: Number.NaN, delayMaxMs: Number.NaN };

/** Waits until the host has given the attack its name, and gives where it did. */
async function named(
  arena: Arena,
  { named: wanted }: Attack,
  before: {
    readonly session: string;
    readonly chat: Chat;
    readonly log: number;
    readonly counters: ReadonlyMap<string, number>;
    readonly state: ReadonlySet<string>;
  },
  nameMs: number,
): Promise<string | undefined> {
  if (wanted === undefined) return 'nothing to name';
  const end = Date.now() + nameMs;
  for (;;) {
    const { counters } = await arena.figures();
    const raised = [...counters].filter(
      ([name, value]) => /_total/.test(name) && value > (before.counters.get(name) ?? 0),
    );
    const places: readonly (readonly [string, string])[] = [
      ['session', await arena.command('sessions', 'show', before.session).catch(String)],
      ['log', arena.log().slice(before.log)],
      ['counter', raised.map(([name]) => name).join('\n')],
      ['chat', before.chat.text()],
    ];
    const found = places.flatMap(([place, text]) => {
      const line = text
        .split('\n')
        .find((each) => wanted.test(each) && !each.includes('attack ') && !before.state.has(each));
      return line === undefined ? [] : [`${place}: ${line.trim().slice(0, 100)}`];
    });
    if (found[0] !== undefined) return found[0];
    if (Date.now() > end) return undefined;
    await sleep(250);
  }
}
