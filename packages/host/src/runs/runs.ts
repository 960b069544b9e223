/**
 * Hop 4: a session gets a run unless it has one. Names the live run in the session's file before its process starts, and
 * takes the name back after the exit that the runtime confirmed.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import {
  Containers,
  type Driver,
  exitPhrase,
  type Run,
  type RunEnd,
  type RunSpec,
  type Share,
  SpawnError,
  specHash,
} from '@nanoclaw/containers';
import type { Registry } from '@nanoclaw/registry';
import { lastBeat, type Millis, type RunId, runId } from '@nanoclaw/session-db';
import { ending, oneLine } from '@nanoclaw/session-db/text';
import type { EndedRun, RunState } from '@nanoclaw/sweep';
import { isSessionTrouble, messageOf, systemCode } from '../errors/index.ts';
import type { SessionHandle, Sessions } from '../session/index.ts';
import { type RunContext, runSpec } from './run-spec.ts';

/** What starting and stopping runs needs. */
export interface RunsOptions {
  readonly driver: Driver;
  readonly registry: Registry;
  readonly sessions: Sessions;
  readonly context: RunContext;
  readonly now: () => Millis;
  readonly newId: () => string;
  /** What is done for a session before a run of it is started. */
  readonly beforeStart: (session: SessionHandle) => Promise<void>;
  /** Whether a session's run has something in hand, as far as is known. */
  readonly isBusy: (sessionId: string) => boolean;
  /** When the session's run last ended an attempt at a message, as far as is known. */
  readonly finishedAt: (sessionId: string) => Millis | undefined;
  /** A run is stopped because it has ended nothing for too long while others wait for its place. Must not throw. */
  readonly onUnfinished: (sessionId: string, runId: string, heldMs: Millis) => void;
  /** A run was started. Must not throw. */
  readonly onStarted: () => void;
  /** What is known of the session's run has changed: it began, failed to begin, or ended. Must not throw. */
  readonly onChange: (sessionId: string) => void;
  /** A run could not be started, and why, as one sentence. Must not throw. */
  readonly onWakeFailed: (sessionId: string, reason: string) => void;
}

/** A run between the call and the runtime's word. */
interface Underway {
  readonly type: 'starting' | 'stopping';
  readonly runId: string;
  readonly since: Millis;
}

/** The runs of a host: at most one for each session. */
export class Runs {
  readonly #options: RunsOptions;
  readonly #containers: Containers;
  readonly #underway = new Map<string, Underway>();
  readonly #ended = new Map<string, EndedRun>();
  /** By session, while the name of a run that is gone is taken back. */
  readonly #leaving = new Map<string, Promise<void>>();
  #isAdopted = false;

  constructor(options: RunsOptions) {
    this.#options = options;
    const { config } = options.context;
    this.#containers = new Containers({
      driver: options.driver,
      runsMax: config.runsMax,
      graceMs: config.stopGraceMs,
      sharesOf: (id) => this.#sharesOf(id),
      beforeStart: (spec) => this.#begin(spec),
      outdatedReason: (run) => this.#outdatedReason(run),
      hasBegun: (run) => this.#hasBegun(run),
      onExit: (ended) => this.#end(ended),
    });
  }

  /**
   * Adopts the runs that an earlier life of the host has left behind, and takes its name back from every session whose
   * run is gone. Gives one sentence for each trouble. Rejects when the runtime cannot be asked: nothing is taken for dead
   * then, nothing is started, and it is asked again by `reconcile` and at each wake.
   */
  async adopt(): Promise<readonly string[]> {
    const { adopted, troubles } = await this.#containers.reconcile();
    const alive = new Set(adopted.map((run) => run.runId));
    this.#isAdopted = true;
    const sessions = this.#options.sessions.all();
    const unusable: string[] = [];
    for (const session of sessions) unusable.push(...(await this.#agree(session, alive)));
    // What nothing could be decided about until now can be looked at.
    for (const { id } of sessions) this.#options.onChange(id);
    return [...troubles, ...unusable];
  }

  /** Makes a session's file agree with which runs are alive. Gives a sentence when that file cannot be used. */
  async #agree(session: SessionHandle, alive: ReadonlySet<string>): Promise<string[]> {
    try {
      const live = session.files.liveRun();
      if (live === undefined) return [];
      if (alive.has(live)) this.#options.sessions.listen(session);
      else await session.write((files) => files.endRun(live));
      return [];
    } catch (error) {
      // Its own trouble, and of no other session: the sweep comes back to it.
      if (!isSessionTrouble(error)) throw error;
      return [`The file of session ${session.id} cannot be used (${messageOf(error)}); it was left as it is.`];
    }
  }

  /**
   * Makes what is known agree with what is alive; to be called now and then, because an end that nobody told would hold
   * its place for ever. Gives one sentence for each trouble. Rejects when the runtime cannot be asked.
   */
  async reconcile(): Promise<readonly string[]> {
    if (!this.#isAdopted) return this.adopt();
    return (await this.#containers.reconcile()).troubles;
  }

  /** What the host knows of the session's run, as the sweep judges it. */
  state(session: SessionHandle): RunState {
    const named = this.#isAdopted ? undefined : session.files.liveRun();
    // It may be alive: until the runtime could be asked, nothing is decided about it.
    if (named !== undefined) return { type: 'stopping', runId: named, since: 0 };
    const underway = this.#underway.get(session.id);
    if (underway) return underway;
    const run = this.#containers.running(session.id);
    if (run) return { type: 'live', runId: run.runId, since: run.startedAt, heartbeatAt: this.#heartbeat(session) };
    const ended = this.#ended.get(session.id);
    return { type: 'none', ...(ended && { ended }) };
  }

  /**
   * Starts a run for the session unless it has one. A start that fails is no exception: it is what the session's run then
   * was, and the sweep counts it.
   */
  async wake(session: SessionHandle): Promise<void> {
    if (this.#underway.has(session.id) || this.#containers.running(session.id)) return;
    const { registry, context, newId, now, beforeStart, onStarted, onChange, onWakeFailed } = this.#options;
    const run = runId(newId());
    this.#underway.set(session.id, { type: 'starting', runId: run, since: now() });
    try {
      if (!this.#isAdopted) await this.adopt();
      const agent = await registry.agentGroup(session.agentGroupId);
      if (agent === undefined) throw new Error('The agent of this session is not in the registry.');
      await beforeStart(session);
      const started = this.#containers.wake(await runSpec(session, agent, run, context));
      this.makeRoom();
      await started;
      onStarted();
    } catch (error) {
      // Nothing of the run is alive.
      await this.#takeNameBack(session, run);
      this.#ended.set(session.id, { runId: run, livedMs: 0, how: { type: 'failed', reason: messageOf(error) } });
      onWakeFailed(session.id, messageOf(error));
    } finally {
      this.#underway.delete(session.id);
      onChange(session.id);
    }
  }

  /**
   * Stops the session's run, after its grace; one that is only starting is stopped once it has started. False when there
   * was none. Rejects when the runtime could not: the run is alive still.
   */
  async stop(session: SessionHandle, reason: string): Promise<boolean> {
    const run = this.#containers.running(session.id);
    if (run) this.#underway.set(session.id, { type: 'stopping', runId: run.runId, since: this.#options.now() });
    try {
      const exit = await this.#containers.stop(session.id, reason);
      await this.#leaving.get(session.id);
      return exit !== undefined;
    } finally {
      if (run) this.#underway.delete(session.id);
      this.#options.onChange(session.id);
    }
  }

  /** The sessions that wait for a place. */
  waiting(): readonly string[] {
    return this.#containers.waitingSessions();
  }

  /** The sessions whose run is alive. */
  running(): string[] {
    const { sessions } = this.#options;
    return sessions.all().flatMap(({ id }) => (this.#containers.running(id) ? [id] : []));
  }

  /**
   * Stops the runs that the host would start differently now and that have nothing in hand, and gives their sessions;
   * what they are needed for starts them anew. Rejects when one could not be stopped: it is alive still.
   */
  async replaceOutdatedRuns(): Promise<string[]> {
    const replaced = await this.#containers.replaceOutdatedRuns(({ sessionId }) => this.#options.isBusy(sessionId));
    return replaced.map(({ sessionId }) => sessionId);
  }

  /** Starts nothing more. Runs go on, for the next host to adopt. */
  close(): void {
    this.#containers.close();
  }

  /** Why a run that an earlier life of the host has left behind is not what this one would start. */
  async #outdatedReason(run: Run): Promise<string | undefined> {
    const { sessions, registry, context } = this.#options;
    const session = sessions.known(run.sessionId);
    const agent = session && (await registry.agentGroup(session.agentGroupId));
    if (session === undefined || agent === undefined) return 'its session is not in the registry any more';
    try {
      const wanted = await runSpec(session, agent, runId(run.runId), context);
      return specHash(wanted) === run.specHash ? undefined : 'the host would start it differently now';
    } catch (error) {
      // What cannot be started now would be missed: better that it goes on as it is.
      if (error instanceof SpawnError) return undefined;
      throw error;
    }
  }

  /**
   * Where sessions wait for a place, one that only stays in case more comes is asked to leave; else one that has ended nothing
   * for longer than it may, whatever it says of its progress. To be called now and then while sessions wait.
   */
  makeRoom(): void {
    const { sessions, isBusy, onUnfinished, context } = this.#options;
    for (const waiting of this.#containers.waitingSessions()) {
      const inTheWay = this.#containers.inTheWayOf(waiting).filter(({ sessionId }) => !this.#underway.has(sessionId));
      const resting = inTheWay.find(({ sessionId }) => !isBusy(sessionId));
      const run = resting ?? inTheWay.toSorted((a, b) => this.#heldMs(b) - this.#heldMs(a))[0];
      const session = run && sessions.known(run.sessionId);
      if (run === undefined || session === undefined) continue;
      if (run !== resting) {
        const heldMs = this.#heldMs(run);
        if (heldMs < context.config.placeMaxMs) continue;
        onUnfinished(session.id, run.runId, heldMs);
      }
      // One that cannot be stopped keeps its place, as it would have without being asked.
      void this.stop(session, 'another session needs its place').catch(() => undefined);
    }
  }

  /** How long the run has had its place without ending an attempt at a message, in milliseconds. */
  #heldMs({ sessionId, startedAt }: Run): Millis {
    return this.#options.now() - Math.max(startedAt, this.#options.finishedAt(sessionId) ?? startedAt);
  }

  /** So that neither one agent nor one chat can have all places, where there are others. */
  #sharesOf(sessionId: string): readonly Share[] {
    const { sessions, context } = this.#options;
    const session = sessions.known(sessionId);
    if (session === undefined) return [];
    const { agents, chats } = sessions.counts;
    const { runsMax } = context.config;
    const part = (ofAll: number) => Math.max(1, Math.floor(runsMax * ofAll));
    return [
      { name: `agent/${session.agentGroupId}`, most: agents > 1 ? part(AGENT_SHARE) : runsMax },
      { name: `chat/${session.chat}`, most: chats > 1 ? part(CHAT_SHARE) : runsMax },
    ];
  }

  /** Whether the program of the run has opened its session. */
  async #hasBegun(run: Run): Promise<boolean> {
    const session = this.#options.sessions.known(run.sessionId);
    if (session === undefined) return true;
    const read = await session.reader.read({ ...session.files.cursor(), again: [] });
    // Of the other findings none tells, and each is looked into by the sweep.
    return read.type === 'read' ? read.container?.runId === run.runId : read.type !== 'absent';
  }

  async #begin(spec: RunSpec): Promise<void> {
    const session = this.#options.sessions.known(spec.sessionId);
    if (session === undefined) throw new Error(`This host does not know session ${spec.sessionId}.`);
    await session.write((files) => files.beginRun(runId(spec.runId), this.#options.now()));
    this.#options.sessions.listen(session);
  }

  #end({ run, exit, stopReason, problem }: RunEnd): void {
    const left = stopReason !== undefined || (exit.type === 'code' && exit.code === 0) || exit.type === 'unknown';
    const reason =
      problem === undefined
        ? `The agent ended with ${exitPhrase(exit)}.${lastWords(run.logFile)}`
        : new SpawnError(problem).message;
    this.#ended.set(run.sessionId, {
      runId: run.runId,
      livedMs: problem === undefined ? Math.max(0, this.#options.now() - run.startedAt) : 0,
      how: left ? { type: 'left' } : { type: 'failed', reason },
    });
    const session = this.#options.sessions.known(run.sessionId);
    if (session) this.#leave(session, runId(run.runId));
    this.#options.sessions.unlisten(run.sessionId);
    this.#options.onChange(run.sessionId);
  }

  #leave(session: SessionHandle, run: RunId): void {
    const left = this.#takeNameBack(session, run).finally(() => {
      if (this.#leaving.get(session.id) === left) this.#leaving.delete(session.id);
    });
    this.#leaving.set(session.id, left);
  }

  /** Takes the name of a run that is gone back from its session's file. */
  async #takeNameBack(session: SessionHandle, run: RunId): Promise<void> {
    try {
      await session.write((files) => files.endRun(run));
    } catch (error) {
      // Locked just now, or the disk is full: the sweep's next visit does it, since the end of the run is known by then.
      if (!isSessionTrouble(error)) throw error;
    }
  }

  #heartbeat(session: SessionHandle): Millis | undefined {
    // As it was written, in the future too: the sweep counts an advance, and a time cut off at now would always advance.
    return lastBeat(session.folder.outbound.heartbeat, Number.POSITIVE_INFINITY);
  }
}

/** Of all places one agent has at most so many, and one chat, where there is another. */
const AGENT_SHARE = 3 / 4;
const CHAT_SHARE = 1 / 2;

/** The last line that a run has written, as a sentence to append; empty when there is none. The agent's words: harmless. */
function lastWords(logFile: string): string {
  const last = endOf(logFile).trimEnd().split('\n').at(-1) ?? '';
  const line = oneLine(ending(last, LAST_WORDS_LENGTH_MAX), LAST_WORDS_LENGTH_MAX);
  return line === '' ? '' : ` Its last words: “${line}”.`;
}

/** The end of a file, which may be as long as a run has made it; empty when it cannot be read. */
function endOf(file: string): string {
  try {
    const descriptor = openSync(file, 'r');
    try {
      const { size } = fstatSync(descriptor);
      const bytes = Buffer.alloc(Math.min(size, 4 * LAST_WORDS_LENGTH_MAX));
      return bytes.toString('utf8', 0, readSync(descriptor, bytes, 0, bytes.length, size - bytes.length));
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return '';
  }
}

const LAST_WORDS_LENGTH_MAX = 200;
