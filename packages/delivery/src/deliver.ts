/**
 * One pass of handing a session's outbound messages to the world: read what the runner wrote, accept it, and for each
 * lane in order write the attempt down, make it, write down what came of it. Nothing is remembered between passes but
 * what is on disk, so a crash anywhere leaves a pass to be made again.
 *
 * No session file is held open over an `await`: every touch is one synchronous block of `inSession`. How much one of them
 * works off is bounded, because nothing else in the process runs meanwhile.
 */
import {
  changeToken,
  DELIVERY_RETRY,
  type DeadLetter,
  type HostSession,
  type JsonObject,
  type Millis,
  type OutboundContents,
  type OutboundFinding,
  type OutboundMessage,
  type OutboundRead,
  type OutboundReader,
  type RetryPolicy,
  type SessionFolder,
  type SetTimer,
  type Target,
} from '@nanoclaw/session-db';
import {
  type AcceptedMessage,
  type Delivery,
  type DeliveryAttempt,
  type DeliverySettlement,
  deliverySettlement,
  type OutboundRequest,
  type RefusedRow,
  type SendOutcome,
  withoutAttempt,
} from '@nanoclaw/session-db/protocol';
import { oneLine } from '@nanoclaw/session-db/text';
import type { Gate, GatePlace } from './gate.ts';
import { agentNotice, type Notice, operatorNotices } from './notice.ts';
import { Parts } from './parts.ts';
import { type Route, type Send, type UncertainPolicy, whenUncertain } from './send.ts';

/** A session as delivery needs it. */
export interface DeliverySession {
  /** Unique among the sessions of a host: part of every attempt's key. */
  readonly key: string;
  /** Where its files lie. */
  readonly folder: SessionFolder;
  /**
   * Lends the open session to `use`, which is done with it when it returns; again from its beginning when a lock kept it from
   * writing. When it does so, and whether the file stays open, is the host's.
   */
  inSession<T>(use: (session: HostSession) => T): T | Promise<T>;
  /** Reads what the runner wrote; a container may have written anything there. */
  readonly reader: OutboundReader;
}

/** What delivery asks of its host, the same for all sessions. */
export interface DeliveryPorts {
  /**
   * Decides where a message goes. Asked when the message is accepted and again for each later attempt, so that
   * permission withdrawn in between counts. A throw is taken as a refusal, with the error's message as reason.
   */
  route(session: string, message: OutboundMessage): Route;
  /** Makes one attempt to hand one part to its channel. */
  readonly send: Send;
  /**
   * Removes what a delivered message has left behind (its files). Called after the message has ended, and again until
   * it resolves.
   */
  cleanUp(session: string, messageOutId: string): Promise<void>;
  /** Tells the operator. Called until it resolves; what is told was deduplicated through `gate.rates`. */
  notify(session: string, notice: Notice): Promise<void>;
  /** Who may send just now: one for all sessions of a host. */
  readonly gate: Gate;
  /** The wall clock, in epoch milliseconds. */
  now(): Millis;
  /** The host's timers. */
  readonly setTimer: SetTimer;
  /** From 0 up to 1: what jitter draws on. */
  random(): number;
  /** How often, for how long and how much is tried. */
  readonly policy: DeliveryPolicy;
}

/** How delivery tries, and what it gives up on. */
export interface DeliveryPolicy {
  /** How many attempts a part gets, and the wait between them. */
  readonly retry: RetryPolicy;
  /** How long one send may take, in milliseconds; after that its outcome is not known. */
  readonly sendTimeoutMs: Millis;
  /** What to do about an outcome that is not known, on channels that cannot tell either. */
  readonly uncertain: UncertainPolicy;
  /** How many attempts one pass makes at most, so that one session does not keep others waiting. */
  readonly attemptsMax: number;
  /** Into how many parts a message may be split; one that needs more is a dead letter. */
  readonly partsMax: number;
  /** From how many rows under way, scheduled or given up nothing more of a session is accepted. */
  readonly rowsMax: number;
}

/** About four hours of tries; 60 s a send; possible duplicates are sent and marked; 100 attempts a pass; 200 parts; 1 000 rows. */
export const DELIVERY_POLICY: DeliveryPolicy = {
  retry: DELIVERY_RETRY,
  sendTimeoutMs: 60_000,
  uncertain: 'retry',
  attemptsMax: 100,
  partsMax: 200,
  rowsMax: 1_000,
};

/** What a caller has read of the runner's file on behalf of the next pass. */
export interface PassRead {
  /** Of the runner's file (`changeToken`), taken before the read. */
  readonly token: string | undefined;
  /** What was asked for: at least what `passRequest` gives. */
  readonly request: OutboundRequest;
  /** What came of it: what the runner wrote, or why it was not read. */
  readonly read: OutboundRead;
}

/** Where a session stood at the end of a pass. Of no use after a restart, and not needed: the first pass looks. */
export interface PassState {
  /** Of the runner's file (`changeToken`); `undefined` while there is none, or when it was not read to its end. */
  readonly token: string | undefined;
  /** When there is next something to do; `undefined`: when the token changes. */
  readonly nextAt: Millis | undefined;
}

/** What a pass did. */
export interface DeliveryReport {
  /** For the next pass, and when to make it. */
  readonly state: PassState;
  /** Why the runner's file was not read, unless there is none yet. What needs it waits; everything else was done. */
  readonly finding: OutboundFinding | undefined;
  /** Rows that no honest runner writes. They were passed over for good. */
  readonly refused: readonly RefusedRow[];
  /** The numbers of the messages accepted. */
  readonly accepted: readonly number[];
  /** The attempts made, and what came of each. */
  readonly attempts: readonly MadeAttempt[];
  /** Messages given up in this pass or an earlier one, of which agent and operator have now been told. */
  readonly gaveUp: readonly DeadLetter[];
  /**
   * As much of this session is under way, scheduled or given up as may be: what more its runner has written stays in its
   * own file until there is room.
   */
  readonly isHeldBack: boolean;
  /** What the host's own `cleanUp` and `notify` threw; they are called again. */
  readonly troubles: readonly unknown[];
}

interface MadeAttempt {
  readonly attempt: DeliveryAttempt;
  readonly settled: DeliverySettlement;
}

/** What one pass is given beyond its session. */
export interface PassOptions {
  /** From the last pass over this session; without it the pass looks at everything. */
  readonly last?: PassState | undefined;
  /** What was just read of the runner's file; without it the pass reads for itself. */
  readonly read?: PassRead | undefined;
  /** Aborted: no further attempt is begun. */
  readonly stop?: AbortSignal | undefined;
  /** Aborted: sends in flight are not waited for any longer; their outcome is recorded as not known. */
  readonly abandon?: AbortSignal | undefined;
}

/** The wait before a file that could not be read is looked at again: while the runner commits, and otherwise. */
const BUSY_RETRY_MS = 20;
const UNREADABLE_RETRY_MS = 5_000;

/** The wait before `cleanUp` or `notify` is called again after it has thrown. */
const TROUBLE_RETRY_MS = 60_000;

/** How many messages a pass reads again, and how many ended ones it looks after. */
const AGAIN_MAX = 100;
const TODO_MAX = 100;

/** How many messages are accepted, or lanes begun, in one go: some milliseconds' worth. */
const SLICE_MAX = 20;

/** How much is split in one go, in characters: some milliseconds' worth. */
const SPLIT_LENGTH_MAX = 32_000;

/**
 * Makes one pass over a session. It ends when everything due has been attempted once, or has to wait.
 *
 * Rejects with what the session's file throws (`SqliteError`: a full disk, a lock that is held on) after all sends in
 * flight have ended; what was not written down by then is an ordinary retry.
 */
export async function deliverSession(
  session: DeliverySession,
  ports: DeliveryPorts,
  options: PassOptions = {},
): Promise<DeliveryReport> {
  const { last, read } = options;
  const token = read ? read.token : changeToken(session.folder.outbound);
  if (read === undefined && last !== undefined && isQuiet(last, token, ports.now())) return nothing(last);

  using pass = new Pass(session, ports, options);
  await pass.readAndAccept(token !== last?.token || last === undefined);
  await pass.drainLanes();
  await pass.finishEnded();
  return pass.report(token);
}

/**
 * What the next pass over a session would ask of the runner's file at `now`: what is new, and what is tried again. For a
 * caller who reads the file anyway, and hands the read to the pass.
 */
export function passRequest(session: HostSession, now: Millis): OutboundRequest {
  return { ...session.cursor(), again: toReadAgain(session, now) };
}

/** Whether a session has nothing to do at `now`, given where it stood last and its present token. Opens nothing. */
function isQuiet(last: PassState, token: string | undefined, now: Millis): boolean {
  return token === last.token && (last.nextAt === undefined || last.nextAt > now);
}

function nothing(state: PassState): DeliveryReport {
  return {
    state,
    finding: undefined,
    refused: [],
    accepted: [],
    attempts: [],
    gaveUp: [],
    isHeldBack: false,
    troubles: [],
  };
}

/** An attempt that is on disk and is now to be made. */
interface Begun {
  readonly attempt: DeliveryAttempt;
  readonly lane: string;
  readonly message: OutboundMessage;
  readonly route: Extract<Route, { type: 'deliver' }>;
  readonly target: Target | undefined;
  readonly place: GatePlace;
}

class Pass implements Disposable {
  readonly #session: DeliverySession;
  readonly #ports: DeliveryPorts;
  readonly #options: PassOptions;
  /** Messages as the runner's file has them. */
  readonly #inHand = new Map<number, OutboundMessage>();
  /** Asked for again, and no longer in the runner's file. */
  readonly #gone = new Set<number>();
  readonly #routes = new Map<number, Route>();
  /** Of messages that are being accepted. */
  readonly #parts = new Map<number, Parts>();
  readonly #heldUntil = new Map<string, Millis>();
  readonly #attempts: MadeAttempt[] = [];
  readonly #accepted: number[] = [];
  readonly #gaveUp: DeadLetter[] = [];
  readonly #troubles: unknown[] = [];
  #refused: readonly RefusedRow[] = [];
  #finding: OutboundFinding | undefined;
  #begun: Begun[] = [];
  /** What was let through the gate in the commit that is being made. */
  #entered = new DisposableStack();
  /** Every place that this pass has had at the gate: at its end none of them is held on. */
  readonly #places = new DisposableStack();
  #budget: number;
  /** There is more to do at once than this pass may. */
  #isCutShort = false;
  /** The runner's file was read to its end: only a change of it brings more. */
  #isReadThrough = true;
  #isHeldBack = false;
  #comesBackAt = Number.POSITIVE_INFINITY;
  #openAt: Millis | undefined;

  constructor(session: DeliverySession, ports: DeliveryPorts, options: PassOptions) {
    this.#session = session;
    this.#ports = ports;
    this.#options = options;
    this.#budget = ports.policy.attemptsMax;
  }

  [Symbol.dispose](): void {
    this.#places[Symbol.dispose]();
  }

  /** Reads the runner's file, accepts what is new, and begins what is due: one read, one commit. */
  async readAndAccept(hasChanged: boolean): Promise<void> {
    const { request, isFull } = await this.#session.inSession((session) => ({
      request: passRequest(session, this.#ports.now()),
      isFull: session.deliveries.isFull(this.#ports.policy.rowsMax),
    }));
    const { messagesAfter } = request;
    // One that a pass has overtaken would hide what is there beyond it.
    const isOvertaken = (this.#options.read?.request.messagesAfter ?? messagesAfter) < messagesAfter;
    const handed = isOvertaken ? undefined : this.#options.read;
    const again = handed ? handed.request.again : request.again;
    // Without a change and without anything to read again, what is due has been stored.
    const isNeeded = hasChanged || again.length > 0;
    const read = handed ? handed.read : isNeeded ? await this.#session.reader.read(request) : undefined;
    if (read !== undefined) this.#keep(read, again, messagesAfter);
    if (read?.type === 'read' && isFull) this.#holdBack(read);

    const accepting = read?.type === 'read' && !this.#isHeldBack ? read : undefined;
    const fresh = accepting?.messages ?? [];
    await this.#accept(fresh, accepting?.messagesThrough ?? messagesAfter);
    await this.#beginDue();
    this.#accepted.push(...fresh.map(({ seq }) => seq));
  }

  /**
   * Accepts messages, and what an operator has revived, as many at a time as can be split in one go: with each of them the
   * cursor goes as far as they do.
   */
  async #accept(fresh: readonly OutboundMessage[], through: number): Promise<void> {
    let left = fresh;
    for (;;) {
      const toAccept: readonly OutboundMessage[] = left;
      const round = await this.#write((session) => {
        const slice = toAccept.slice(0, SLICE_MAX);
        const revived = slice.length === toAccept.length ? session.deliveries.unrouted(SLICE_MAX) : [];
        if (revived.length === SLICE_MAX) this.#isCutShort = true;
        const messages = this.#acceptedAs([...slice, ...revived]);
        const rest = toAccept.slice(messages.length);
        session.deliveries.accept(
          messages,
          rest.length === 0 ? through : (messages.at(-1)?.message.seq ?? 0),
          this.#ports.now(),
        );
        return { rest, isWhole: messages.length === slice.length + revived.length };
      });
      if (round.isWhole && round.rest.length === 0) return;
      left = round.rest;
      if (!round.isWhole) await new Promise<void>((resolve) => this.#ports.setTimer(0, resolve));
    }
  }

  /** Begins what is due, some lanes at a time. */
  async #beginDue(): Promise<void> {
    const lanes = await this.#session.inSession((session) =>
      session.deliveries.due(this.#ports.now(), this.#budget).map(({ lane }) => lane),
    );
    while (lanes.length > 0) {
      const slice = lanes.splice(0, SLICE_MAX);
      this.#begun.push(...(await this.#write((session) => slice.flatMap((lane) => this.#begin(session, lane) ?? []))));
    }
  }

  /** Works off each lane in its order, all lanes at the same time. */
  async drainLanes(): Promise<void> {
    const lanes = await Promise.allSettled(this.#begun.map((begun) => this.#drainLane(begun)));
    for (const lane of lanes) if (lane.status === 'rejected') throw lane.reason;
  }

  /** Removes what delivered messages left behind, and tells of those given up. Repeatable at every step. */
  async finishEnded(): Promise<void> {
    const { cleanUp, notify } = await this.#session.inSession((session) => {
      this.#openAt = session.deliveries.nextAt(this.#heldUntil);
      return session.deliveries.followUps(TODO_MAX);
    });
    if (cleanUp.length + notify.length === TODO_MAX) this.#isCutShort = true;
    const cleaned = [];
    for (const message of cleanUp) {
      const { key } = this.#session;
      if (await this.#host(() => this.#ports.cleanUp(key, message.messageOutId))) cleaned.push(message);
    }
    const told = await this.#tell(notify);
    const done = [...cleaned, ...told];
    if (done.length > 0) await this.#write((session) => session.deliveries.markFollowedUp(done));
    this.#gaveUp.push(...told);
  }

  report(token: string | undefined): DeliveryReport {
    const cutShortAt = this.#isCutShort ? this.#ports.now() : Number.POSITIVE_INFINITY;
    const at = Math.min(this.#openAt ?? Number.POSITIVE_INFINITY, this.#comesBackAt, cutShortAt);
    return {
      state: { token: this.#isReadThrough ? token : undefined, nextAt: Number.isFinite(at) ? at : undefined },
      finding: this.#finding,
      refused: this.#refused,
      accepted: this.#accepted,
      attempts: this.#attempts,
      gaveUp: this.#gaveUp,
      isHeldBack: this.#isHeldBack,
      troubles: this.#troubles,
    };
  }

  #keep(read: OutboundRead, again: readonly number[], after: number): void {
    if (read.type !== 'read') {
      // No file is no trouble, unless messages are waiting in it.
      if (read.type === 'absent' && again.length === 0) return;
      this.#finding = read;
      this.#isReadThrough = false;
      this.#comesBackAt = this.#ports.now() + (read.type === 'busy' ? BUSY_RETRY_MS : UNREADABLE_RETRY_MS);
      return;
    }
    for (const message of [...read.messages, ...read.again]) this.#inHand.set(message.seq, message);
    for (const seq of again) if (!this.#inHand.has(seq)) this.#gone.add(seq);
    this.#refused = read.refused.filter((row) => row.table === 'messages_out');
    // More acks alone are none of delivery's business: it would read until the sweep settles them.
    this.#isCutShort = read.more && read.messagesThrough > after;
    this.#isReadThrough = !read.more;
  }

  /** Leaves what is new where it is, to be read again: when something has gone out, and with each look around. */
  #holdBack({ messages, refused }: OutboundContents): void {
    if (messages.length === 0 && refused.length === 0) return;
    this.#isHeldBack = true;
    this.#refused = [];
    this.#isCutShort = false;
    this.#isReadThrough = false;
  }

  /** As the first of these messages are accepted, up to one that is not to be split to its end in one go. */
  #acceptedAs(messages: readonly OutboundMessage[]): AcceptedMessage[] {
    const accepted: AcceptedMessage[] = [];
    let lengthLeft = SPLIT_LENGTH_MAX;
    for (const message of messages) {
      const route = this.#route(message);
      if (route.type === 'refused') {
        accepted.push({ message, refused: route.reason });
        continue;
      }
      const { address, parts, cleansUp = false } = route;
      if (parts === undefined) {
        accepted.push({ message, address, cleansUp });
        continue;
      }
      const made = this.#made(message, parts, lengthLeft);
      lengthLeft -= made.length;
      if (made.refused !== undefined) accepted.push({ message, refused: made.refused });
      else if (made.all !== undefined) accepted.push({ message, address, parts: made.all, cleansUp });
      else break;
    }
    return accepted;
  }

  /** More parts of a message, from where it was left. */
  #made(message: OutboundMessage, parts: Iterable<JsonObject>, lengthMax: number): ReturnType<Parts['make']> {
    try {
      const begun = this.#parts.get(message.seq) ?? new Parts(parts);
      this.#parts.set(message.seq, begun);
      return begun.make({ lengthMax, partsMax: this.#ports.policy.partsMax });
    } catch (error) {
      return { length: 0, refused: `How it is shown could not be decided: ${reasonOf(error)}` };
    }
  }

  #route(message: OutboundMessage): Route {
    const known = this.#routes.get(message.seq);
    if (known !== undefined) return known;
    const route = this.#decided(message);
    this.#routes.set(message.seq, route);
    return route;
  }

  #decided(message: OutboundMessage): Route {
    try {
      return this.#ports.route(this.#session.key, message);
    } catch (error) {
      // One message that the host cannot make sense of must not stop the others, for ever and in every pass.
      return { type: 'refused', reason: `Where it goes could not be decided: ${reasonOf(error)}` };
    }
  }

  /** Begins the first delivery of a lane, if it is due and may go; ends those before it that cannot. */
  #begin(session: HostSession, lane: string): Begun | undefined {
    const { deliveries } = session;
    for (;;) {
      const now = this.#ports.now();
      const head = deliveries.head(lane);
      if (head === undefined || head.nextAttemptAt > now) return undefined;
      if (this.#budget === 0 || this.#options.stop?.aborted === true) {
        this.#isCutShort = true;
        return undefined;
      }
      const decision = this.#decision(session, head);
      switch (decision.type) {
        case 'wait':
          this.#heldUntil.set(lane, decision.until);
          return undefined;
        case 'end':
          deliveries.end(head, decision.settled, now, decision.message);
          break;
        case 'go': {
          const { message, route, target } = decision;
          const asking = { account: route.account, session: this.#session.key, lane };
          const place = this.#ports.gate.enter(asking, route.rates ?? [], now);
          if (typeof place === 'number') {
            this.#heldUntil.set(lane, now + place);
            return undefined;
          }
          using entered = new DisposableStack();
          entered.use(place);
          const attempt = deliveries.begin([head], now, this.#ports.policy.retry, this.#ports.random())[0];
          if (attempt === undefined) return undefined;
          this.#entered.use(entered.move());
          this.#budget -= 1;
          return { attempt, lane, message, route, target, place };
        }
      }
    }
  }

  #decision(session: HostSession, head: Delivery): Decision {
    const message = head.isStored ? session.deliveries.stored(head.seq, head.part) : this.#inHand.get(head.seq);
    if (message === undefined) {
      if (this.#gone.has(head.seq)) return failed(head, 'The message is no longer in the file that its agent wrote.');
      // Another pass reads it: at once, or in a while when the file cannot be read just now.
      return { type: 'wait', until: this.#finding === undefined ? this.#ports.now() : this.#comesBackAt };
    }
    const route = this.#route(message);
    if (route.type === 'refused') return failed(head, route.reason, message);
    const { retry, uncertain } = this.#ports.policy;
    const settled = withoutAttempt(head, retry, whenUncertain(route.duplicates, uncertain));
    if (settled !== undefined) return { type: 'end', settled, message };
    if (route.target === undefined) return { type: 'go', message, route, target: undefined };
    const target = session.deliveries.target(route.target);
    const reason = missing(target, route.target);
    return reason === undefined ? { type: 'go', message, route, target } : failed(head, reason, message);
  }

  async #drainLane(first: Begun): Promise<void> {
    let current: Begun | undefined = first;
    while (current !== undefined) {
      const begun: Begun = current;
      const outcome = await this.#sent(begun);
      const settled = this.#settlement(begun, outcome);
      // The outcome and the next attempt in one commit.
      current = await this.#write((session) => {
        session.deliveries.record(begun.attempt, settled, this.#ports.now(), begun.message);
        return this.#begin(session, begun.lane);
      });
      this.#attempts.push({ attempt: begun.attempt, settled });
    }
  }

  /** Makes the attempt, and gives its place at the gate back. */
  async #sent(begun: Begun): Promise<SendOutcome> {
    using place = begun.place;
    const outcome = await this.#send(begun);
    place.end(outcome, this.#ports.now());
    return outcome;
  }

  #settlement({ attempt, route }: Begun, outcome: SendOutcome): DeliverySettlement {
    const { retry, uncertain } = this.#ports.policy;
    return deliverySettlement(attempt.tries, outcome, this.#ports.now(), retry, this.#ports.random(), {
      plain: attempt.plain,
      whenUncertain: whenUncertain(route.duplicates, uncertain),
    });
  }

  async #send({ attempt, message, route, target }: Begun): Promise<SendOutcome> {
    const { part, uncertain, plain } = attempt;
    const controller = new AbortController();
    const cutOff = this.#cutOff(controller);
    try {
      const outcome = await Promise.race([
        this.#ports.send(message, {
          session: this.#session.key,
          key: attemptKey(this.#session.key, attempt),
          attempt: attempt.attempt,
          part,
          uncertain,
          isPossibleDuplicate: uncertain && route.duplicates === 'none',
          plain,
          target,
          signal: controller.signal,
        }),
        cutOff.outcome,
      ]);
      return isOutcome(outcome) ? outcome : { type: 'unknown', reason: 'The send gave no result.' };
    } catch (error) {
      return { type: 'unknown', reason: `The send ended without an answer: ${reasonOf(error)}` };
    } finally {
      cutOff.cancel();
    }
  }

  /** An outcome for a send that has none in time, or when the host stops. */
  #cutOff(controller: AbortController): { readonly outcome: Promise<SendOutcome>; cancel(): void } {
    const { abandon } = this.#options;
    const { sendTimeoutMs } = this.#ports.policy;
    const { promise, resolve } = Promise.withResolvers<SendOutcome>();
    const end = (reason: string) => {
      resolve({ type: 'unknown', reason });
      controller.abort(new Error(reason));
    };
    const onAbandon = () => end('The host stopped while the message was being sent.');
    const cancelTimer = this.#ports.setTimer(sendTimeoutMs, () => end(`No answer within ${sendTimeoutMs} ms.`));
    abandon?.addEventListener('abort', onAbandon, { once: true });
    if (abandon?.aborted === true) onAbandon();
    return {
      outcome: promise,
      cancel: () => {
        cancelTimer();
        abandon?.removeEventListener('abort', onAbandon);
      },
    };
  }

  /** Tells agent and operator of messages given up; returns those of which both know. */
  async #tell(letters: readonly DeadLetter[]): Promise<readonly DeadLetter[]> {
    if (letters.length === 0) return [];
    const { key } = this.#session;
    const now = this.#ports.now();
    await this.#session.inSession((session) => session.enqueue(agentNotice(letters, now), now));
    const told: DeadLetter[] = [];
    for (const { rates, ...notice } of operatorNotices(letters)) {
      // One that is dropped here has been told of lately; the letters are listed all the same.
      const isDue = this.#ports.gate.rates.take(rates, now) === 0;
      if (!isDue || (await this.#host(() => this.#ports.notify(key, notice)))) told.push(...notice.letters);
    }
    return told;
  }

  /** Calls the host back. A throw is reported, and the call is made again in a later pass. */
  async #host(call: () => Promise<void>): Promise<boolean> {
    try {
      await call();
      return true;
    } catch (error) {
      this.#troubles.push(error);
      this.#comesBackAt = Math.min(this.#comesBackAt, this.#ports.now() + TROUBLE_RETRY_MS);
      return false;
    }
  }

  /** Makes moves in one commit. What a try that failed has let through the gate is let out again. */
  async #write<T>(moves: (session: HostSession) => T): Promise<T> {
    return this.#session.inSession((session) => {
      const budget = this.#budget;
      using entered = new DisposableStack();
      this.#entered = entered;
      try {
        const moved = session.deliveries.inOneCommit(() => moves(session));
        this.#places.use(entered.move());
        return moved;
      } catch (error) {
        this.#budget = budget;
        throw error;
      }
    });
  }
}

/** The first generation has no name, so that the keys of a session that was never restored stay what they were. */
function attemptKey(session: string, { generation, seq, part }: DeliveryAttempt): string {
  return [session, seq, part, ...(generation === 0 ? [] : [generation])].join('/');
}

/** The numbers of messages that are due and that only the runner's file has. */
function toReadAgain(session: HostSession, now: Millis): number[] {
  const again: number[] = [];
  for (const { lane } of session.deliveries.due(now, AGAIN_MAX)) {
    const room = AGAIN_MAX - again.length;
    if (room > 0) again.push(...session.deliveries.unstored(lane, room));
  }
  // A split message whose first parts are through has more than one row.
  return [...new Set(again)];
}

type Decision =
  | { readonly type: 'wait'; readonly until: Millis }
  | {
      readonly type: 'end';
      readonly settled: Extract<DeliverySettlement, { to: 'failed' | 'discarded' }>;
      readonly message: OutboundMessage | undefined;
    }
  | {
      readonly type: 'go';
      readonly message: OutboundMessage;
      readonly route: Extract<Route, { type: 'deliver' }>;
      readonly target: Target | undefined;
    };

/** Not to be attempted again; a host that died in its last attempt may have got it through all the same. */
function failed({ inFlight }: Delivery, error: string, message?: OutboundMessage): Decision {
  return { type: 'end', settled: { to: 'failed', uncertain: inFlight, error }, message };
}

/** Why a message cannot be edited or reacted to; `undefined` when it can. */
function missing(target: Target | undefined, seq: number): string | undefined {
  if (target === undefined) return `There is no message ${seq}.`;
  if (target.type === 'person') return undefined;
  const isThere = target.parts.some((part) => part.platformMessageId !== null);
  return isThere ? undefined : `Message ${seq} was not delivered, or its platform gives no ids.`;
}

/** A host in plain JavaScript may forget to return one, and that is no delivery. */
function isOutcome(outcome: SendOutcome | null | undefined): boolean {
  return outcome !== null && outcome !== undefined && ['sent', 'offline', 'failed', 'unknown'].includes(outcome.type);
}

/** An error as one short line. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return oneLine(text, 500);
}
