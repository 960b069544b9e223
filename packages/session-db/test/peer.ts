/**
 * One side of a session in a process of its own, for the tests with two: `peer.ts ROLE FOLDER …`. It is told by lines on
 * its standard input and tells by lines on its standard output.
 */

import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { openSqlite } from '#driver';
import {
  type Claim,
  createSession,
  Doorbell,
  HostSession,
  INBOUND_RETRY,
  RunnerSession,
  readOutbound,
  runId,
  type SetTimer,
  SqliteError,
  sessionFolder,
} from '../src/index.ts';
import { chat, handshake, LIMITS, reply } from './support.ts';

const [role = '', root = '', ...rest] = process.argv.slice(2);
const folder = sessionFolder(root);

// So seldom that the tests' patience ends where most rings are found by a poll; one or the other that the file system
// does not report (Bun's watch may begin a little late) costs no more than this.
const SELDOM_POLLED = { pollMinMs: 3_000, pollMaxMs: 3_000 };

const setTimer: SetTimer = (delayMs, action) => {
  const timer = setTimeout(action, delayMs);
  return () => clearTimeout(timer);
};

/** Synchronous, so that a line that was printed has left the process whatever happens to it next. */
function tell(line: string): void {
  writeSync(1, `${line}\n`);
}

const roles: Record<string, () => Promise<void>> = { host, runner, 'fast-host': fastHost, 'fast-runner': fastRunner };
await roles[role]?.();

/** Enqueues one message after the other, each when the one before has been answered and settled. */
async function host(): Promise<void> {
  const count = Number(rest[0]);
  createSession(root);
  using session = HostSession.open(folder, openSqlite);
  session.beginRun(runId('run-1'), Date.now());
  const told = createInterface(process.stdin)[Symbol.asyncIterator]();
  tell('ready');
  await told.next();

  let bellRang: (() => void) | undefined;
  using stack = new DisposableStack();
  stack.use(new Doorbell(folder.outbound, () => bellRang?.(), { setTimer, ...SELDOM_POLLED }));
  for (let i = 0; i < count; i++) {
    const id = `m${i}`;
    const settled = new Promise<void>((resolve) => {
      bellRang = () => {
        const read = readOutbound(folder, openSqlite, { ...session.cursor(), again: [] });
        if (read.type === 'read') session.settle(read, Date.now(), INBOUND_RETRY);
        // The runner is committing.
        else setTimer(5, () => bellRang?.());
        if (session.message(id)?.status === 'completed') resolve();
      };
    });
    session.enqueue(chat(id), Date.now());
    await settled;
    tell(`${id} completed`);
  }
}

/** Answers whatever comes, until its standard input ends. */
async function runner(): Promise<void> {
  using session = RunnerSession.open(folder, openSqlite, handshake(runId('run-1')), Date.now());
  let work = Promise.resolve();
  using stack = new DisposableStack();
  stack.use(new Doorbell(folder.inbound, () => void (work = work.then(answer)), { setTimer, ...SELDOM_POLLED }));
  tell('ready');
  for await (const _ of createInterface(process.stdin));
  await work;

  async function answer(): Promise<void> {
    const result = session.claim(Date.now(), LIMITS);
    if (result.type === 'unreadable') return sleep(5).then(answer);
    if (result.type !== 'claimed' || result.claimed.length === 0) return;
    // A model thinks a little; the two rings are then far enough apart for any throttle.
    await sleep(20);
    const claims = result.claimed.map((one) => one.claim);
    session.finish(claims, { type: 'completed' }, claims.map(answerTo), Date.now());
  }
}

/** Enqueues as fast as it can, and tells of each message when it has been accepted. */
async function fastHost(): Promise<void> {
  using session = HostSession.open(folder, openSqlite);
  for (let i = 0; ; i++) {
    const id = `${rest[0]}-${i}`;
    const accepted = persistently(() => session.enqueue(chat(id), Date.now()));
    if (accepted === 'inserted') tell(id);
    if (i % 5 !== 0) continue;
    const read = readOutbound(folder, openSqlite, { ...session.cursor(), again: [] });
    if (read.type === 'read') persistently(() => session.settle(read, Date.now(), INBOUND_RETRY));
  }
}

/** Claims and finishes as fast as it can, and tells of each message when its answer has been written. */
async function fastRunner(): Promise<void> {
  using session = RunnerSession.open(folder, openSqlite, handshake(runId(rest[0] ?? '')), Date.now());
  tell('ready');
  for (;;) {
    const result = persistently(() => session.claim(Date.now(), { ...LIMITS, work: 2 }));
    if (result.type === 'fenced') return;
    if (result.type !== 'claimed') continue;
    for (const { claim } of result.claimed) {
      persistently(() => session.finish([claim], { type: 'completed' }, [answerTo(claim)], Date.now()));
      tell(claim.messageId);
    }
  }
}

/** Until the other side's reads leave room for a commit. */
function persistently<T>(action: () => T): T {
  for (;;) {
    try {
      return action();
    } catch (error) {
      if (!(error instanceof SqliteError && error.code.startsWith('SQLITE_BUSY'))) throw error;
    }
  }
}

function answerTo(claim: Claim) {
  return reply(`answer to ${claim.messageId}, attempt ${claim.attempt}`, claim.messageId);
}
