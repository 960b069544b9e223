/**
 * Crash enumeration: short histories in which nothing goes wrong but one death. Of a whole machine: one history is
 * recorded, and each first part of it is gone on from, after a kill and after a power cut. Of one process beside others
 * that live on: for every touch that it makes, and every state in which that touch can be left, the history is played
 * with this death in it. All are played to their end.
 */
import type { Mood } from './agent.ts';
import type { CrashPoint } from './faults.ts';
import type { FaultEvent, Plan } from './plan.ts';
import { type Death, recording } from './recording.ts';
import { type Bench, type Outcome, resumed, simulate } from './simulate.ts';

/** Which deaths. */
export type CrashKind = Death | 'one process';

/** Who dies in a history beside others. */
interface Victim {
  readonly who: 'host' | 'run';
  /** Of a run: the number of its start. */
  readonly number: number;
}

/** One death that was played to its end. */
export interface CrashResult {
  readonly kind: CrashKind;
  readonly plan: Plan;
  /** For people: which history, who died where. */
  readonly name: string;
  readonly outcome: Outcome;
}

interface ShortHistory {
  readonly moods: readonly Mood[];
  /** What goes wrong besides the death. */
  readonly also: readonly FaultEvent[];
  readonly strict?: Plan['strict'];
}

/** Runs cannot be started any more after the first: what it has said goes out all the same. */
const NO_MORE_RUNS = Array.from({ length: 20 }, (_, index): FaultEvent => {
  return { at: 0, type: 'run-goes-wrong', number: index + 2, how: { type: 'refused' } };
});

const HISTORIES: readonly ShortHistory[] = [
  { moods: ['answer'], also: [] },
  { moods: ['tool'], also: NO_MORE_RUNS, strict: 'host-alone' },
  { moods: ['answer', 'answer', 'tool'], also: [] },
  { moods: ['error-once', 'answer'], also: [] },
  { moods: ['later', 'answer'], also: [] },
  { moods: ['answer', 'silent'], also: [{ at: 0, type: 'send-goes-wrong', number: 1, how: 'answer-lost' }] },
  { moods: ['answer', 'answer'], also: [{ at: 0, type: 'run-goes-wrong', number: 1, how: { type: 'refused' } }] },
  { moods: ['answer', 'daily'], also: [{ at: 8_000, type: 'host-restarts', runs: 'stop-runs', downMs: 500 }] },
  { moods: ['file', 'answer'], also: [] },
  { moods: ['script', 'answer'], also: [] },
  { moods: ['die-once', 'answer'], also: [{ at: 4_000, type: 'say-again', number: 1 }] },
];

const VICTIMS: readonly Victim[] = [
  { who: 'host', number: 1 },
  { who: 'run', number: 1 },
  { who: 'run', number: 2 },
];

/** A history may not be longer than this: beyond it a victim has done what it was there for. */
const TOUCHES_MAX = 400;
/** So far a history is recorded: everything short in it has been answered by then. */
const RECORDED_MS = 25_000;

/**
 * Crash points of every history, in rounds of another seed each, which think and answer in other times. Ends after
 * `most` points. `only` is the number of a history, from 0.
 */
export async function* crashPoints(
  most: number,
  from: string,
  bench: Bench,
  share: { readonly of: number; readonly at: number },
  only: number | undefined,
): AsyncGenerator<CrashResult, void> {
  let made = 0;
  let group = 0;
  for (let round = 0; made < most; round++) {
    for (const [index, history] of HISTORIES.entries()) {
      if (only !== undefined && index !== only) continue;
      for (const points of [
        ofMachine(index, history, round, from, bench),
        ofProcesses(index, history, round, from, bench),
      ]) {
        group += 1;
        if (group % share.of !== share.at) continue;
        for await (const point of points) {
          yield point;
          made += 1;
          if (made >= most) return;
        }
      }
    }
  }
}

async function* ofMachine(
  index: number,
  history: ShortHistory,
  round: number,
  from: string,
  bench: Bench,
): AsyncGenerator<CrashResult, void> {
  const plan = planWith(history, [], SEED + round);
  const { outcome, images } = await recording(plan, from, bench, RECORDED_MS);
  if (outcome.failure !== undefined) yield { kind: 'kill', plan, name: `history ${index}, no process dies`, outcome };
  for (const { death, name, crash } of images) {
    yield { kind: death, plan, name: `history ${index}, ${name}`, outcome: await resumed(plan, crash, bench) };
  }
}

async function* ofProcesses(
  index: number,
  history: ShortHistory,
  round: number,
  from: string,
  bench: Bench,
): AsyncGenerator<CrashResult, void> {
  for (const victim of VICTIMS) {
    for (let touch = 1; touch <= TOUCHES_MAX; touch++) {
      let count = 1;
      for (let state = 0; state < count; state++) {
        const death = deathOf(victim, { touch, where: { state }, with: 'alone' });
        const plan = planWith(history, [death], SEED + round);
        const outcome = await simulate(plan, from, bench);
        count = outcome.statesOfDeath ?? 0;
        if (count === 0) break;
        const name = `history ${index}, ${victim.who} ${victim.number} dies at touch ${touch}, state ${state}`;
        yield { kind: 'one process', plan, name, outcome };
      }
      if (count === 0) break;
    }
  }
}

const SEED = 1_000;

function deathOf({ who, number }: Victim, crashPoint: CrashPoint): FaultEvent {
  return who === 'host'
    ? { at: 0, type: 'host-dies', crashPoint, downMs: 1_500 }
    : { at: 0, type: 'run-goes-wrong', number, how: { type: 'dies', crashPoint } };
}

function planWith(history: ShortHistory, deaths: readonly FaultEvent[], seed: number): Plan {
  const chat = seed % 3 === 2 ? 'club/main' : 'terminal/main';
  const said = history.moods.map(
    (mood, index): FaultEvent => ({
      at: 1_000 + index * 2_500,
      type: 'say',
      number: index + 1,
      chat,
      mood,
      ...(mood === 'answer' && index === 0 ? { brings: true as const } : {}),
    }),
  );
  return {
    seed,
    troubledMs: 30_000,
    ...(history.strict && { strict: history.strict }),
    events: [...deaths, ...history.also, ...said],
  };
}
