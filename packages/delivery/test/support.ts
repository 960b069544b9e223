// A session on disk with both of its sides, a clock that only the test moves, and a world of fakes at delivery's ports.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createSession,
  HostSession,
  inProcessReader,
  type JsonObject,
  type Millis,
  type NewOutbound,
  type OpenSqlite,
  type OutboundMessage,
  RunnerSession,
  runId,
  type SendResult,
  type SessionFolder,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import {
  type Attempt,
  DELIVERY_POLICY,
  type DeliveryLoopPorts,
  type DeliveryPorts,
  type DeliverySession,
  Gate,
  type Notice,
} from '../src/index.ts';

export const START = 1_000_000_000_000;

export const MAIN = { channelType: 'fake', platformId: 'main', threadId: null };
export const OTHER = { channelType: 'fake', platformId: 'other', threadId: null };

/** A clock and its timers, in time order, moved by hand. */
export class Clock {
  now: Millis = START;
  readonly #timers = new Map<number, { at: Millis; action: () => void }>();
  #last = 0;

  readonly setTimer = (delayMs: number, action: () => void): (() => void) => {
    this.#last += 1;
    const id = this.#last;
    this.#timers.set(id, { at: this.now + delayMs, action });
    return () => this.#timers.delete(id);
  };

  get pending(): number {
    return this.#timers.size;
  }

  nextAt(): Millis | undefined {
    return this.#timers.size === 0 ? undefined : Math.min(...[...this.#timers.values()].map((timer) => timer.at));
  }

  /** Moves on, and lets everything that becomes due happen in its order, with what follows from it. */
  async advance(ms: Millis): Promise<void> {
    const end = this.now + ms;
    await settled();
    for (;;) {
      const next = [...this.#timers].toSorted(([a, x], [b, y]) => x.at - y.at || a - b)[0];
      if (next === undefined || next[1].at > end) break;
      this.#timers.delete(next[0]);
      this.now = Math.max(this.now, next[1].at);
      next[1].action();
      await settled();
    }
    this.now = end;
  }
}

/** Lets all promises run that wait for nothing but each other. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** A session as its two sides see it. */
export class TestSession implements Disposable {
  readonly folder: SessionFolder;
  readonly host: HostSession;
  readonly runner: RunnerSession;
  readonly port: DeliverySession;
  #sent = 0;

  readonly root: string;
  readonly key: string;

  constructor(root: string, key = 'session-1', open: OpenSqlite = openSqlite) {
    this.root = root;
    this.key = key;
    this.folder = createSession(join(root, key));
    this.host = HostSession.open(this.folder, open);
    const run = runId('run-1');
    this.host.beginRun(run, START);
    this.runner = RunnerSession.open(
      this.folder,
      openSqlite,
      { runId: run, runnerVersion: '0', provider: 'fake' },
      START,
    );
    this.port = {
      key,
      folder: this.folder,
      inSession: (use) => use(this.host),
      reader: inProcessReader(this.folder, openSqlite),
    };
  }

  [Symbol.dispose](): void {
    this.host[Symbol.dispose]();
    this.runner[Symbol.dispose]();
  }

  /** What the agent says; returns its number. */
  say(content: string | JsonObject, message: Partial<NewOutbound> = {}, now = START): number {
    this.#sent += 1;
    return this.runner.send(
      {
        id: `out-${this.#sent}`,
        kind: 'chat',
        address: MAIN,
        inReplyTo: null,
        content: typeof content === 'string' ? { text: content } : content,
        ...message,
      },
      now,
    ).seq;
  }
}

export interface Sent {
  readonly message: OutboundMessage;
  readonly attempt: Attempt;
  readonly at: Millis;
}

export interface TestWorld extends DeliveryLoopPorts {
  readonly clock: Clock;
  /** Every attempt that reached the platform, in order. */
  readonly sent: Sent[];
  readonly notices: Notice[];
  readonly cleaned: string[];
}

/** A world in which everything goes to the address it asks for and arrives, unless told otherwise. */
export function world(
  answer: (message: OutboundMessage, attempt: Attempt) => Promise<SendResult> | SendResult = sentOk,
  changes: Partial<DeliveryPorts> = {},
  clock = new Clock(),
): TestWorld {
  const sent: Sent[] = [];
  const notices: Notice[] = [];
  const cleaned: string[] = [];
  return {
    clock,
    sent,
    notices,
    cleaned,
    route: (_session, { address }) =>
      address === null
        ? { type: 'refused', reason: 'It has no address.' }
        : { type: 'deliver', address, account: address.channelType, duplicates: 'none' },
    send: async (message, attempt) => {
      sent.push({ message, attempt, at: clock.now });
      return answer(message, attempt);
    },
    cleanUp: async (_session, messageOutId) => void cleaned.push(messageOutId),
    notify: async (_session, notice) => void notices.push(notice),
    gate: new Gate(),
    now: () => clock.now,
    monotonic: () => clock.now,
    setTimer: clock.setTimer,
    random: () => 0,
    policy: DELIVERY_POLICY,
    ...changes,
  };
}

export function sentOk(_message: OutboundMessage, attempt: Attempt): SendResult {
  return { type: 'sent', platformMessageId: `p-${attempt.key}` };
}

export function texts(sent: readonly Sent[]): unknown[] {
  return sent.map(({ message }) => message.content['text']);
}

export function temporaryFolder(): { readonly path: string } & Disposable {
  // In memory where that can be had: these tests are about what is written, not about the disk, and sync by the thousand.
  const scratch = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const path = mkdtempSync(join(scratch, 'nanoclaw-delivery-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}
