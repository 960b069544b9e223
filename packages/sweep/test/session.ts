/** A session in a temporary folder, with both sides in this process, for the tests of this package. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createSession,
  HostSession,
  inProcessReader,
  type JsonObject,
  lastBeat,
  type Millis,
  type NewInbound,
  RunnerSession,
  runId,
  type SessionFolder,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import {
  applyScheduling,
  observe,
  type RunState,
  type SchedulingResult,
  SWEEP_POLICY,
  type SweepPolicy,
  type SweepReport,
  sweepSession,
  type Vitals,
} from '../src/index.ts';

/** In memory where that can be had: these tests are about what is written, not about the disk, and sync by the thousand. */
const SCRATCH = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

export const ADDRESS = { channelType: 'terminal', platformId: 'main', threadId: null };
export const LIMITS = { work: 10, control: 10, context: 10 };
/** 2026-11-21, 12:00 UTC. */
export const NOON: Millis = Date.UTC(2026, 10, 21, 12);
export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

export function chat(id: string, at: Millis): NewInbound {
  return { id, kind: 'chat', timestamp: at, trigger: 'wakes', address: ADDRESS, content: { text: id } };
}

export class World implements Disposable {
  readonly folder: SessionFolder;
  session: HostSession;
  run: RunState = { type: 'none' };
  runner: RunnerSession | undefined;
  vitals: Vitals | undefined;
  steadySince: Millis = 0;
  policy: SweepPolicy = SWEEP_POLICY;
  /** Reopens the session as a host that starts again does: what it knew only in memory is gone. */
  restart(now: Millis): void {
    this.session[Symbol.dispose]();
    this.session = HostSession.open(this.folder, openSqlite);
    this.vitals = undefined;
    this.steadySince = now;
  }

  #actions = 0;
  #runs = 0;

  constructor() {
    this.folder = createSession(join(mkdtempSync(join(SCRATCH, 'nanoclaw-sweep-')), 'session'));
    this.session = HostSession.open(this.folder, openSqlite);
  }

  [Symbol.dispose](): void {
    this.runner?.[Symbol.dispose]();
    this.session[Symbol.dispose]();
    rmSync(join(this.folder.root, '..'), { recursive: true });
  }

  /** One pass, as a host makes it. */
  async sweep(now: Millis): Promise<SweepReport> {
    const reader = inProcessReader(this.folder, openSqlite);
    const seen = await observe(this.session, reader, () => this.#runState());
    const report = sweepSession(
      this.session,
      { ...seen, vitals: this.vitals, steadySince: this.steadySince },
      now,
      this.policy,
    );
    this.vitals = report.vitals;
    return report;
  }

  act(content: JsonObject, now: Millis, actionId = `action-${++this.#actions}`): SchedulingResult {
    return applyScheduling(this.session, content, { actionId, address: ADDRESS, timeZone: 'UTC' }, now);
  }

  /** Schedules a task and gives its id. */
  task(content: JsonObject, now: Millis): string {
    const result = this.act({ action: 'schedule_task', prompt: 'say hi', ...content }, now);
    if (result.type !== 'scheduled') throw new Error(JSON.stringify(result));
    return result.taskId;
  }

  start(now: Millis): RunnerSession {
    const id = runId(`run-${++this.#runs}`);
    this.session.beginRun(id, now);
    this.run = { type: 'live', runId: id, since: now, heartbeatAt: undefined };
    this.runner = RunnerSession.open(this.folder, openSqlite, { runId: id, runnerVersion: '0', provider: 'test' }, now);
    return this.runner;
  }

  /** The run is gone, as its runtime confirms. */
  end(how: 'left' | 'failed' = 'failed', livedMs = HOUR): void {
    if (this.run.type === 'none') return;
    this.runner?.[Symbol.dispose]();
    this.runner = undefined;
    const ended = how === 'left' ? { type: how } : { type: how, reason: 'exit code 137' };
    this.run = { type: 'none', ended: { runId: this.run.runId, livedMs, how: ended } };
  }

  /** The live run takes what is due; gives the messages' ids. */
  claim(now: Millis): string[] {
    const result = this.runner?.claim(now, LIMITS);
    if (result?.type !== 'claimed') return [];
    return result.claimed.map((one) => one.claim.messageId);
  }

  /** The live run takes what is due and ends it. */
  work(now: Millis, outcome: 'completed' | 'failed' = 'completed', endsAt = now): string[] {
    const result = this.runner?.claim(now, LIMITS);
    if (result?.type !== 'claimed') return [];
    const claims = result.claimed.map((one) => one.claim);
    const how = outcome === 'failed' ? { type: outcome, reason: 'the model failed' } : { type: outcome };
    if (claims.length > 0) this.runner?.finish(claims, how, [], endsAt);
    return claims.map((claim) => claim.messageId);
  }

  /** Nobody can read what runs write, until the returned is called. */
  unreadable(): () => void {
    const lock = openSqlite(this.folder.outbound.database, 'write');
    lock.exec('BEGIN EXCLUSIVE');
    return () => lock.close();
  }

  open(seriesId: string): string[] {
    return this.session.series.open(seriesId).map((one) => `${iso(one.slot)} ${one.status}`);
  }

  #runState(): RunState {
    const { run } = this;
    if (run.type !== 'live') return run;
    return { ...run, heartbeatAt: lastBeat(this.folder.outbound.heartbeat, Number.POSITIVE_INFINITY) };
  }
}

/** A time as `12:30` on the tests' day, with the day before it on any other. */
export function iso(at: Millis): string {
  const text = new Date(at).toISOString();
  const time = text.slice(17, 19) === '00' ? text.slice(11, 16) : text.slice(11, 19);
  return text.startsWith('2026-11-21') ? time : `${text.slice(0, 10)} ${time}`;
}
