/**
 * One turn: the messages it took, what it has said so far, and what it waits for. The runner decides when it begins and
 * what becomes of it; this file talks with the provider and serves the tools.
 */
import {
  type Address,
  type Claim,
  type Clock,
  type Destination,
  type InboundMessage,
  type JsonObject,
  type Millis,
  type NewOutbound,
  type PastEffect,
  type RunnerSession,
  type SentRow,
  SqliteError,
} from '@nanoclaw/session-db';
import { MODEL_WAIT } from '@nanoclaw/session-db/protocol';
import type { AgentOptions } from './agent-options.ts';
import type { Commit } from './commit.ts';
import { readContent } from './content.ts';
import { doneEffect, effectKey } from './effects.ts';
import { copyOut, removeCopies } from './files.ts';
import type { Batch, ClaimedItem } from './intake.ts';
import { visibleContent } from './markup.ts';
import type { Progress } from './progress.ts';
import { promptText } from './prompt.ts';
import type { DoneEffect, Prompt, Provider, StartOptions, Turn, TurnEnd, TurnEvent } from './provider.ts';
import { placeKey, type Reply, replies, replyKey } from './reply.ts';
import { Silence, type SilencePolicy } from './silence.ts';
import { agentTools } from './tools/index.ts';
import type { RequestResult, ToolScope } from './tools/scope.ts';
import { ToolInputError } from './tools/tool.ts';

/** What a turn works with. */
export interface TurnPorts {
  readonly session: RunnerSession;
  readonly provider: Provider;
  readonly agent: AgentOptions;
  readonly clock: Clock;
  readonly commit: Commit;
  readonly progress: Progress;
  readonly newId: () => string;
  readonly destinations: readonly Destination[];
  readonly instructions: string;
  /** How long a provider may take to end a turn that was aborted. */
  readonly abortMaxMs: Millis;
  /** How long a tool waits for the host's answer to its request. */
  readonly requestWaitMs: Millis;
  /** When a model that gives no sign is said, and given up. */
  readonly silence: SilencePolicy;
}

/** Why a turn is being ended before its time. */
export type AbortCause = 'stop-command' | 'run-stops' | 'fenced' | 'model-silent';

/** How a conversation with the provider ended. */
export type Ending =
  | TurnEnd
  /** Aborted, and the provider did not obey in time: it may still be at work. */
  | { readonly type: 'abort-timeout' };

export class RunningTurn {
  readonly place: string;
  readonly startedAt: Millis;
  readonly #ports: TurnPorts;
  #items: readonly ClaimedItem[];
  /** Claims that end with this turn without being part of its prompt: answers to its questions, the command to stop it. */
  readonly #attached: ClaimedItem[] = [];
  /** How often this attempt has done the same, by its `effectKey`. */
  readonly #acts = new Map<string, number>();
  /** What tools have shown since the last follow-up, by `replyKey`. */
  readonly #said = new Set<string>();
  /** Something was shown at the origin since the last follow-up. */
  #isVisible = false;
  #isTaking = true;
  #isOver = false;
  #keepsContinuation = true;
  #abortCause: AbortCause | undefined;
  #provided: Turn | undefined;
  readonly #toolUses = new Set<string>();
  readonly #waiters = new Map<string, (answer: InboundMessage | undefined) => void>();
  #giveUp: (() => void) | undefined;
  #break: ((error: unknown) => void) | undefined;
  #cancelAbort: (() => void) | undefined;
  readonly #silence: Silence;

  constructor(batch: Batch, ports: TurnPorts) {
    this.place = batch.place;
    this.#items = batch.items;
    this.#ports = ports;
    this.startedAt = ports.clock.now();
    const onTooLong = () => this.abort('model-silent');
    this.#silence = new Silence(ports.silence, {
      clock: ports.clock,
      onQuiet: (since) => this.#saySilence(since),
      onTooLong,
    });
  }

  /** All claims that end with this turn. */
  get claims(): Claim[] {
    return [...this.#items, ...this.#attached].map((item) => item.claim);
  }

  get messageCount(): number {
    return this.#items.length;
  }

  /** The message that the turn answers: the last one that woke the agent. */
  get origin(): InboundMessage | undefined {
    return this.#items.findLast((item) => item.message.trigger === 'wakes')?.message;
  }

  get abortCause(): AbortCause | undefined {
    return this.#abortCause;
  }

  /** Its claims have been ended: nothing can be added any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * Talks with the provider until its last event, resuming from `continuation`. Never throws for what a provider does;
   * throws what the session's file throws.
   *
   * `isTrial` keeps the provider's new token back until it has answered, so that a trial that fails costs nothing.
   */
  async converse(continuation: string | undefined, isTrial: boolean): Promise<Ending> {
    const { agent, clock } = this.#ports;
    const options: StartOptions = {
      continuation,
      cwd: agent.cwd,
      instructions: this.#ports.instructions,
      model: agent.model,
      effort: agent.effort,
      tools: agentTools(this.#scope()),
      mcpServers: agent.mcpServers ?? {},
      skills: agent.skills ?? [],
    };
    const givenUp = new Promise<Ending>((resolve, reject) => {
      this.#giveUp = () => resolve({ type: 'abort-timeout' });
      this.#break = reject;
    });
    const ending = await Promise.race([this.#talked(options, isTrial), givenUp]);
    this.#silence.end();
    this.#ports.progress.toolsEnded([...this.#toolUses, MODEL_USE], clock.now());
    return ending;
  }

  /** Gives a follow-up to the running turn. False: not taken, it belongs to the next turn. */
  push(batch: Batch): boolean {
    if (this.#isTaking && this.#provided === undefined) return false;
    if (!this.#isTaking || !this.#provided?.push(this.#prompt(batch.items, this.#past(batch.items).map(unanswered)))) {
      this.#isTaking = false;
      return false;
    }
    this.#items = [...this.#items, ...batch.items];
    // What was said before answers what was asked before.
    this.#said.clear();
    this.#isVisible = false;
    return true;
  }

  isAwaiting(messageOutId: string): boolean {
    return this.#waiters.has(messageOutId);
  }

  /** Hands over the answer to a question or request of this turn; its claim ends with the turn. */
  answer(item: ClaimedItem): void {
    this.#attached.push(item);
    if (item.message.inReplyTo !== null) this.#waiters.get(item.message.inReplyTo)?.(item.message);
  }

  /** The conversation is to be forgotten: this turn goes on to its end, takes no more, and leaves no token. */
  forget(): void {
    this.#isTaking = false;
    this.#keepsContinuation = false;
  }

  /** Ends the turn early. `command` is the message that asked for it; its claim ends with the turn. */
  abort(cause: AbortCause, command?: ClaimedItem): void {
    if (command) this.#attached.push(command);
    if (this.#abortCause !== undefined) return;
    this.#abortCause = cause;
    this.#isTaking = false;
    this.#silence.end();
    this.#cancelAbort = this.#ports.clock.setTimer(this.#ports.abortMaxMs, () => this.#giveUp?.());
    this.#provided?.abort(ABORT_REASONS[cause]);
    this.#release();
  }

  /** The replies that a final text amounts to, after what the turn has already said. */
  replies(finalText: string | null): Reply[] {
    return replies(finalText, {
      origin: this.origin?.address ?? null,
      destinations: this.#ports.destinations,
      said: this.#said,
      isVisible: this.#isVisible,
      isAsked: this.#items.some(isAskedByPerson),
    });
  }

  /** A text of this turn as a row: where it goes, and which message it answers. */
  reply({ address, text }: Reply): NewOutbound {
    return this.#outbound(this.#ports.newId(), { kind: 'chat', address, content: { text } });
  }

  /** The turn's claims have been ended, or are another's: its tools and waiters end with it. */
  over(): void {
    this.#isOver = true;
    this.#isTaking = false;
    this.#cancelAbort?.();
    this.#silence.end();
    this.#release();
  }

  /** Nobody will be told any more what the waiting tools wait for. */
  #release(): void {
    for (const resolve of this.#waiters.values()) resolve(undefined);
  }

  /**
   * Takes up what attempts at these messages have done that were cut off: it counts as shown, and the answers to it, which
   * are tried again beside them, belong to this turn as they belonged to that one.
   */
  async #recall(): Promise<DoneEffect[]> {
    this.#acts.clear();
    const past = this.#past(this.#items);
    const asked = new Set(past.map(({ id }) => id));
    const isAnswer = ({ message }: ClaimedItem): boolean => message.inReplyTo !== null && asked.has(message.inReplyTo);
    const work = this.#items.filter((item) => !isAnswer(item));
    if (work.some(({ message }) => message.trigger === 'wakes')) {
      this.#attached.push(...this.#items.filter(isAnswer));
      this.#items = work;
    }
    for (const { causes, address, content } of past) {
      if (this.origin !== undefined && causes.includes(this.origin.id)) this.#shown(address, content);
    }
    const { session, commit } = this.#ports;
    return Promise.all(
      past.map(async (effect) => doneEffect(effect, await commit(() => readable(session.answerTo(effect))))),
    );
  }

  /** What attempts at these messages have done. */
  #past(items: readonly ClaimedItem[]): PastEffect[] {
    return this.#ports.session.effects(
      items.map((item) => item.message.id),
      DONE_TOLD_MAX,
    );
  }

  #prompt(items: readonly ClaimedItem[], done: readonly DoneEffect[]): Prompt {
    const { clock, agent, destinations, session } = this.#ports;
    return {
      text: promptText(items, {
        now: clock.now(),
        timeZone: agent.timeZone,
        filesRoot: session.folders.inbound.files,
        destinations,
        done,
      }),
      messages: items.map((item) => item.message),
      done,
    };
  }

  async #talked(options: StartOptions, isTrial: boolean): Promise<Ending> {
    const done = await this.#recall();
    if (this.#abortCause !== undefined) return failed(ABORT_REASONS[this.#abortCause]);
    const provided = this.#ports.provider.start(this.#prompt(this.#items, done), options);
    this.#provided = provided;
    return this.#listened(provided, isTrial);
  }

  async #listened(provided: Turn, isTrial: boolean): Promise<Ending> {
    let token: string | undefined;
    this.#silence.heard(false);
    try {
      for await (const event of provided.events) {
        if (event.type === 'result' || event.type === 'error') {
          this.#isTaking = false;
          if (event.type === 'result' && token !== undefined) await this.#note({ type: 'continuation', token });
          return event;
        }
        if (event.type === 'continuation' && isTrial) token = event.token;
        else await this.#note(event);
        if (this.#abortCause === undefined) this.#silence.heard(this.#toolUses.size > 0);
      }
    } catch (error) {
      if (error instanceof SessionTrouble) throw error.cause;
      return failed(
        `The provider broke its promise and threw: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    return failed('The provider ended without a result.');
  }

  async #note(event: Exclude<TurnEvent, { type: 'result' | 'error' }>): Promise<void> {
    const { progress, clock } = this.#ports;
    try {
      progress.toolEnded(MODEL_USE, clock.now());
      switch (event.type) {
        case 'continuation':
          await this.#keep(event.token);
          return;
        case 'progress':
          progress.made(clock.now());
          return;
        case 'tool-started':
          this.#toolUses.add(event.toolUseId);
          progress.toolStarted({
            toolUseId: event.toolUseId,
            name: event.name,
            startedAt: clock.now(),
            timeoutMs: event.timeoutMs ?? null,
          });
          return;
        case 'tool-ended':
          this.#toolUses.delete(event.toolUseId);
          progress.toolEnded(event.toolUseId, clock.now());
      }
    } catch (error) {
      throw new SessionTrouble('The session file could not be written.', { cause: error });
    }
  }

  /** Says that the model is waited for, so that the operator sees it and the host knows for how long it may be. */
  #saySilence(since: Millis): void {
    const { progress, silence } = this.#ports;
    const timeoutMs = silence.modelSilenceMaxMs + SILENCE_ENDING_MS;
    try {
      progress.toolStarted({ toolUseId: MODEL_USE, name: MODEL_WAIT, startedAt: since, timeoutMs });
    } catch (error) {
      this.#break?.(error);
    }
  }

  async #keep(token: string): Promise<void> {
    const { session, provider, clock, commit } = this.#ports;
    if (!this.#keepsContinuation || this.#isOver) return;
    await commit(() => {
      if (this.#keepsContinuation) session.setContinuation(provider.name, token, clock.now());
    });
  }

  #scope(): ToolScope {
    const { session, agent, clock, commit } = this.#ports;
    return {
      timeZone: agent.timeZone,
      cwd: agent.cwd,
      origin: () => this.origin?.address ?? null,
      destinations: () => this.#ports.destinations,
      messageAt: (seq) => commit(() => readable(session.messageAt(seq))),
      tasks: () => commit(() => readable(session.tasks(TASKS_LISTED_MAX))),
      say: async (written, address, files = []) => {
        this.#assertOpen();
        const content = shownContent(written, files.length > 0);
        const id = this.#ports.newId();
        const filesRoot = session.folders.outbound.files;
        const copied = await copyOut(files, filesRoot, id);
        const whole = copied.length === 0 ? content : { ...content, files: copied.map(({ name }) => name) };
        const key = effectKey(
          'chat',
          address,
          whole,
          copied.map(({ digest }) => digest),
        );
        const row = await this.#act(this.#outbound(id, { kind: 'chat', address, content: whole }), key);
        if (row.id !== id && copied.length > 0) await removeCopies(filesRoot, id);
        this.#shown(address, content);
        return row.seq;
      },
      ask: async (written, timeoutMs) => {
        const content = shownContent(written, false);
        const address = this.origin?.address ?? null;
        const whole = { ...content, expiresAt: clock.now() + timeoutMs };
        const key = effectKey('chat', address, content);
        const { answer } = await this.#ask({ kind: 'chat', address, content: whole }, key, (row) =>
          // One that was asked by an earlier attempt is open for what is left of its time.
          Math.min(row.timestamp + timeoutMs - clock.now(), timeoutMs),
        );
        this.#shown(address, content);
        return answer;
      },
      request: (action, parameters) => this.#request(action, parameters),
    };
  }

  async #request(action: string, parameters: NewOutbound['content']): Promise<RequestResult> {
    const address = this.origin?.address ?? null;
    const content = { action, ...parameters };
    const key = effectKey('system', address, content);
    const waitMs = this.#ports.requestWaitMs;
    const { seq: number, answer } = await this.#ask({ kind: 'system', address, content }, key, () => waitMs);
    const result = answer && readContent(answer);
    if (result?.type !== 'result') return { type: 'later', number };
    return { type: result.status, text: result.text };
  }

  /** Writes what is answered, and waits for the answer; `undefined` when none comes within `waitMs`. */
  async #ask(
    what: Pick<NewOutbound, 'kind' | 'address' | 'content'>,
    key: string,
    waitMs: (row: SentRow) => Millis,
  ): Promise<{ seq: number; answer: InboundMessage | undefined }> {
    const { session, commit } = this.#ports;
    const id = this.#ports.newId();
    // Before the question is written, so that no answer can come too early.
    const waiter = this.#expect(id);
    const row = await this.#act(this.#outbound(id, what), key);
    if (row.id === id) return { seq: row.seq, answer: await waiter.within(waitMs(row)) };
    waiter.cancel();
    const again = this.#expect(row.id);
    const before = await commit(() => readable(session.answerTo(row)));
    if (before === 'none') return { seq: row.seq, answer: await again.within(waitMs(row)) };
    again.cancel();
    return { seq: row.seq, answer: before };
  }

  /** Writes what the turn does, unless an earlier attempt has done it: then this is the row of that time. */
  #act(message: NewOutbound, key: string): Promise<SentRow> {
    const { session, clock, commit } = this.#ports;
    return commit(() => {
      this.#assertOpen();
      const nth = this.#acts.get(key) ?? 0;
      const causes = this.#items.map((item) => item.message.id);
      const row = session.send(message, clock.now(), { causes, key, nth });
      this.#acts.set(key, nth + 1);
      return row;
    });
  }

  #shown(address: Address | null, { text }: NewOutbound['content']): void {
    if (typeof text === 'string') this.#said.add(replyKey({ address, text }));
    if (placeKey(address) === placeKey(this.origin?.address ?? null)) this.#isVisible = true;
  }

  #outbound(id: string, message: Pick<NewOutbound, 'kind' | 'address' | 'content'>): NewOutbound {
    return { id, inReplyTo: this.origin?.id ?? null, ...message };
  }

  /** Waits for what the host writes in answer to a row. */
  #expect(messageOutId: string): Waiter {
    this.#assertOpen();
    const { promise, resolve } = Promise.withResolvers<InboundMessage | undefined>();
    let stopClock: (() => void) | undefined;
    const settle = (answer: InboundMessage | undefined): void => {
      stopClock?.();
      if (this.#waiters.get(messageOutId) === settle) this.#waiters.delete(messageOutId);
      resolve(answer);
    };
    this.#waiters.set(messageOutId, settle);
    return {
      within: (ms) => {
        if (this.#waiters.get(messageOutId) === settle) {
          stopClock = this.#ports.clock.setTimer(Math.max(ms, 0), () => settle(undefined));
        }
        return promise;
      },
      cancel: () => settle(undefined),
    };
  }

  #assertOpen(): void {
    if (!this.#isOver && this.#abortCause === undefined) return;
    throw new Error('This turn is over, so nothing was sent. What is to be said belongs to the next turn.');
  }
}

interface Waiter {
  /** The answer; `undefined` when it does not come in time, or the turn ends. */
  within(ms: Millis): Promise<InboundMessage | undefined>;
  cancel(): void;
}

/** Of one message, this much of what was done before is told. */
const DONE_TOLD_MAX = 100;

function unanswered(effect: PastEffect): DoneEffect {
  return doneEffect(effect, 'none');
}

/** Names the wait for a model among the tools in flight. */
const MODEL_USE = 'model';

/** Of what the host is told that a silent model may take, so much is for the turn's end. */
const SILENCE_ENDING_MS: Millis = 10_000;

/** Why a turn was given up whose model gave no sign. */
export const MODEL_SILENT = 'The model was asked and gave no sign for minutes.';

const ABORT_REASONS: Readonly<Record<AbortCause, string>> = {
  'stop-command': 'Somebody stopped the turn with /stop.',
  'run-stops': 'The run was asked to stop before the turn was done.',
  fenced: 'Another run has taken over this session.',
  'model-silent': MODEL_SILENT,
};

/** A container's share of the host's figure for series is 50; more tasks than this make no list to read. */
const TASKS_LISTED_MAX = 100;

/** Carries an error of the session's file out of the loop in which a provider's own errors are caught. */
class SessionTrouble extends Error {
  override readonly name = 'SessionTrouble';
}

function failed(reason: string): Ending {
  return { type: 'error', kind: 'failed', reason, lostContinuation: false };
}

/** What a tool shows, without what is internal. Throws `ToolInputError` when nothing would be left of a text. */
function shownContent(written: JsonObject, hasFiles: boolean): JsonObject {
  const content = visibleContent(written);
  const emptied = ['text', 'question', 'fallbackText'].find(
    (name) => content[name] !== written[name] && String(content[name]).trim() === '',
  );
  if (emptied === undefined || (emptied === 'text' && hasFiles)) return content;
  throw new ToolInputError(`All of ${emptied} is internal, so nothing was sent. Give what people may read.`);
}

function isAskedByPerson({ message, content }: ClaimedItem): boolean {
  if (message.trigger === 'context' || message.sourceSessionId !== null) return false;
  return content.type === 'chat' || content.type === 'command';
}

/** What was read of the host's file. The host commits in milliseconds, so a file that cannot be read is tried again. */
function readable<T>(value: T | undefined): T {
  if (value !== undefined) return value;
  throw new SqliteError('SQLITE_BUSY', 'The host is writing, so this could not be looked up. Try again.');
}
