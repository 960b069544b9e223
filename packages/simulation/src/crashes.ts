/**
 * Crash enumeration: short histories in which nothing goes wrong but one death, for every touch of the world that a
 * process makes in them and every state in which that touch can be left. Each is played to its end.
 */
import type { Mood } from './agent.js';
import type { Happening, Plan } from './plan.js';
import { type Bench, type Outcome, simulate } from './simulate.js';
import type { Doom } from './world.js';

/** Who dies in a history, and whether the machine goes with it. */
interface Victim {
  readonly who: 'host' | 'run';
  /** Of a run: the number of its start. */
  readonly number: number;
  readonly with: Doom['with'];
}

/** One death that was played to its end. */
export interface CrashPoint {
  readonly plan: Plan;
  /** For people: which history, who died where. */
  readonly name: string;
  readonly outcome: Outcome;
}

/** What is said in each history, and what goes wrong besides the death. */
const HISTORIES: readonly { readonly moods: readonly Mood[]; readonly also: readonly Happening[] }[] = [
  { moods: ['answer'], also: [] },
  { moods: ['answer', 'answer', 'tool'], also: [] },
  { moods: ['error-once', 'answer'], also: [] },
  { moods: ['later', 'answer'], also: [] },
  { moods: ['answer', 'silent'], also: [{ at: 0, type: 'send-goes-wrong', number: 1, how: 'answer-lost' }] },
  { moods: ['answer', 'answer'], also: [{ at: 0, type: 'run-goes-wrong', number: 1, how: { type: 'refused' } }] },
  { moods: ['answer', 'daily'], also: [{ at: 8_000, type: 'host-restarts', runs: 'stop-runs', downMs: 500 }] },
  { moods: ['die-once', 'answer'], also: [{ at: 4_000, type: 'say-again', number: 1 }] },
];

const VICTIMS: readonly Victim[] = [
  { who: 'host', number: 1, with: 'alone' },
  { who: 'run', number: 1, with: 'alone' },
  { who: 'host', number: 1, with: 'everybody' },
  { who: 'run', number: 1, with: 'everybody' },
  { who: 'run', number: 2, with: 'alone' },
];

/** A history may not be longer than this: beyond it a victim has done what it was there for. */
const TOUCHES_MAX = 400;

/**
 * Every crash point of every history, in rounds of another seed each, which think and answer in other times. Ends after
 * `most` points.
 */
export async function* crashPoints(
  most: number,
  from: string,
  bench: Bench,
  share: { readonly of: number; readonly at: number },
): AsyncGenerator<CrashPoint, void> {
  let made = 0;
  let group = 0;
  for (let round = 0; made < most; round++) {
    for (const [index, history] of HISTORIES.entries()) {
      for (const victim of VICTIMS) {
        group += 1;
        if (group % share.of !== share.at) continue;
        for await (const point of deaths(index, history, victim, round, from, bench)) {
          yield point;
          made += 1;
          if (made >= most) return;
        }
      }
    }
  }
}

async function* deaths(
  index: number,
  history: (typeof HISTORIES)[number],
  victim: Victim,
  round: number,
  from: string,
  bench: Bench,
): AsyncGenerator<CrashPoint, void> {
  for (let touch = 1; touch <= TOUCHES_MAX; touch++) {
    let count = 1;
    for (let state = 0; state < count; state++) {
      const plan = planWith(history, victim, { touch, where: { state }, with: victim.with }, 1_000 + round);
      const outcome = await simulate(plan, from, bench);
      if (outcome.statesOfDeath === undefined) return;
      count = outcome.statesOfDeath;
      const name = `history ${index}, ${victim.who} ${victim.number} dies ${victim.with} at touch ${touch}, state ${state}`;
      yield { plan, name, outcome };
    }
  }
}

function planWith(history: (typeof HISTORIES)[number], victim: Victim, doom: Doom, seed: number): Plan {
  const said = history.moods.map(
    (mood, index): Happening => ({ at: 1_000 + index * 2_500, type: 'say', number: index + 1, chat: 'main', mood }),
  );
  const death: Happening =
    victim.who === 'host'
      ? { at: 0, type: 'host-dies', doom, downMs: 1_500 }
      : { at: 0, type: 'run-goes-wrong', number: victim.number, how: { type: 'dies', doom } };
  return {
    seed,
    duplicates: seed % 3 === 2 ? 'history' : 'key',
    chats: ['main'],
    troubledMs: 30_000,
    happenings: [death, ...history.also, ...said],
  };
}
