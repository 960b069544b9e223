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
  type Millis,
  type NewOutbound,
  type RunnerSession,
  SqliteError,
} from '@nanoclaw/session-db';
import type { AgentOptions } from './agent-options.ts';
import type { Commit } from './commit.ts';
import { readContent } from './content.ts';
import { copyOut } from './files.ts';
import type { Batch, ClaimedItem } from './intake.ts';
import type { Progress } from './progress.ts';
import { promptText } from './prompt.ts';
import type { Provider, StartOptions, Turn, TurnEvent, Usage } from './provider.ts';
import { placeKey, type Reply, replies, replyKey } from './reply.ts';
import { agentTools } from './tools/index.ts';
import type { RequestResult, ToolScope } from './tools/scope.ts';

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
}

/** Why a turn is being ended before its time. */
export type AbortCause = 'stop-command' | 'run-stops' | 'fenced';

/** How a conversation with the provider ended. */
export type Ending =
  | { readonly type: 'result'; readonly text: string | null; readonly usage: Usage }
  | { readonly type: 'error'; readonly reason: string; readonly lostContinuation: boolean; readonly usage?: Usage }
  /** Aborted, and the provider did not obey in time: it may still be at work. */
  | { readonly type: 'abort-timeout' };

export class RunningTurn {
  readonly place: string;
  readonly startedAt: Millis;
  readonly #ports: TurnPorts;
  #items: readonly ClaimedItem[];
  /** Claims that end with this turn without being part of its prompt: answers to its questions, the command to stop it. */
  readonly #attached: ClaimedItem[] = [];
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
  #cancelAbort: (() => void) | undefined;

  constructor(batch: Batch, ports: TurnPorts) {
    this.place = batch.place;
    this.#items = batch.items;
    this.#ports = ports;
    this.startedAt = ports.clock.now();
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
    const { provider, agent, clock } = this.#ports;
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
    const givenUp = new Promise<Ending>((resolve) => {
      this.#giveUp = () => resolve({ type: 'abort-timeout' });
    });
    const provided = provider.start(this.#prompt(this.#items), options);
    this.#provided = provided;
    const ending = await Promise.race([this.#listened(provided, isTrial), givenUp]);
    this.#ports.progress.toolsEnded(this.#toolUses, clock.now());
    return ending;
  }

  /** Gives a follow-up to the running turn. False: not taken, it belongs to the next turn. */
  push(batch: Batch): boolean {
    if (!this.#isTaking || this.#provided === undefined || !this.#provided.push(this.#prompt(batch.items))) {
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
    this.#release();
  }

  /** Nobody will be told any more what the waiting tools wait for. */
  #release(): void {
    for (const resolve of this.#waiters.values()) resolve(undefined);
  }

  #prompt(items: readonly ClaimedItem[]): { text: string; messages: InboundMessage[] } {
    const { clock, agent, destinations, session } = this.#ports;
    return {
      text: promptText(items, {
        now: clock.now(),
        timeZone: agent.timeZone,
        filesRoot: session.folders.inbound.files,
        destinations,
      }),
      messages: items.map((item) => item.message),
    };
  }

  async #listened(provided: Turn, isTrial: boolean): Promise<Ending> {
    let token: string | undefined;
    try {
      for await (const event of provided.events) {
        if (event.type === 'result' || event.type === 'error') {
          this.#isTaking = false;
          if (event.type === 'result' && token !== undefined) await this.#note({ type: 'continuation', token });
          return event;
        }
        if (event.type === 'continuation' && isTrial) token = event.token;
        else await this.#note(event);
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
      now: () => clock.now(),
      timeZone: agent.timeZone,
      cwd: agent.cwd,
      origin: () => this.origin?.address ?? null,
      destinations: () => this.#ports.destinations,
      messageAt: (seq) => commit(() => readable(session.messageAt(seq))),
      tasks: () => commit(() => readable(session.tasks(TASKS_LISTED_MAX))),
      say: async (content, address, files = []) => {
        this.#assertOpen();
        const id = this.#ports.newId();
        const names = await copyOut(files, session.folders.outbound.files, id);
        const whole = names.length === 0 ? content : { ...content, files: names };
        const seq = await this.#send(this.#outbound(id, { kind: 'chat', address, content: whole }));
        this.#shown(address, content);
        return seq;
      },
      ask: async (content, timeoutMs) => {
        const address = this.origin?.address ?? null;
        const id = this.#ports.newId();
        const answer = this.#answerTo(id, timeoutMs);
        await this.#send(this.#outbound(id, { kind: 'chat', address, content }));
        this.#shown(address, content);
        return answer;
      },
      request: (action, parameters) => this.#request(action, parameters),
    };
  }

  async #request(action: string, parameters: NewOutbound['content']): Promise<RequestResult> {
    const id = this.#ports.newId();
    const answer = this.#answerTo(id, this.#ports.requestWaitMs);
    const address = this.origin?.address ?? null;
    const number = await this.#send(
      this.#outbound(id, { kind: 'system', address, content: { action, ...parameters } }),
    );
    const message = await answer;
    const content = message && readContent(message);
    if (content?.type !== 'result') return { type: 'later', number };
    return { type: content.status, text: content.text };
  }

  #send(message: NewOutbound): Promise<number> {
    const { session, clock, commit } = this.#ports;
    return commit(() => {
      this.#assertOpen();
      return session.send(message, clock.now());
    });
  }

  #shown(address: Address | null, { text }: NewOutbound['content']): void {
    if (typeof text === 'string') this.#said.add(replyKey({ address, text }));
    if (placeKey(address) === placeKey(this.origin?.address ?? null)) this.#isVisible = true;
  }

  #outbound(id: string, message: Pick<NewOutbound, 'kind' | 'address' | 'content'>): NewOutbound {
    return { id, inReplyTo: this.origin?.id ?? null, ...message };
  }

  /** Registered before the question is written, so that no answer can come too early. */
  #answerTo(messageOutId: string, timeoutMs: Millis): Promise<InboundMessage | undefined> {
    this.#assertOpen();
    return new Promise((resolve) => {
      const cancel = this.#ports.clock.setTimer(timeoutMs, () => settle(undefined));
      const settle = (answer: InboundMessage | undefined): void => {
        cancel();
        this.#waiters.delete(messageOutId);
        resolve(answer);
      };
      this.#waiters.set(messageOutId, settle);
    });
  }

  #assertOpen(): void {
    if (!this.#isOver && this.#abortCause === undefined) return;
    throw new Error('This turn is over, so nothing was sent. What is to be said belongs to the next turn.');
  }
}

const ABORT_REASONS: Readonly<Record<AbortCause, string>> = {
  'stop-command': 'Somebody stopped the turn with /stop.',
  'run-stops': 'The run was asked to stop before the turn was done.',
  fenced: 'Another run has taken over this session.',
};

/** A container's share of the host's figure for series is 50; more tasks than this make no list to read. */
const TASKS_LISTED_MAX = 100;

/** Carries an error of the session's file out of the loop in which a provider's own errors are caught. */
class SessionTrouble extends Error {
  override readonly name = 'SessionTrouble';
}

function failed(reason: string): Ending {
  return { type: 'error', reason, lostContinuation: false };
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
