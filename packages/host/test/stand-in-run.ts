/** The stand-in for a runner: claims what is due in its session and answers it at once. Files, claims and commits are real. */
import {
  type Claimed,
  Doorbell,
  type InboundMessage,
  inboundFolder,
  isBusy,
  outboundFolder,
  RunnerSession,
  runId,
  type SetTimer,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';

export interface StandInOptions {
  readonly now: () => number;
  readonly setTimer: SetTimer;
  /** What the agent says to a message. */
  readonly answer: (message: InboundMessage) => string;
}

/** Where a stand-in works, and as whom. */
export interface StandInPlace {
  readonly runId: string;
  readonly inbound: string;
  readonly outbound: string;
}

const LIMITS = { work: 50, control: 10, context: 10 };
const BEAT_EVERY_MS = 5_000;

export class StandInRun {
  readonly #runId: string;
  readonly #options: StandInOptions;
  readonly #session: RunnerSession;
  readonly #bell: Doorbell;
  readonly #onLeft: () => void;
  /** Claimed, and not answered yet. */
  readonly #inHand: Claimed[] = [];
  #isOver = false;
  #cancelBeat: () => void = () => undefined;
  #cancelWork: () => void = () => undefined;

  /** `onLeft` is called when it works no more: it was told to leave, or another run has its place. */
  constructor(place: StandInPlace, options: StandInOptions, onLeft: () => void) {
    this.#onLeft = onLeft;
    this.#runId = place.runId;
    this.#options = options;
    const folders = { inbound: inboundFolder(place.inbound), outbound: outboundFolder(place.outbound) };
    const handshake = { runId: runId(place.runId), runnerVersion: 'stand-in', provider: 'stand-in' };
    this.#session = RunnerSession.open(folders, openSqlite, handshake, options.now());
    this.#bell = new Doorbell(folders.inbound, () => this.#workSoon(0), { setTimer: options.setTimer });
    this.#beat();
    this.#workSoon(0);
  }

  leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelBeat();
    this.#cancelWork();
    this.#bell[Symbol.dispose]();
    this.#session[Symbol.dispose]();
    this.#onLeft();
  }

  #beat(): void {
    whileNobodyReads(() => this.#session.beat(this.#options.now()));
    this.#cancelBeat = this.#options.setTimer(BEAT_EVERY_MS, () => this.#beat());
  }

  #workSoon(ms: number): void {
    this.#cancelWork();
    if (!this.#isOver) this.#cancelWork = this.#options.setTimer(ms, () => this.#work());
  }

  /** A file that is locked is tried again soon, as a runner does. */
  #work(): void {
    if (!whileNobodyReads(() => this.#claimAndAnswer())) this.#workSoon(5);
  }

  #claimAndAnswer(): void {
    this.#answer();
    const now = this.#options.now();
    const result = this.#session.claim(now, LIMITS);
    if (result.type === 'fenced') return this.leave();
    if (result.type === 'unreadable') return this.#workSoon(5);
    this.#inHand.push(...result.claimed);
    this.#answer();
    if (result.nextDueAt !== undefined) this.#workSoon(Math.max(0, result.nextDueAt - now));
  }

  /** Ends what is in hand, one after the other. */
  #answer(): void {
    const now = this.#options.now();
    for (let one = this.#inHand[0]; one !== undefined; one = this.#inHand[0]) {
      if (one.type === 'poison') this.#session.finish([one.claim], { type: 'failed', reason: one.reason }, [], now);
      else {
        const { id, seq, address } = one.message;
        const content = { text: this.#options.answer(one.message) };
        const reply = { id: `${this.#runId}/${seq}`, kind: 'chat', address, inReplyTo: id, content } as const;
        this.#session.finish([one.claim], { type: 'completed' }, [reply], now);
      }
      this.#inHand.shift();
    }
  }
}

/** Whether a write could be done: the host's reader may hold a lock on the file for a moment. */
function whileNobodyReads(write: () => void): boolean {
  try {
    write();
    return true;
  } catch (error) {
    if (isBusy(error)) return false;
    throw error;
  }
}
