/**
 * One visit of the sweep to a session, and what follows from it: notices are sent, counters raised, a run is started or
 * stopped. Starting and stopping are not waited for: they poke when they are done.
 */
import { type PassRead, passRequest, type RateLimits } from '@nanoclaw/delivery';
import { changeToken, impostors, type Millis, type OutboundRead, type OutboundReader } from '@nanoclaw/session-db';
import { MODEL_WAIT } from '@nanoclaw/session-db/protocol';
import {
  judgeSession,
  type Observation,
  observe,
  type SweepPolicy,
  type SweepReport,
  settleSession,
  type Vitals,
} from '@nanoclaw/sweep';
import type { HostMessenger } from '../channels/index.ts';
import { messageOf } from '../errors/index.ts';
import type { Counting, Logger } from '../observability/index.ts';
import type { Runs } from '../runs/index.ts';
import { refusedRows, type SessionHandle, type Sessions } from '../session/index.ts';
import type { Activity } from './activity.ts';
import type { ModelTrouble, ModelTroubles } from './model-troubles.ts';
import { sendOwedNotices } from './notices.ts';
import { FORGET_EVERY_MS, forgetInSession, type RetentionPolicy } from './retention.ts';
import type { Typing } from './typing.ts';

/** What visits to sessions need. */
export interface UpkeepOptions {
  /** Finds the session of a visit. */
  readonly sessions: Sessions;
  /** Starts and stops runs, and knows their state. */
  readonly runs: Pick<Runs, 'state' | 'wake' | 'stop'>;
  /** Where it is noted what is due and which runs work. */
  readonly activity: Activity;
  /** Where it is noted which models are in the way. */
  readonly modelTroubles: ModelTroubles;
  /** Who answers in the session. */
  readonly providerOf: (session: SessionHandle) => Promise<string>;
  /** A provider that was in the way has answered in this session: what waits for it elsewhere may be tried. Must not throw. */
  readonly onModelBack: (provider: string) => void;
  /** Sends owed notices. */
  readonly messenger: HostMessenger;
  /** Limits the notices of one chat. */
  readonly rates: RateLimits;
  /** Shows that an agent is working. */
  readonly typing: Typing;
  /** Counts failures, kills and refused rows. */
  readonly counting: Counting;
  /** Notes what of a session's agent was stopped: its name, and a sentence. Must not throw. */
  readonly noteFinding: (session: SessionHandle, finding: string, detail: string) => void;
  /** When a run is stuck, and how messages are retried. */
  readonly policy: SweepPolicy;
  /** How long what has ended is kept. */
  readonly retention: RetentionPolicy;
  /** Wall-clock milliseconds. */
  readonly now: () => Millis;
  /** Gets failed attempts, kills and unreadable files. */
  readonly log: Logger;
  /** What a visit has read of a runner's file, for delivery. Must not throw. */
  readonly onRead: (sessionId: string, read: PassRead) => void;
  /** A message will not be answered now, and why, as one sentence. Must not throw. */
  readonly onUnanswered: (reason: string) => void;
}

/** The visits of a host to its sessions, and what is remembered between them. */
export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #vitals = new Map<string, Vitals>();
  readonly #forgotAt = new Map<string, Millis>();
  /** Sessions whose owed notices are being sent. */
  readonly #notifying = new Set<string>();

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  /**
   * Visits a session. Gives when to come again in wall-clock milliseconds, `undefined` when only an event can bring
   * something to do. `steadySince`: since when the host's clock and loop have been steady. Rejects when a file of the
   * session cannot be used.
   */
  async visit(id: string, steadySince: Millis): Promise<Millis | undefined> {
    const { sessions, runs, typing, policy, now } = this.#options;
    const session = sessions.known(id);
    if (session === undefined) return undefined;
    const seen = await observe(session.files, this.#sharedReader(session), () => runs.state(session));
    const observation = { ...seen, vitals: this.#vitals.get(id), steadySince };
    const settling = await session.write((files) => settleSession(files, observation, now(), policy));
    const report = await session.write((files) => judgeSession(files, observation, settling, now(), policy));
    if (report.vitals) this.#vitals.set(id, report.vitals);
    else this.#vitals.delete(id);
    if (seen.read.type === 'read') {
      typing.update(session, report.claims, seen.read.container?.progressAt ?? 0, now());
      this.#options.activity.noteClaims(id, report.claims.length > 0);
    }
    this.#noteFindings(session, seen.read);
    await this.#noteModel(session, observation, report);
    this.#noteQueue(session);
    this.#reportAttempts(session, report);
    const nextNoticeAt = await this.#sendOwed(session, report);
    await this.#act(session, report);
    return earliest(report.lookAgainAt, nextNoticeAt);
  }

  /** Drops what is remembered of a session that is gone. */
  forget(sessionId: string): void {
    this.#vitals.delete(sessionId);
    this.#forgotAt.delete(sessionId);
    this.#options.activity.forget(sessionId);
    this.#options.modelTroubles.forget(sessionId);
  }

  /** Whether a visit waits for platforms to take its notices: what the session's runner writes meanwhile is not read by it. */
  isSendingNotices(sessionId: string): boolean {
    return this.#notifying.has(sessionId);
  }

  /** A visit's read is delivery's too: one read of a runner's file for each bell. */
  #sharedReader(session: SessionHandle): OutboundReader {
    const { now, onRead } = this.#options;
    return {
      read: async (asked) => {
        const token = changeToken(session.folder.outbound);
        const request = { ...asked, ...(await session.write((files) => passRequest(files, now()))) };
        const read = await session.reader.read(request);
        // In a moment the runner has committed, and the sweep reads again.
        if (read.type !== 'busy') onRead(session.id, { token, request, read });
        return read;
      },
    };
  }

  async #sendOwed(session: SessionHandle, { notices }: SweepReport): Promise<Millis | undefined> {
    const { sessions, messenger, rates, now, log } = this.#options;
    this.#notifying.add(session.id);
    try {
      return await sendOwedNotices(session, notices, { messenger, sessions, rates, now, log });
    } finally {
      this.#notifying.delete(session.id);
    }
  }

  /** What is wrong with the file as a whole, and with its messages, is noted where they would have been delivered. */
  #noteFindings(session: SessionHandle, read: OutboundRead): void {
    const { counting, noteFinding } = this.#options;
    for (const { name, detail } of impostors(session.folder.outbound)) noteFinding(session, name, detail);
    const acks = read.type === 'read' ? read.refused.filter(({ table }) => table === 'processing_ack') : [];
    for (const { table } of acks) counting.count('rows_refused', table);
    if (acks.length > 0) noteFinding(session, 'claims-refused', refusedRows(acks));
  }

  /** Notes what keeps the session's model from answering, and says in the log when that begins, changes and ends. */
  async #noteModel(session: SessionHandle, seen: Observation, report: SweepReport): Promise<void> {
    const { modelTroubles, providerOf, onModelBack, now, log } = this.#options;
    const before = modelTroubles.get(session.id);
    const found = modelTrouble(session, seen, report, now());
    if (before === undefined && found === undefined) return;
    const provider = await providerOf(session);
    modelTroubles.note(session.id, found && { ...found, provider });
    if (found !== undefined && (found.kind !== before?.kind || found.reason !== before.reason)) {
      log.warn({ session: session.id, provider, ...found }, 'the model of a session is in the way');
    }
    if (found !== undefined || before === undefined) return;
    log.info({ session: session.id, provider: before.provider }, 'the model of a session is not in the way any more');
    const hasAnswered = report.settled.some(({ to }) => to === 'completed');
    if (before.kind !== 'silent' && hasAnswered) onModelBack(before.provider);
  }

  #noteQueue(session: SessionHandle): void {
    const now = this.#options.now();
    const since = session.files.nextDueAt();
    const isDue = since !== undefined && since <= now;
    this.#options.activity.noteDue(session.id, isDue ? { count: session.files.dueCount(now), since } : undefined);
  }

  #reportAttempts(session: SessionHandle, report: SweepReport): void {
    const { counting, log, onUnanswered } = this.#options;
    if (report.settled.length > 0) this.#options.activity.noteFinished(session.id, this.#options.now());
    for (const { messageId, to, ...settled } of report.settled) {
      if (to === 'completed') continue;
      counting.count('attempts_failed', to);
      const error = 'error' in settled ? settled.error : '';
      log.warn({ session: session.id, message: messageId, to, reason: error }, 'attempt failed');
      if (to === 'failed') onUnanswered(`The message was given up: ${error}`);
      if (to === 'deferred' && 'isTold' in settled && settled.isTold) {
        onUnanswered(`The message waits for the model: ${error}`);
      }
    }
  }

  async #act(session: SessionHandle, { verdict }: SweepReport): Promise<void> {
    const { runs, counting, log } = this.#options;
    switch (verdict.type) {
      case 'wake':
        void runs.wake(session);
        return;
      case 'kill':
        counting.count('kills', verdict.reason);
        log.warn(
          { session: session.id, run: verdict.runId, reason: verdict.reason, tool: verdict.tool },
          'killing a run',
        );
        void runs.stop(session, verdict.reason).catch((error: unknown) => {
          log.error({ session: session.id, error: messageOf(error) }, 'a run could not be stopped');
        });
        return;
      case 'nothing':
        if (verdict.reason !== 'idle') return;
        await this.#forgetOld(session);
        session.closeFile();
        return;
    }
  }

  /** Forgets what ended long ago, now and then and a batch at a time. */
  async #forgetOld(session: SessionHandle): Promise<void> {
    const { now, retention } = this.#options;
    const at = now();
    if (at - (this.#forgotAt.get(session.id) ?? Number.NEGATIVE_INFINITY) < FORGET_EVERY_MS) return;
    this.#forgotAt.set(session.id, at);
    await forgetInSession(session, retention, at);
  }
}

/** What keeps the session's model from answering, by its own file or by what its run says of itself. */
function modelTrouble(
  session: SessionHandle,
  { run, read }: Observation,
  { claims }: SweepReport,
  now: Millis,
): ModelTrouble | undefined {
  const deferred = session.files.deferrals.get();
  if (deferred !== undefined) return deferred;
  const container = read.type === 'read' ? read.container : undefined;
  if (run.type !== 'live' || container?.runId !== run.runId || claims.length === 0) return undefined;
  const wait = container.tools.find(({ name }) => name === MODEL_WAIT);
  if (wait === undefined) return undefined;
  // When it began is a container's word.
  const since = Math.min(Math.max(wait.startedAt, run.since), now);
  return { kind: 'silent', reason: 'It was asked and gives no sign.', since, retryAt: null, messages: claims.length };
}

function earliest(a: Millis | undefined, b: Millis | undefined): Millis | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
