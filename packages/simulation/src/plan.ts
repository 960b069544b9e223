/**
 * What a seed means: who says what when, and what goes wrong. A plain list, so that a history that fails can be made
 * shorter by taking things out of it.
 */
import type { DeferralKind } from '@nanoclaw/session-db';
import { MOODS, type Mood } from './agent.ts';
import { Chance } from './chance.ts';
import type { CrashPoint, GuardFault, RunFault, SendFault } from './faults.ts';

/** What a plan makes happen, `at` milliseconds after the beginning: a message that a person sends, or a fault. */
export type FaultEvent = { readonly at: number } & (
  | {
      readonly type: 'say';
      readonly number: number;
      /** The type of its channel and its place there: `terminal/main`. */
      readonly chat: string;
      readonly mood: Mood;
      /** A file comes with it. */
      readonly brings?: true;
    }
  /** The platform sends a message again that it has sent before. */
  | { readonly type: 'say-again'; readonly number: number }
  | { readonly type: 'stop-command'; readonly number: number; readonly chat: string }
  | { readonly type: 'host-dies'; readonly crashPoint: CrashPoint; readonly downMs: number }
  | { readonly type: 'host-restarts'; readonly runs: 'stop-runs' | 'leave-runs'; readonly downMs: number }
  | { readonly type: 'run-dies'; readonly crashPoint: CrashPoint }
  | { readonly type: 'host-stalls'; readonly ms: number }
  | { readonly type: 'offline'; readonly ms: number }
  | { readonly type: 'send-goes-wrong'; readonly number: number; readonly how: SendFault }
  | { readonly type: 'run-goes-wrong'; readonly number: number; readonly how: RunFault }
  /** Another process holds a lock on the files of one side. */
  | {
      readonly type: 'locked';
      readonly file: 'inbound.db' | 'outbound.db';
      readonly ms: number;
      readonly share: number;
    }
  | { readonly type: 'disk-is-full'; readonly ms: number }
  | { readonly type: 'model-is-away'; readonly ms: number; readonly kind: DeferralKind }
  /** The process that reads for the host. */
  | { readonly type: 'guard-fails'; readonly ms: number; readonly share: number; readonly how: GuardFault }
  | { readonly type: 'clock-is-set'; readonly byMs: number }
  | { readonly type: 'clocks-drift'; readonly byMs: number }
  | { readonly type: 'machine-sleeps'; readonly ms: number }
);

export interface Plan {
  readonly seed: number;
  /** How long faults may happen; after it there are none, and everything has to come to its end. */
  readonly troubledMs: number;
  readonly events: readonly FaultEvent[];
  /**
   * Stricter promises, for histories in which little goes wrong. `prompt`: nothing does, so what is due is taken up while
   * a run lives. `host-alone`: no run starts any more when one has died, and the host takes in by itself what it said.
   */
  readonly strict?: 'prompt' | 'host-alone';
}

/** Besides the terminal's main one. */
export const CHATS = ['terminal/family', 'club/main', 'radio/main'] as const;

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** The plan of a seed. */
export function planOf(seed: number): Plan {
  const chance = new Chance(seed);
  if (chance.happens('zombie world', 0.08)) return zombieWorld(seed, chance);
  if (chance.happens('quiet world', 0.06)) return quietWorld(seed, chance);
  if (chance.happens('clock world', 0.05)) return clockWorld(seed, chance);
  if (chance.happens('guard world', 0.05)) return lateWorld(seed, chance);
  if (chance.happens('busy clock world', 0.03)) return busyClockWorld(seed, chance);
  if (chance.happens('world ahead', 0.04)) return aheadWorld(seed, chance);
  if (chance.happens('moody world', 0.03)) return moodyWorld(seed, chance);
  const troubledMs = chance.wait('length', HOUR, 60 * HOUR);
  const chats = ['terminal/main', ...CHATS.filter(() => chance.happens('chats', 0.25))];
  return {
    seed,
    troubledMs,
    events: [...conversation(chance, chats, troubledMs), ...troubles(chance, troubledMs)],
  };
}

/** A run that stalls with a message in hand, is killed for it, and wakes up beside its successor: rare by chance alone. */
function zombieWorld(seed: number, chance: Chance): Plan {
  const said = [1, 2, 3, 4].map(
    (number): FaultEvent => ({
      at: number * SECOND + chance.whole('zombie said', 0, 500),
      type: 'say',
      number,
      chat: 'terminal/main',
      mood: chance.pick('zombie mood', ['answer', 'slow', 'hang-once']),
    }),
  );
  // Said to its successor, when it may be awake again.
  const later = [5, 6, 7, 8, 9, 10].map(
    (number): FaultEvent => ({
      at: SILENCE_MAX_MS + chance.whole('zombie later', 0, 40) * SECOND,
      type: 'say',
      number,
      chat: 'terminal/main',
      mood: 'answer',
    }),
  );
  const how: RunFault = {
    type: 'zombie',
    afterMs: chance.wait('zombie after', 100, 5 * SECOND),
    ms: chance.wait('zombie ms', SECOND, 20 * SECOND),
  };
  return {
    seed,
    troubledMs: 3 * HOUR,
    events: [{ at: 0, type: 'run-goes-wrong', number: 1, how }, ...said, ...later],
  };
}

/** As the sweep's policy has it: a run without a sign of work is killed then. */
const SILENCE_MAX_MS = 30 * MINUTE;

/** Nothing goes wrong, and much is said while runs are busy. */
function quietWorld(seed: number, chance: Chance): Plan {
  const chats = ['terminal/main', ...CHATS.filter(() => chance.happens('chats', 0.25))];
  const troubledMs = chance.wait('length', HOUR, 10 * HOUR);
  const events = [...conversation(chance, chats, troubledMs), ...interruptions(chance, troubledMs)];
  return { seed, troubledMs, strict: 'prompt', events };
}

/** Messages that are answered slowly, each with one that comes while it is: a bell that its run may miss. */
function interruptions(chance: Chance, troubledMs: number): FaultEvent[] {
  return some(chance, 'interruptions', 40).flatMap((index): FaultEvent[] => {
    const at = Math.floor(chance.share('interruption') * troubledMs * 0.95);
    const told = { type: 'say', chat: 'terminal/main' } as const;
    return [
      { ...told, at, number: 101 + 2 * index, mood: 'slow' },
      { ...told, at: at + chance.wait('interrupts', SECOND, MINUTE), number: 102 + 2 * index, mood: 'answer' },
    ];
  });
}

/**
 * Tasks that repeat, and a clock that is set back over times at which they have run, or forward while a run is at work:
 * rare by chance alone.
 */
function clockWorld(seed: number, chance: Chance): Plan {
  const said = [1, 2, 3].map(
    (number): FaultEvent => ({
      at: number * MINUTE + chance.whole('clock said', 0, 40) * SECOND,
      type: 'say',
      number,
      chat: 'terminal/main',
      mood: number === 1 ? 'daily' : chance.pick('clock mood', ['daily', 'later', 'script', 'answer']),
    }),
  );
  const back = some(chance, 'back', 4).map(
    (index): FaultEvent => ({
      at: (5 + 8 * index) * HOUR + chance.whole('back', 0, 240) * MINUTE,
      type: 'clock-is-set',
      byMs: -chance.wait('back by', HOUR, 6 * HOUR),
    }),
  );
  const forward = some(chance, 'forward', 4).flatMap((index): FaultEvent[] => {
    const at = (3 + 8 * index) * HOUR + chance.whole('forward', 0, 60) * MINUTE;
    return [
      { at, type: 'say', number: 11 + index, chat: 'terminal/main', mood: 'slow' },
      {
        at: at + chance.wait('forward at', 5 * SECOND, 40 * SECOND),
        type: 'clock-is-set',
        byMs: chance.wait('forward by', 2 * MINUTE, 3 * HOUR),
      },
    ];
  });
  return { seed, troubledMs: 40 * HOUR, events: [...said, ...back, ...forward] };
}

/** Tasks that are at work when the clock is set back over their own time: rare by chance alone. */
function busyClockWorld(seed: number, chance: Chance): Plan {
  const back = some(chance, 'busy back', 12).map(
    (): FaultEvent => ({
      at: HOUR + chance.whole('busy back at', 0, 11 * 60) * MINUTE + chance.whole('busy back in', 0, 60) * SECOND,
      type: 'clock-is-set',
      byMs: -chance.wait('busy back by', 5 * MINUTE, 4 * HOUR),
    }),
  );
  const often: FaultEvent = { at: MINUTE, type: 'say', number: 1, chat: 'terminal/main', mood: 'often' };
  return { seed, troubledMs: 12 * HOUR, events: [often, ...back] };
}

/** Much is said and tried under a clock that is ahead, and then set right: rare by chance alone. Nothing else goes wrong. */
function aheadWorld(seed: number, chance: Chance): Plan {
  const events = some(chance, 'ahead', 3).flatMap((index): FaultEvent[] => {
    const at = (1 + 4 * index) * HOUR;
    const byMs = chance.wait('ahead by', HOUR, 24 * HOUR);
    const rightAt = at + 10 * MINUTE;
    const said = [1, 2, 3].map(
      (which): FaultEvent => ({
        at: rightAt - chance.wait('ahead said', 100, 80 * SECOND),
        type: 'say',
        number: 10 * (index + 1) + which,
        chat: 'terminal/main',
        mood: chance.pick('ahead mood', ['error-always', 'error-once', 'answer', 'tool']),
      }),
    );
    const away: FaultEvent = { at: rightAt - chance.wait('away', SECOND, MINUTE), type: 'offline', ms: 2 * MINUTE };
    return [
      { at, type: 'clock-is-set', byMs },
      ...(chance.happens('is away', 0.5) ? [away] : []),
      ...said,
      { at: rightAt, type: 'clock-is-set', byMs: -byMs },
    ];
  });
  return { seed, troubledMs: 12 * HOUR, strict: 'prompt', events };
}

/** A task that repeats and is given up now and then: rare by chance alone. */
function moodyWorld(seed: number, chance: Chance): Plan {
  const said = [1, 2].map(
    (number): FaultEvent => ({ at: number * MINUTE, type: 'say', number, chat: 'terminal/main', mood: 'moody' }),
  );
  return { seed, troubledMs: chance.whole('moody', 20, 40) * HOUR, events: said };
}

/** Runs that die soon after they have answered, while the host waits for what was read before: rare by chance alone. */
function lateWorld(seed: number, chance: Chance): Plan {
  const troubledMs = 2 * HOUR;
  const late: FaultEvent = { at: 0, type: 'guard-fails', how: 'late', share: 0.7, ms: troubledMs };
  const answered = Array.from({ length: 24 }).flatMap((_, index): FaultEvent[] => {
    const at = (1 + 4 * index) * MINUTE;
    const next: CrashPoint = { touch: 1, where: { share: chance.share('late where') }, with: 'alone' };
    return [
      { at, type: 'say', number: 1 + index, chat: 'terminal/main', mood: 'answer' },
      { at: at + chance.wait('dies after', SECOND, 8 * SECOND), type: 'run-dies', crashPoint: next },
    ];
  });
  return { seed, troubledMs, events: [late, ...answered] };
}

function conversation(chance: Chance, chats: readonly string[], troubledMs: number): FaultEvent[] {
  const events: FaultEvent[] = [];
  const bursts = chance.whole('bursts', 1, 5);
  let number = 0;
  for (let burst = 0; burst < bursts; burst++) {
    let at = Math.floor(chance.share('burst') * troubledMs * 0.95);
    const chat = chats[chance.whole('chat', 0, chats.length - 1)] ?? 'terminal/main';
    for (let left = chance.whole('burst size', 1, 6); left > 0; left--) {
      number += 1;
      const mood: Mood = chance.happens('plain', 0.55) ? 'answer' : chance.pick('mood', MOODS);
      const brings = chance.happens('brings', 0.15);
      events.push({ at, type: 'say', number, chat, mood, ...(brings && { brings }) });
      if (chance.happens('again', 0.2)) {
        events.push({ at: at + chance.wait('again', 1, HOUR), type: 'say-again', number });
      }
      at += chance.wait('gap', 1, 2 * MINUTE);
    }
    if (chance.happens('stop', 0.1)) {
      number += 1;
      events.push({ at, type: 'stop-command', number, chat });
    }
  }
  return events;
}

/** Some kinds of trouble, not all: a world where everything fails at once hides what each failure does. */
function troubles(chance: Chance, troubledMs: number): FaultEvent[] {
  const kinds = [hostDeaths, runDeaths, sends, runs, locks, fullDisk, clocks, restarts, guards, models].filter(() =>
    chance.happens('kind', 0.35),
  );
  return kinds.flatMap((kind) => kind(chance, troubledMs));
}

function some(chance: Chance, name: string, most: number): number[] {
  return Array.from({ length: chance.whole(name, 1, most) }, (_, index) => index);
}

function when(chance: Chance, troubledMs: number): number {
  return Math.floor(chance.share('when') * troubledMs);
}

function crashPoint(chance: Chance, touches: number): CrashPoint {
  return {
    touch: chance.whole('touch', 1, touches),
    where: { share: chance.share('where') },
    with: chance.happens('with', 0.2) ? 'everybody' : 'alone',
  };
}

function hostDeaths(chance: Chance, troubledMs: number): FaultEvent[] {
  return some(chance, 'host deaths', 8).map(() => ({
    at: when(chance, troubledMs),
    type: 'host-dies',
    crashPoint: crashPoint(chance, 60),
    downMs: chance.wait('down', 100, 3 * HOUR),
  }));
}

function runDeaths(chance: Chance): FaultEvent[] {
  return some(chance, 'run deaths', 6).map(() => ({
    at: 0,
    type: 'run-goes-wrong',
    number: chance.whole('run', 1, 10),
    how: { type: 'dies', crashPoint: crashPoint(chance, 30) },
  }));
}

function sends(chance: Chance, troubledMs: number): FaultEvent[] {
  const wrong = some(chance, 'bad sends', 8).map(
    (): FaultEvent => ({
      at: 0,
      type: 'send-goes-wrong',
      number: chance.whole('send', 1, 15),
      how: chance.pick('how', [
        'failed',
        'failed-for-long',
        'refused',
        'hangs',
        'shown-and-hangs',
        'shown-late',
        'answer-lost',
        'throws',
      ]),
    }),
  );
  if (!chance.happens('offline', 0.5)) return wrong;
  return [...wrong, { at: when(chance, troubledMs), type: 'offline', ms: chance.wait('offline', SECOND, 3 * HOUR) }];
}

function runs(chance: Chance): FaultEvent[] {
  return some(chance, 'bad runs', 5).map(() => {
    const how = chance.pick<RunFault['type']>('how run', [
      'refused',
      'slow-start',
      'exits-at-once',
      'exit-is-lost',
      'stop-fails',
      'stalls',
      'zombie',
    ]);
    const ms = chance.wait('run ms', 10 * SECOND, 2 * HOUR);
    return { at: 0, type: 'run-goes-wrong', number: chance.whole('run', 1, 8), how: runFault(how, ms, chance) };
  });
}

function runFault(type: RunFault['type'], ms: number, chance: Chance): RunFault {
  switch (type) {
    case 'slow-start':
      return { type, ms };
    case 'zombie':
      return { type, ms: chance.wait('zombie', SECOND, 5 * MINUTE), afterMs: chance.wait('stall after', 10, MINUTE) };
    case 'stalls':
      return { type, ms, afterMs: chance.wait('stall after', 10, MINUTE) };
    case 'dies':
      return { type, crashPoint: crashPoint(chance, 30) };
    default:
      return { type };
  }
}

function locks(chance: Chance, troubledMs: number): FaultEvent[] {
  return some(chance, 'locks', 6).map(() => ({
    at: when(chance, troubledMs),
    type: 'locked',
    file: chance.pick('file', ['inbound.db', 'outbound.db']),
    ms: chance.wait('locked', 100, 20 * MINUTE),
    share: chance.pick('lock share', [0.05, 0.3, 1]),
  }));
}

function fullDisk(chance: Chance, troubledMs: number): FaultEvent[] {
  return some(chance, 'full', 3).map(() => ({
    at: when(chance, troubledMs),
    type: 'disk-is-full',
    ms: chance.wait('full ms', SECOND, HOUR),
  }));
}

/** Longer than all tries of a message together take. */
function models(chance: Chance, troubledMs: number): FaultEvent[] {
  return some(chance, 'models', 3).map(() => ({
    at: when(chance, troubledMs),
    type: 'model-is-away',
    ms: chance.wait('model ms', 10 * SECOND, 12 * HOUR),
    kind: chance.pick('model kind', ['refused', 'unavailable', 'unavailable']),
  }));
}

function guards(chance: Chance, troubledMs: number): FaultEvent[] {
  return some(chance, 'guards', 4).map(() => ({
    at: when(chance, troubledMs),
    type: 'guard-fails',
    how: chance.pick('guard how', ['killed-before', 'killed-after', 'late', 'not-to-be-had']),
    ms: chance.wait('guard ms', SECOND, 2 * HOUR),
    share: chance.pick('guard share', [0.05, 0.3, 1]),
  }));
}

function clocks(chance: Chance, troubledMs: number): FaultEvent[] {
  return some(chance, 'clock', 4).map((): FaultEvent => {
    const at = when(chance, troubledMs);
    const by = chance.wait('clock by', SECOND, 40 * HOUR) * (chance.happens('back', 0.5) ? -1 : 1);
    switch (chance.pick('clock how', ['set', 'drift', 'sleep'])) {
      case 'set':
        return { at, type: 'clock-is-set', byMs: by };
      case 'drift':
        return { at, type: 'clocks-drift', byMs: Math.round(by / 1_000) };
      default:
        return { at, type: 'machine-sleeps', ms: Math.abs(by) };
    }
  });
}

function restarts(chance: Chance, troubledMs: number): FaultEvent[] {
  const restarting = some(chance, 'restarts', 4).map(
    (): FaultEvent => ({
      at: when(chance, troubledMs),
      type: 'host-restarts',
      runs: chance.pick('restart runs', ['stop-runs', 'leave-runs']),
      downMs: chance.wait('down', 100, HOUR),
    }),
  );
  return chance.happens('host stalls', 0.3)
    ? [...restarting, { at: when(chance, troubledMs), type: 'host-stalls', ms: chance.wait('stall', SECOND, HOUR) }]
    : restarting;
}
