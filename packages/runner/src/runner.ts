/**
 * The agent's side of a session, for one run: claims what is due, works it off in turns with a provider, and ends each
 * claim in one transaction with the replies of its turn.
 *
 *   look ─▶ claimed ─▶ poison ......... failed alone
 *                  ├─ /stop, /clear ... obeyed at once, also while a turn runs
 *                  ├─ an answer ....... to the running turn that waits for it
 *                  ├─ a script ........ decides whether its task goes on to the model
 *                  └─ work ............ waits for a turn of its place, or is fed into the one that runs
 *
 * Nothing here reads a clock or waits by itself: time comes in through `Clock`, the host's commits through `Bell`.
 */
import {
  type Address,
  type ClaimLimits,
  ClaimLostError,
  type ClaimResult,
  type Clock,
  type Destination,
  isBusy,
  type Json,
  type JsonObject,
  type Millis,
  type NewOutbound,
  type Outcome,
  type Retention,
  type RunnerSession,
} from '@nanoclaw/session-db';
import type { AgentOptions } from './agent-options.ts';
import { type Commit, committer } from './commit.ts';
import type { Content } from './content.ts';
import {
  addressPlace,
  type Batch,
  type ClaimedItem,
  followUp,
  type Intake,
  sortIntake,
  withoutEarlier,
  withWork,
} from './intake.ts';
import { Progress } from './progress.ts';
import { instructionsText } from './prompt.ts';
import type { Provider, Usage } from './provider.ts';
import { type RunScript, SCRIPT_TIMEOUT_MS, scriptVerdict } from './task-script.ts';
import { type Ending, MODEL_SILENT, RunningTurn } from './turn.ts';

/**
 * Hears the host's commits: the `Doorbell` of session-db, or what a simulation has in its place. A deaf one costs a
 * second, never a message: that often the runner looks by itself.
 */
export interface Bell {
  /** Calls `heard` whenever the host may have committed; the result ends it. */
  listen(heard: () => void): () => void;
}

/** How a run paces itself: each figure is a whole number from 1. */
export interface RunnerPolicy {
  /** How many messages one prompt, and what waits for the next, may hold together. */
  readonly messagesPerPrompt: number;
  /** How long a run without anything to do stays. */
  readonly idleExitMs: Millis;
  readonly heartbeatEveryMs: Millis;
  /** How long a turn may go on after `stop`, before it is aborted. */
  readonly stopGraceMs: Millis;
  /** How long a provider may take to end a turn that was aborted. */
  readonly abortMaxMs: Millis;
  /** How long a tool waits for the host's answer to its request, before it says that the answer will come later. */
  readonly requestWaitMs: Millis;
  /** When a model that gives no sign, while it waits for no tool, is said to be silent. */
  readonly modelQuietMs: Millis;
  /** When it counts as unavailable, and its turn ends. */
  readonly modelSilenceMaxMs: Millis;
}

/**
 * The figures of PROTOCOL.md where it has them; an abort with its commit stays within a second. A silence is said well before the
 * host would end the run as stuck (60 s), and is too long when not even a long thought or a compaction takes so long.
 */
export const RUNNER_POLICY: RunnerPolicy = {
  messagesPerPrompt: 10,
  idleExitMs: 300_000,
  heartbeatEveryMs: 5_000,
  stopGraceMs: 3_000,
  abortMaxMs: 700,
  requestWaitMs: 5_000,
  modelQuietMs: 30_000,
  modelSilenceMaxMs: 300_000,
};

/** What a run is made of: the session, who answers, which agent it is, and what the world gives. */
export interface RunnerOptions {
  readonly session: RunnerSession;
  readonly provider: Provider;
  readonly agent: AgentOptions;
  readonly clock: Clock;
  readonly bell: Bell;
  readonly runScript: RunScript;
  readonly policy?: Partial<RunnerPolicy>;
}

/** Why a run has ended. Whatever it had claimed has been acknowledged, unless it was fenced. */
export type RunEnd =
  | { readonly type: 'idle' }
  | { readonly type: 'stopped' }
  /** Another run is live, or none: this one wrote nothing more. */
  | {
      readonly type: 'fenced';
      /** The run that is live; `undefined`: none is. */
      readonly liveRunId: string | undefined;
    }
  /** The provider went on after it was told to stop; the process has to end for it to end. */
  | { readonly type: 'abort-timeout' };

/** One run of an agent on its session: `run` works until it is over, `stop` asks it to leave. */
export class Runner {
  readonly #session: RunnerSession;
  readonly #provider: Provider;
  readonly #agent: AgentOptions;
  readonly #clock: Clock;
  readonly #bell: Bell;
  readonly #runScript: RunScript;
  readonly #policy: RunnerPolicy;
  readonly #commit: Commit;
  readonly #progress: Progress;

  /** The host has committed since the last look, or may have. */
  #isRung = true;
  /** How long to leave `inbound.db` alone after it could not be read. */
  #napMs: Millis = NAP_MIN_MS;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #nextDueAt: Millis | undefined;
  /** The last claim was cut short by its limits. */
  #isMoreDue = false;
  /** When there was last something to do. */
  #activeAt: Millis;
  #prunedAt = Number.NEGATIVE_INFINITY;
  #waiting: readonly Batch[] = [];
  readonly #gated = new Map<string, AbortController>();
  #turn: RunningTurn | undefined;
  #destinations: readonly Destination[] = [];
  #lastId = 0;

  #stop: 'no' | 'asked' | 'at-once' = 'no';
  #cancelGrace: (() => void) | undefined;
  #ended: RunEnd | { readonly type: 'broken'; readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;
  #isWoken = false;

  /** Throws `RangeError` for a policy figure that is no positive whole number. */
  constructor(options: RunnerOptions) {
    this.#session = options.session;
    this.#provider = options.provider;
    this.#agent = options.agent;
    this.#clock = options.clock;
    this.#bell = options.bell;
    this.#runScript = options.runScript;
    this.#policy = checkedPolicy({ ...RUNNER_POLICY, ...options.policy });
    this.#commit = committer(options.clock);
    this.#progress = new Progress(options.session);
    this.#activeAt = options.clock.now();
  }

  /**
   * Works until there is nothing to do for a while, `stop` is called, or another run takes over. To be called once.
   *
   * Rejects when the session's files cannot be used (`SqliteError`, `VersionError`, errors of the file system): what was
   * committed stays, and the host settles the open claims once the process is gone.
   */
  async run(): Promise<RunEnd> {
    const deafen = this.#bell.listen(() => {
      this.#isRung = true;
      this.#wakeUp();
    });
    const endBeats = this.#beats();
    try {
      for (;;) {
        await this.#step();
        if (this.#ended?.type === 'broken') throw this.#ended.error;
        if (this.#ended) return this.#ended;
        await this.#rest();
      }
    } finally {
      deafen();
      endBeats();
      this.#cancelGrace?.();
      for (const script of this.#gated.values()) script.abort();
      this.#turn?.abort('fenced');
      this.#turn?.over();
    }
  }

  /**
   * Asks the run to leave, as a signal does: it claims nothing more, gives a running turn its grace, ends its claims and returns. A second
   * call ends the grace.
   */
  stop(): void {
    if (this.#ended) return;
    if (this.#stop === 'no') {
      this.#stop = 'asked';
      this.#cancelGrace = this.#clock.setTimer(this.#policy.stopGraceMs, () => this.stop());
    } else {
      this.#stop = 'at-once';
    }
    this.#wakeUp();
  }

  async #step(): Promise<void> {
    if (this.#ended) return;
    if (this.#stop !== 'no') return this.#leave({ type: 'stopped' });
    const intake = this.#look();
    if (intake) await this.#take(intake);
    if (this.#ended) return;
    this.#progress.retry(this.#clock.now());
    this.#feed();
    this.#startTurn();
    if (this.#isIdle()) await this.#prune();
    if (this.#isIdle() && this.#clock.now() - this.#activeAt >= this.#policy.idleExitMs) this.#ended = { type: 'idle' };
  }

  /** Forgets old rows that the host has taken over, when there is nothing better to do. */
  async #prune(): Promise<void> {
    const now = this.#clock.now();
    if (Math.abs(now - this.#prunedAt) < PRUNE_EVERY_MS) return;
    const removed = await this.#commit(() => this.#session.prune(now, RETENTION));
    if (removed === 0) this.#prunedAt = now;
  }

  /** Ends the run once its turn is over, or at once when there is no more time. */
  async #leave(end: RunEnd): Promise<void> {
    for (const script of this.#gated.values()) script.abort();
    if (this.#stop === 'at-once') this.#turn?.abort('run-stops');
    const left = this.#waiting.flatMap((batch) => batch.items);
    this.#waiting = [];
    if (left.length > 0) await this.#finish(left, { type: 'failed', reason: NOT_BEGUN });
    if (this.#isIdle()) this.#ended ??= end;
  }

  #isIdle(): boolean {
    return this.#turn === undefined && this.#waiting.length === 0 && this.#gated.size === 0;
  }

  /** Claims, if the host may have written something or something is due; `undefined` when there is nothing to see. */
  #look(): Intake | undefined {
    const now = this.#clock.now();
    const isDue = this.#nextDueAt !== undefined && this.#nextDueAt <= now;
    // Either way: the clock may have been set back.
    const isLongAgo = Math.abs(now - this.#lookedAt) >= LOOK_EVERY_MS;
    const room = this.#policy.messagesPerPrompt - this.#held();
    if (!this.#isRung && !isDue && !isLongAgo && !(this.#isMoreDue && room > 0)) return undefined;

    const result = this.#claim(now, Math.max(0, room));
    switch (result.type) {
      case 'unreadable':
        this.#isRung = true;
        this.#napMs = Math.min(this.#napMs * 2, LOOK_EVERY_MS);
        return undefined;
      case 'fenced':
        this.#turn?.abort('fenced');
        this.#turn?.over();
        this.#ended = result;
        return undefined;
      case 'claimed':
        if (result.claimed.length > 0) this.#activeAt = now;
        this.#isRung = false;
        this.#napMs = NAP_MIN_MS;
        this.#lookedAt = now;
        this.#nextDueAt = result.nextDueAt;
        this.#isMoreDue = result.claimed.length >= Math.min(Math.max(0, room), CONTROL_MAX);
        return sortIntake(result.claimed, (id) => this.#turn?.isAwaiting(id) ?? false);
    }
  }

  /** How many messages are claimed and wait for a turn. */
  #held(): number {
    return this.#gated.size + this.#waiting.reduce((sum, batch) => sum + batch.items.length, 0);
  }

  #claim(now: Millis, room: number): ClaimResult {
    const limits: ClaimLimits = { work: room, control: CONTROL_MAX, context: CONTEXT_MAX };
    try {
      return this.#session.claim(now, limits);
    } catch (error) {
      if (isBusy(error)) return { type: 'unreadable', reason: 'The host is reading our file.' };
      throw error;
    }
  }

  async #take(intake: Intake): Promise<void> {
    for (const { claim, reason } of intake.poison) await this.#finish([{ claim }], { type: 'failed', reason });
    for (const item of intake.awaited) this.#turn?.answer(item);
    for (const item of intake.gated) this.#gate(item);
    this.#waiting = withWork(this.#waiting, intake.work);
    for (const item of intake.clears) await this.#clear(item);
    for (const item of intake.stops) await this.#stopTurn(item);
  }

  /** `/clear`: the next turn starts afresh. One that runs goes on to its end, and leaves nothing to resume from. */
  async #clear(command: ClaimedItem): Promise<void> {
    this.#turn?.forget();
    await this.#commit(() => this.#session.setContinuation(this.#provider.name, undefined, this.#clock.now()));
    await this.#finish([command], { type: 'completed' }, [this.#say(command, CLEARED)]);
  }

  /** `/stop`: what was asked before is over and done with, without an answer. */
  async #stopTurn(command: ClaimedItem): Promise<void> {
    const place = addressPlace(command.message.address);
    const { dropped, rest } = withoutEarlier(this.#waiting, place, command.message.seq);
    this.#waiting = rest;
    const turn = this.#turn;
    if (turn === undefined || turn.isOver) {
      const text = dropped.length > 0 ? STOPPED : NOTHING_TO_STOP;
      await this.#finish([command, ...dropped], { type: 'completed' }, [this.#say(command, text)]);
      return;
    }
    turn.abort('stop-command', command);
    if (dropped.length > 0) await this.#finish(dropped, { type: 'completed' });
  }

  /** Runs a task's script; only what it lets through waits for a turn. */
  #gate(item: ClaimedItem): void {
    const { content, claim } = item;
    if (content.type !== 'task' || content.script === undefined) return;
    const { script } = content;
    const toolUseId = `script:${claim.messageId}:${claim.attempt}`;
    const controller = new AbortController();
    this.#gated.set(toolUseId, controller);
    const startedAt = this.#clock.now();
    const passed = async (): Promise<void> => {
      this.#progress.toolStarted({ toolUseId, name: 'task script', startedAt, timeoutMs: SCRIPT_TIMEOUT_MS });
      const verdict = scriptVerdict(await this.#runScript(script, controller.signal));
      this.#progress.toolEnded(toolUseId, this.#clock.now());
      if (verdict.type === 'skip') await this.#finish([item], { type: 'completed' });
      else if (verdict.type === 'failed') await this.#finish([item], verdict);
      else {
        this.#waiting = withWork(this.#waiting, [withScriptData(item, content, verdict.data)]);
      }
    };
    void this.#guarded(passed).finally(() => {
      this.#gated.delete(toolUseId);
      this.#activeAt = this.#clock.now();
      this.#wakeUp();
    });
  }

  /** Gives the running turn what has come in for its place. */
  #feed(): void {
    const next = this.#turn && followUp(this.#waiting, this.#turn.place);
    if (next && this.#turn?.push(next.batch)) this.#waiting = next.rest;
  }

  #startTurn(): void {
    if (this.#turn !== undefined) return;
    const [batch, ...rest] = this.#waiting;
    if (batch === undefined) return;
    this.#waiting = rest;
    this.#destinations = this.#session.routing()?.destinations ?? this.#destinations;
    const { assistantName, timeZone } = this.#agent;
    const turn = new RunningTurn(batch, {
      session: this.#session,
      provider: this.#provider,
      agent: this.#agent,
      clock: this.#clock,
      commit: this.#commit,
      progress: this.#progress,
      newId: () => this.#newId(),
      destinations: this.#destinations,
      instructions: instructionsText(assistantName, timeZone, this.#destinations),
      abortMaxMs: this.#policy.abortMaxMs,
      requestWaitMs: this.#policy.requestWaitMs,
      silence: this.#policy,
    });
    this.#turn = turn;
    void this.#guarded(() => this.#carryOut(turn, batch)).finally(() => {
      turn.over();
      this.#turn = undefined;
      this.#activeAt = this.#clock.now();
      this.#wakeUp();
    });
  }

  async #carryOut(turn: RunningTurn, batch: Batch): Promise<void> {
    const { name } = this.#provider;
    const continuation = this.#session.continuation(name);
    const isLastChance = batch.items.some((item) => item.message.triesSpent >= FRESH_AT_TRIES);
    const isTrial = continuation !== undefined && isLastChance;
    let ending = await turn.converse(isTrial ? undefined : continuation, isTrial);
    let startedAfresh = isTrial && ending.type === 'result';

    const isLost = ending.type === 'error' && ending.kind === 'failed' && ending.lostContinuation;
    if (isLost && continuation !== undefined && !isTrial) {
      await this.#commit(() => this.#session.quarantineContinuation(name, this.#clock.now()));
      if (turn.abortCause === undefined) {
        ending = await turn.converse(undefined, false);
        startedAfresh = ending.type === 'result';
      }
    }
    await this.#conclude(turn, ending, startedAfresh);
  }

  /** Ends the turn's claims with its replies, in one transaction. */
  async #conclude(turn: RunningTurn, ending: Ending, startedAfresh: boolean): Promise<void> {
    if (turn.isOver) return;
    const { outcome, texts } = conclusion(turn, ending);
    const said = startedAfresh ? [{ address: turn.origin?.address ?? null, text: STARTED_AFRESH }, ...texts] : texts;
    const replies = said.map((reply) => turn.reply(reply));
    const usage = (ending.type === 'abort-timeout' ? undefined : ending.usage) ?? UNKNOWN_USAGE;
    await this.#commitUnlessFenced(() => {
      const now = this.#clock.now();
      this.#session.finish(turn.claims, outcome, replies, now, {
        startedAt: turn.startedAt,
        endedAt: now,
        outcome,
        messageCount: turn.messageCount,
        ...usage,
      });
      turn.over();
    });
    if (ending.type === 'abort-timeout') {
      this.#ended ??= { type: 'abort-timeout' };
      await this.#leave({ type: 'abort-timeout' });
    }
  }

  async #finish(
    items: readonly Pick<ClaimedItem, 'claim'>[],
    outcome: Outcome,
    replies: readonly NewOutbound[] = [],
  ): Promise<void> {
    const claims = items.map((item) => item.claim);
    await this.#commitUnlessFenced(() => this.#session.finish(claims, outcome, replies, this.#clock.now()));
  }

  async #commitUnlessFenced(transaction: () => void): Promise<void> {
    try {
      await this.#commit(() => {
        if (this.#ended?.type !== 'fenced') transaction();
      });
    } catch (error) {
      if (!(error instanceof ClaimLostError)) throw error;
      this.#ended = { type: 'fenced', liveRunId: undefined };
    }
  }

  /** What the runner itself says, to whoever gave a command. */
  #say(command: ClaimedItem, text: string): NewOutbound {
    const { address, id: inReplyTo } = command.message;
    return outbound(this.#newId(), address, inReplyTo, { text });
  }

  /** Unique among all runs, derived, and safe as the name of a folder. */
  #newId(): string {
    this.#lastId += 1;
    return `${this.#session.runId}.${this.#lastId}`;
  }

  /** Work beside the loop: its trouble ends the run. */
  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#ended = { type: 'broken', error };
    }
  }

  /** From a timer of its own: a long turn is no silence. */
  #beats(): () => void {
    let cancel: (() => void) | undefined;
    const next = (): void => {
      cancel = this.#clock.setTimer(this.#policy.heartbeatEveryMs, () => {
        try {
          this.#session.beat(this.#clock.now());
          next();
        } catch (error) {
          this.#ended = { type: 'broken', error };
          this.#wakeUp();
        }
      });
    };
    next();
    return () => cancel?.();
  }

  #wakeUp(): void {
    this.#isWoken = true;
    this.#wake?.();
  }

  /** Waits for a call, or until it is time to look again. */
  async #rest(): Promise<void> {
    if (!this.#isWoken) {
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.setTimer(this.#restMs(), resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    }
    this.#wake = undefined;
    this.#isWoken = false;
  }

  #restMs(): Millis {
    const now = this.#clock.now();
    const waits = [LOOK_EVERY_MS];
    if (this.#isRung) waits.push(this.#napMs);
    if (this.#progress.isUnreported) waits.push(NAP_MIN_MS);
    if (this.#nextDueAt !== undefined) waits.push(this.#nextDueAt - now);
    return Math.max(1, Math.min(...waits));
  }
}

/** The protocol's worst case, for a bell that was not heard. */
const LOOK_EVERY_MS: Millis = 1_000;
const NAP_MIN_MS: Millis = 5;

const PRUNE_EVERY_MS: Millis = 3_600_000;
/** A month in which a message can be edited or reacted to by its number. */
const RETENTION: Retention = { keepMs: 30 * 86_400_000, batch: 200 };

const CONTROL_MAX = 20;
const CONTEXT_MAX = 30;

/**
 * With four tries spent a message has one left (INBOUND_RETRY): that one starts a conversation of its own, in
 * case it is the old one that kills the runner. The old one is given up only if that helps.
 */
const FRESH_AT_TRIES = 4;

const UNKNOWN_USAGE: Usage = { inputTokens: null, outputTokens: null, cacheReadTokens: null, costUsd: null };

const NOT_BEGUN = 'The run was asked to stop before the message had its turn.';
const STOPPED = 'Stopped. What was sent or changed until now stays; write again to go on.';
const NOTHING_TO_STOP = 'Nothing is running, so there is nothing to stop.';
const CLEARED = 'The conversation is cleared: the next message starts a new one. Files, tasks and places are kept.';
const STARTED_AFRESH =
  'The earlier conversation could not be taken up again, so this is a new one. Files and tasks are kept; repeat what I should still know.';

/** What the end of a turn means for its claims and for the people who wait. */
function conclusion(
  turn: RunningTurn,
  ending: Ending,
): { outcome: Outcome; texts: { address: Address | null; text: string }[] } {
  if (ending.type === 'result') return { outcome: { type: 'completed' }, texts: turn.replies(ending.text) };
  if (turn.abortCause === 'stop-command') {
    return { outcome: { type: 'completed' }, texts: [{ address: turn.origin?.address ?? null, text: STOPPED }] };
  }
  return { outcome: failure(turn, ending), texts: [] };
}

/** Whether it was the model that was in the way, which says nothing about the messages. */
function failure({ abortCause }: RunningTurn, ending: Exclude<Ending, { type: 'result' }>): Outcome {
  if (abortCause === 'model-silent') {
    return { type: 'deferred', kind: 'unavailable', reason: MODEL_SILENT, retryAfterMs: null };
  }
  if (ending.type === 'abort-timeout') {
    return { type: 'failed', reason: 'The provider did not end the turn when it was told to.' };
  }
  const { reason } = ending;
  if (ending.kind === 'refused' || ending.kind === 'unavailable') {
    return { type: 'deferred', kind: ending.kind, reason, retryAfterMs: wholeMs(ending.retryAfterMs) };
  }
  return { type: 'failed', reason };
}

/** A provider's figure, as the session's file takes it. */
function wholeMs(ms: Millis | undefined): Millis | null {
  return ms === undefined || !(ms >= 0) ? null : Math.ceil(Math.min(ms, Number.MAX_SAFE_INTEGER));
}

/** In the message as well, for providers that read messages and not the prompt. */
function withScriptData(item: ClaimedItem, content: Content & { type: 'task' }, data: Json | undefined): ClaimedItem {
  if (data === undefined) return item;
  const message = { ...item.message, content: { ...item.message.content, data } };
  return { ...item, message, content: { ...content, data } };
}

function outbound(id: string, address: Address | null, inReplyTo: string, content: JsonObject): NewOutbound {
  return { id, kind: 'chat', address, inReplyTo, content };
}

function checkedPolicy(policy: RunnerPolicy): RunnerPolicy {
  for (const [name, value] of Object.entries(policy)) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new RangeError(`${name} must be a whole number from 1, and is ${value}.`);
  }
  return policy;
}
