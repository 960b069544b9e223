/**
 * The command, from the root of the repository: `npm run sim -- --seed 7`. What it prints last is what it found; it
 * leaves with 1 when an invariant broke.
 */
import { spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadFromSource } from './loader.ts';
import { MUTATIONS, type Mutation } from './mutations.ts';
import { PACE } from './pace.ts';

const HELP = `Simulates host, runners, channels and models under a seed.

  --seed N [--steps M]   one history, with its trace; not further than step M
  --seeds A-B            the histories of these seeds; the first that fails is shortened and printed
  --minutes T            fresh seeds for so many minutes; with --seeds, those, and not for longer
  --crashes N [--at K/M] N crash points, each played to its end; of M shares only the K-th (from 0)
                         --history H: of one history, from 0
  --mutations [NAME]     every deliberate mistake, from NAME on: at which seed it is found
`;

const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    help: { type: 'boolean' },
    seed: text,
    steps: text,
    seeds: text,
    minutes: text,
    crashes: text,
    at: text,
    history: text,
    mutations: { type: 'boolean' },
    /** For the children of --mutations: the mistake to make. */
    mutation: text,
  },
  allowPositionals: true,
});

const ROOT = resolve(import.meta.dirname, '../../..');

async function main(): Promise<number> {
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values.mutations === true) return findMutations();
  const mutation = MUTATIONS.find((one) => one.name === values.mutation);
  if (values.mutation !== undefined && mutation === undefined)
    throw new Error(`No mutation is called ${values.mutation}.`);
  loadFromSource(ROOT, [...PACE, ...(mutation?.edits ?? [])]);

  const uncaught: unknown[] = [];
  process.on('unhandledRejection', (error) => uncaught.push(error));
  const bench = {
    // A file system in memory: the histories are about the order of writes, not about the disk.
    scratch: existsSync('/dev/shm') ? '/dev/shm' : tmpdir(),
    settled: settling(),
    turned,
    uncaught: () => uncaught.splice(0),
  };
  const { template } = await import('./simulate.ts');
  const from = await template(bench);
  try {
    if (values.crashes !== undefined) return await playCrashes(Number(values.crashes), from, bench);
    if (values.seed !== undefined) return await playOne(Number(values.seed), from, bench);
    const minutes = values.minutes === undefined ? Number.POSITIVE_INFINITY : Number(values.minutes);
    const fresh = `${Date.now() % 2 ** 31}-Infinity`;
    const seeds = values.seeds ?? (values.minutes === undefined ? '1-20' : fresh);
    const [first = 1, last = first] = seeds.split('-').map(Number);
    return await playSeeds(first, last, Date.now() + minutes * 60_000, from, bench);
  } finally {
    rmSync(from, { recursive: true, force: true });
  }
}

type Bench = import('./simulate.ts').Bench;

async function playOne(seed: number, from: string, bench: Bench): Promise<number> {
  const { simulate } = await import('./simulate.ts');
  const { planOf } = await import('./plan.ts');
  const outcome = await simulate(
    planOf(seed),
    from,
    bench,
    values.steps === undefined ? undefined : Number(values.steps),
  );
  for (const line of outcome.trace) say(line);
  say(
    `seed ${seed}: ${outcome.failure?.message ?? (outcome.isCut ? 'everything held so far' : 'everything held')} (step ${outcome.steps}, ${outcome.touches} touches)`,
  );
  return outcome.failure === undefined ? 0 : 1;
}

async function playSeeds(first: number, last: number, endAt: number, from: string, bench: Bench): Promise<number> {
  const { simulate } = await import('./simulate.ts');
  const { planOf } = await import('./plan.ts');
  const { shrunk } = await import('./shrink.ts');
  const books = { seeds: 0, ms: 0, touches: 0 };
  for (let seed = first; seed <= last && Date.now() < endAt; seed++) {
    const plan = planOf(seed);
    const outcome = await simulate(plan, from, bench);
    books.seeds += 1;
    books.ms += outcome.simulatedMs;
    books.touches += outcome.touches;
    const { failure } = outcome;
    if (failure === undefined) continue;
    say(`seed ${seed}, step ${failure.step}: ${failure.message}`);
    if (mutationIsPlayed()) return 1;
    const isSame = async (shorter: import('./plan.ts').Plan): Promise<boolean> =>
      (await simulate(shorter, from, bench)).failure?.invariant === failure.invariant;
    const short = await shrunk(plan, isSame, 150);
    say(`The shortest history found in which ${failure.invariant} breaks:\n${JSON.stringify(short, null, 1)}`);
    for (const line of (await simulate(short, from, bench)).trace) say(line);
    say(`Replay the whole with --seed ${seed}.`);
    return 1;
  }
  const cpu = cpuSeconds();
  const hours = books.ms / 3_600_000;
  say(
    `${books.seeds} seeds held: ${Math.round(hours)} simulated hours, ${books.touches} touches, ` +
      `${cpu.toFixed(1)} s of processor time: ${(hours / cpu).toFixed(1)} simulated hours per second.`,
  );
  return 0;
}

async function playCrashes(most: number, from: string, bench: Bench): Promise<number> {
  const { crashPoints } = await import('./crashes.ts');
  const [at = 0, of = 1] = (values.at ?? '0/1').split('/').map(Number);
  const only = values.history === undefined ? undefined : Number(values.history);
  const counts = new Map<string, number>();
  let points = 0;
  for await (const { kind, name, plan, outcome } of crashPoints(most, from, bench, { at, of }, only)) {
    points += 1;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    if (points % 1_000 === 0) say(`${points} crash points so far (${cpuSeconds().toFixed(0)} s)`);
    if (outcome.failure === undefined) continue;
    for (const line of outcome.trace) say(line);
    say(`crash point ${points}, ${name}: ${outcome.failure.message}\n${JSON.stringify(plan)}`);
    return 1;
  }
  const kinds = [...counts].map(([kind, count]) => `${count} by ${kind}`).join(', ');
  const cpu = cpuSeconds().toFixed(1);
  say(`${points} crash points (${kinds}): nothing lost, nothing twice (${cpu} s of processor time).`);
  return 0;
}

/** Plays each mutation in a process of its own, because a module is loaded once. Two at a time. */
async function findMutations(): Promise<number> {
  const [only] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
  const from = MUTATIONS.findIndex((one) => one.name === only);
  const waiting = MUTATIONS.slice(Math.max(from, 0));
  let survived = 0;
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const output = await outputOf(next);
      const found = /^((?:seed|crash point) \d+.*)$/m.exec(output)?.[1];
      if (found === undefined) survived += 1;
      const limit = `${next.within.count} ${next.within.type === 'seeds' ? 'seeds' : 'crash points'}`;
      say(`${next.name} (within ${limit}): ${found?.slice(0, 150) ?? `SURVIVED: ${output.trim().slice(-200)}`}`);
    }
  };
  await Promise.all([worker(), worker()]);
  say(survived === 0 ? 'Every mutation was found.' : `${survived} mutations survived.`);
  return survived === 0 ? 0 : 1;
}

function outputOf({ name, within }: Mutation): Promise<string> {
  const how =
    within.type === 'seeds'
      ? ['--seeds', `1-${within.count}`]
      : ['--crashes', String(within.count), '--history', String(within.history)];
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [...process.execArgv, import.meta.filename, '--mutation', name, ...how]);
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
    });
    child.stderr.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
    });
    child.on('error', fail);
    child.on('close', () => done(output));
  });
}

function mutationIsPlayed(): boolean {
  return values.mutation !== undefined;
}

/**
 * Resolves when every promise has gone on that could. A tick of Node's comes after all of those, and costs little; what
 * was not caught is only reported when Node's own loop turns, so now and then it does.
 */
function settling(): () => Promise<void> {
  let count = 0;
  return () => {
    count += 1;
    return count % TURN_EVERY === 0 ? turned() : new Promise((done) => process.nextTick(done));
  };
}

const TURN_EVERY = 64;

function turned(): Promise<void> {
  return new Promise((done) => void setImmediate(done));
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main();
