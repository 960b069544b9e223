/**
 * A driver whose runs live in the host's own process: each claims what is due in its session and answers it at once. For
 * loads that no machine has the memory to run as many real agents for. The files, the claims and the commits are real.
 */
import type { Driver, Exit, Listing, Run, RunSpec } from '@nanoclaw/containers';
import { specHash } from '@nanoclaw/containers';
import {
  Doorbell,
  type InboundMessage,
  inboundFolder,
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

const LIMITS = { work: 50, control: 10, context: 10 };
const BEAT_EVERY_MS = 5_000;

export class StandInDriver implements Driver {
  readonly #options: StandInOptions;
  readonly #runs = new Map<string, StandInRun>();

  constructor(options: StandInOptions) {
    this.#options = options;
  }

  async start(spec: RunSpec): Promise<Run> {
    const run = new StandInRun(spec, this.#options);
    this.#runs.set(spec.runId, run);
    void run.exited().then(() => this.#runs.delete(spec.runId));
    return run;
  }

  async stop(id: string): Promise<Exit> {
    return this.#runs.get(id)?.leave() ?? { type: 'unknown', reason: 'it was not alive' };
  }

  async list(): Promise<Listing> {
    return { runs: [...this.#runs.values()], troubles: [] };
  }

  async logs(): Promise<undefined> {
    return undefined;
  }

  /** With the process, these runs go. */
  close(): void {
    for (const run of this.#runs.values()) run.leave();
  }
}

class StandInRun implements Run {
  readonly runId: string;
  readonly sessionId: string;
  readonly startedAt: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly specHash: string;
  readonly logFile: string;
  readonly #options: StandInOptions;
  readonly #session: RunnerSession;
  readonly #bell: Doorbell;
  readonly #exit = Promise.withResolvers<Exit>();
  #isOver = false;
  #cancelBeat: () => void = () => undefined;
  #cancelWork: () => void = () => undefined;

  constructor(spec: RunSpec, options: StandInOptions) {
    this.runId = spec.runId;
    this.sessionId = spec.sessionId;
    this.startedAt = options.now();
    this.labels = spec.labels;
    this.specHash = specHash(spec);
    this.logFile = spec.logFile;
    this.#options = options;
    const place = (target: string) => spec.mounts.find((mount) => mount.target === target)?.source ?? '';
    const folders = {
      inbound: inboundFolder(place('/workspace/inbound')),
      outbound: outboundFolder(place('/workspace/outbound')),
    };
    const handshake = { runId: runId(spec.runId), runnerVersion: 'stand-in', provider: 'stand-in' };
    this.#session = RunnerSession.open(folders, openSqlite, handshake, options.now());
    this.#bell = new Doorbell(folders.inbound, () => this.#workSoon(0), { setTimer: options.setTimer });
    this.#beat();
    this.#workSoon(0);
  }

  exited(): Promise<Exit> {
    return this.#exit.promise;
  }

  leave(): Exit {
    const exit: Exit = { type: 'code', code: 0 };
    if (this.#isOver) return exit;
    this.#isOver = true;
    this.#cancelBeat();
    this.#cancelWork();
    this.#bell[Symbol.dispose]();
    this.#session[Symbol.dispose]();
    this.#exit.resolve(exit);
    return exit;
  }

  #beat(): void {
    this.#session.beat(this.#options.now());
    this.#cancelBeat = this.#options.setTimer(BEAT_EVERY_MS, () => this.#beat());
  }

  #workSoon(ms: number): void {
    this.#cancelWork();
    if (!this.#isOver) this.#cancelWork = this.#options.setTimer(ms, () => this.#work());
  }

  #work(): void {
    const now = this.#options.now();
    const result = this.#session.claim(now, LIMITS);
    if (result.type === 'fenced') return void this.leave();
    if (result.type === 'unreadable') return this.#workSoon(5);
    for (const one of result.claimed) {
      if (one.type === 'poison') {
        this.#session.finish([one.claim], { type: 'failed', reason: one.reason }, [], now);
        continue;
      }
      const { id, seq, address } = one.message;
      const content = { text: this.#options.answer(one.message) };
      const reply = { id: `${this.runId}/${seq}`, kind: 'chat', address, inReplyTo: id, content } as const;
      this.#session.finish([one.claim], { type: 'completed' }, [reply], now);
    }
    if (result.nextDueAt !== undefined) this.#workSoon(Math.max(0, result.nextDueAt - now));
  }
}
