/**
 * One history, written down touch by touch: every first part of what its processes did to the disk is a crash image,
 * from which both sides must go on. Also what a power cut makes of it, which takes back what was not synced.
 */
import { Chance } from './chance.ts';
import { Disk, type DiskImage } from './disk.ts';
import type { Plan } from './plan.ts';
import { type Bench, type Crash, type Outcome, recordedHistory } from './simulate.ts';
import type { Committed } from './sqlite/commits.ts';
import type { Actor, Recorder, Touch } from './world.ts';

/** How everybody died. */
export type Death = 'kill' | 'power cut';

/** A moment of a history at which everybody dies. */
export interface CrashImage {
  readonly death: Death;
  /** For people: after which touch, in which state. */
  readonly name: string;
  readonly crash: Crash;
}

/** Plays the history of a plan to its end, and gives every crash image of its first `untilMs`. */
export async function recording(
  plan: Plan,
  from: string,
  bench: Bench,
  untilMs: number,
): Promise<{ readonly outcome: Outcome; readonly images: readonly CrashImage[] }> {
  const images: CrashImage[] = [];
  const outcome = await recordedHistory(
    plan,
    from,
    bench,
    (folder, memory) => new Watcher(folder, memory, plan, untilMs, images),
  );
  return { outcome, images };
}

class Watcher implements Recorder {
  readonly #disk: Disk;
  readonly #memory: () => Omit<Crash, 'disk'>;
  readonly #chance: Chance;
  readonly #images: CrashImage[];
  readonly #untilMs: number;
  #beganAt: number | undefined;
  #touches = 0;

  constructor(folder: string, memory: () => Omit<Crash, 'disk'>, plan: Plan, untilMs: number, images: CrashImage[]) {
    this.#disk = new Disk(folder);
    this.#memory = memory;
    this.#chance = new Chance(plan.seed);
    this.#images = images;
    this.#untilMs = untilMs;
  }

  record<T>(touch: Touch<T>, actor: Actor): T {
    this.#touches += 1;
    const { world } = actor;
    this.#beganAt ??= world.time;
    const isOver = world.time - this.#beganAt > this.#untilMs;
    const { change } = touch;
    if (isOver) return touch.perform();
    if (touch.watched !== undefined) {
      const { result, commit } = touch.watched();
      this.#within(commit, touch.what);
      this.#disk.committed(commit);
      this.#after(touch.what);
      return result;
    }
    const result = touch.perform();
    if (change?.type === 'database') this.#disk.committedElsewhere(change.path, change.synchronous());
    if (change?.type === 'rename') this.#disk.renamed(change.from, change.to);
    if (change?.type === 'sync') this.#disk.synced(change.path);
    if (change?.type === 'entry') for (const path of change.paths) this.#disk.changed(path);
    this.#after(touch.what);
    return result;
  }

  #within(commit: Committed, what: string): void {
    const memory = this.#memory();
    for (const [state, image] of commit.images.slice(1, -1).entries()) {
      this.#add('kill', `in ${what}, state ${state + 1}`, memory, this.#disk.imageWith(commit.path, image));
    }
    for (const [state, disk] of this.#disk.powerCut(() => this.#chance.share('cut'), commit).entries()) {
      this.#add('power cut', `in ${what}, state ${state}`, memory, disk);
    }
  }

  #after(what: string): void {
    const memory = this.#memory();
    this.#add('kill', `after ${what}`, memory, this.#disk.image());
    if (this.#disk.isSynced) return;
    for (let draw = 0; draw < DRAWS; draw++) {
      for (const disk of this.#disk.powerCut(() => this.#chance.share('cut'))) {
        this.#add('power cut', `after ${what}, draw ${draw}`, memory, disk);
      }
    }
  }

  #add(death: Death, name: string, memory: Omit<Crash, 'disk'>, disk: DiskImage): void {
    this.#images.push({ death, name: `touch ${this.#touches}: ${death} ${name}`, crash: { ...memory, disk } });
  }
}

/** Of what a power cut leaves between two syncs, so many are drawn. */
const DRAWS = 2;
