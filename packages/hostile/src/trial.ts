/** One attack, tried: what it came to, and what everyone else noticed of it. */
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Arena, type Chat, SECRET } from './arena.ts';
import type { Attack } from './attack.ts';
import type { Lateness } from './monitor.ts';

/** What an attack came to. */
export interface Trial {
  readonly attack: string;
  /** Why it was not contained: a reason each. None is as it should be. */
  readonly breaches: readonly string[];
  /** What the host said of it; `undefined` when it should have said something and did not. */
  readonly finding: string | undefined;
  /** How late the host's loop was at most. */
  readonly stall: Lateness;
  /** How late that of an idle process was at the same time. */
  readonly idle: Lateness;
  /** How late that of the host was that is not attacked and answers as many. */
  readonly beside: Lateness;
  /** What an honest agent's answer took, in milliseconds: the middle one, and the longest. */
  readonly delayMs: number;
  readonly delayMaxMs: number;
  /** What the middle one took of as many, asked in turn with these, of a host that is not attacked, in milliseconds. */
  readonly undisturbedMs: number;
  /** How many there were of each. */
  readonly answers: number;
}

/** How an attack is watched. */
export interface TrialOptions {
  /** How long the others are asked meanwhile, in milliseconds. */
  readonly watchMs: number;
  /** How long the host may take to give it its name, in milliseconds. */
  readonly nameMs: number;
  /** The same honest one at a host that is not attacked; left out, nothing is compared. */
  readonly undisturbed?: Undisturbed;
}

/** What an attack is compared with. */
export interface Undisturbed {
  readonly arena: Arena;
  readonly honest: Honest;
}

/** Someone who has nothing to do with it, and is to be answered all the same. */
export interface Honest {
  /** Asks for these words to be said; gives after how many milliseconds they were. Rejects when they are not in time. */
  asks(words: string, limitMs: number): Promise<number>;
}

/** What everyone else notices. */
export interface Watched extends Omit<Trial, 'attack' | 'finding'> {}

/** Tries one attack of a container and watches what comes of it. */
export async function tried(arena: Arena, attack: Attack, number: number, options: TrialOptions): Promise<Trial> {
  const others = new Set(arena.sessions());
  const chat = await arena.attackersChat(`attacker-${number}`);
  // The attacker's session is there, and its run is warm: what is measured is the attack.
  await chat.asks('hello', 'You said: hello');
  const session = basename(arena.sessions().find((folder) => !others.has(folder)) ?? '');
  const before = {
    log: arena.log().length,
    counters: await arena.counters(),
    state: new Set((await arena.command('sessions', 'show', session)).split('\n')),
  };
  const watchMs = Math.max(options.watchMs, attack.lastsMs ?? 0);
  const begin = () => chat.says(`attack ${attack.name}`);
  const watched = await watch(arena, await innocent(arena), { ...options, watchMs }, begin);
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

/**
 * How the honest one is answered, from the moment when something begins. In turn with it the same is asked of a host that is not
 * attacked: whatever else the machine does at the time, it does to both.
 */
export async function watch(
  arena: Arena,
  honest: Honest,
  { watchMs, undisturbed }: Pick<TrialOptions, 'watchMs' | 'undisturbed'>,
  begin: () => Promise<void>,
): Promise<Watched> {
  const breaches: string[] = [];
  const [delays, others]: [number[], number[]] = [[], []];
  const ask = async () => void delays.push(await honest.asks(newWord(), ANSWER_MS_MAX));
  const askOther = async () =>
    void (undisturbed && others.push(await undisturbed.honest.asks(newWord(), ANSWER_MS_MAX)));
  // Begins anew with a look.
  await Promise.all([arena.lateness(), undisturbed?.arena.lateness()]);
  await begin();
  const begun = Date.now();
  const isOver = () => {
    const passedMs = Date.now() - begun;
    return passedMs >= watchMs && (delays.length >= ANSWERS_MIN || passedMs >= watchMs * WATCH_STRETCH);
  };
  for (let n = 0; !isOver(); n += 1) {
    try {
      for (const one of n % 2 === 0 ? [ask, askOther] : [askOther, ask]) await one();
    } catch (error) {
      breaches.push(`the honest one: ${error instanceof Error ? error.message : String(error)}`);
      break;
    }
    await sleep(20);
  }
  const [late, other] = await Promise.all([arena.lateness(), undisturbed?.arena.lateness()]);
  if (!arena.isAlive) breaches.push('the host has ended');
  if (arena.log().includes(SECRET)) breaches.push('the secret of another session is in the log');
  return {
    breaches,
    ...late,
    beside: other?.stall ?? NO_LATENESS,
    delayMs: median(delays),
    delayMaxMs: Math.max(...delays),
    undisturbedMs: median(others),
    answers: delays.length,
  };
}

let words = 0;
const newWord = () => `word-${(words += 1)}-${Date.now().toString(36)}`;

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const ANSWER_MS_MAX = 20_000;
/** A middle one of fewer answers says little; for so many it is watched up to twice as long. */
const ANSWERS_MIN = 15;
const WATCH_STRETCH = 2;
const NO_LATENESS: Lateness = { ms: 0, cpuMs: 0 };

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
    const counters = await arena.counters();
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
      return line === undefined ? [] : [[place, line.trim().slice(0, 100)] as const];
    });
    if (found.length > 0) return `${found.map(([place]) => place).join('+')}: ${found[0]?.[1]}`;
    if (Date.now() > end) return undefined;
    await sleep(250);
  }
}
