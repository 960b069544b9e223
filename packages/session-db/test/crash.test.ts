/**
 * One side is killed in mid-transaction, again and again, while the other goes on. Nothing that was acknowledged may be
 * missing at the end, and nothing may be there twice.
 *
 * 15 rounds a side; `pnpm crash` makes it a thousand. The schedule of the kills comes from a fixed seed.
 */
import { setImmediate as breath, setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Ack,
  type Claim,
  createSession,
  HostSession,
  isBusy,
  type OutboundMessage,
  type RunId,
  RunnerSession,
  readOutbound,
  runId,
  type SessionFolder,
} from '../src/index.ts';
import { openSqlite } from '../src/sqlite/node.ts';
import { Child, type Runtime } from './processes.ts';
import { chat, handshake, LIMITS, reply, temporaryFolder } from './support.ts';

const ROUNDS = Number(process.env['CRASH_ROUNDS'] ?? 15);
const PATIENCE = { timeout: 20_000 + ROUNDS * 2_000 };
const POLICY = { triesMax: 1_000_000, backoffBaseMs: 0, backoffMaxMs: 0 };

let stack: AsyncDisposableStack;
let folder: SessionFolder;
beforeEach(() => {
  stack = new AsyncDisposableStack();
  folder = createSession(stack.use(temporaryFolder('disk')).path);
});
afterEach(() => stack.disposeAsync());

/** Numbers from 0 to 1, the same in each test run (mulberry32). */
function chances(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Mostly the one that starts quickly. */
function runtimeOf(round: number): Runtime {
  return round % 5 === 0 ? 'node' : 'bun';
}

/** Starts a side, lets it work for a moment after its first line, and kills it. Meanwhile `other` goes on. */
async function killedAtWork(child: Child, ms: number, other: () => void): Promise<readonly string[]> {
  await child.line(1);
  const killed = sleep(ms).then(() => child.kill());
  while (!child.hasEnded) {
    other();
    await breath();
  }
  await killed;
  return child.seen;
}

/** `action`, or `undefined` where the other side held a lock for longer than is waited. */
function unlessBusy<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (isBusy(error)) return undefined;
    throw error;
  }
}

function answerAll(runner: RunnerSession): number {
  const result = unlessBusy(() => runner.claim(Date.now(), LIMITS));
  if (result?.type !== 'claimed') return 0;
  for (const { claim } of result.claimed) {
    while (unlessBusy(() => runner.finish([claim], { type: 'completed' }, [answer(claim)], Date.now())) === undefined);
  }
  return result.claimed.length;
}

function answer(claim: Claim) {
  return reply(`answer to ${claim.messageId}, attempt ${claim.attempt}`, claim.messageId);
}

/** Settles until nothing new is to be read, or nothing at all can be read just now. */
function settleAll(host: HostSession, runEnded: boolean): void {
  for (;;) {
    const read = readOutbound(folder, openSqlite, { ...host.cursor(), again: [], runEnded });
    if (read.type !== 'read') return;
    host.settle(read, Date.now(), POLICY);
    if (read.acks.length === 0) return;
  }
}

/** Reads on, page by page, where the last call had come to, and remembers all of it. */
class Reading {
  readonly acks: Ack[] = [];
  readonly messages: OutboundMessage[] = [];
  #cursor = { acksAfter: 0, messagesAfter: 0 };

  readOn(runEnded: boolean): this {
    for (;;) {
      const read = readOutbound(folder, openSqlite, { ...this.#cursor, again: [], runEnded });
      if (read.type !== 'read') throw new Error(`outbound.db cannot be read: ${JSON.stringify(read)}`);
      this.acks.push(...read.acks);
      this.messages.push(...read.messages);
      this.#cursor = { acksAfter: read.changesThrough, messagesAfter: read.messagesThrough };
      if (!read.more) return this;
    }
  }
}

/** Every message was answered once, and the answers' acks say so. */
function expectOneAnswerEach(ids: readonly string[]): void {
  const { acks, messages } = new Reading().readOn(false);
  expect(messages.map((message) => message.inReplyTo ?? '').toSorted()).toEqual([...ids].toSorted());
  const completed = acks.filter((ack) => ack.status === 'completed').map((ack) => ack.messageId);
  expect(completed.toSorted()).toEqual([...ids].toSorted());
  expect(new Set(messages.map((message) => message.seq)).size).toBe(ids.length);
}

function allMessages(): string[] {
  const db = openSqlite(folder.inbound.database, 'read');
  try {
    return db.all<{ id: string }>('SELECT id FROM messages_in').map((row) => row.id);
  } finally {
    db.close();
  }
}

describe(`a host killed in mid-transaction, ${ROUNDS} times`, () => {
  it('loses nothing that it accepted, and the run that it leaves behind answers all of it once', PATIENCE, async () => {
    const chance = chances(1);
    const run = runId('survivor');
    {
      using host = HostSession.open(folder, openSqlite);
      host.beginRun(run, Date.now());
    }
    using runner = RunnerSession.open(folder, openSqlite, handshake(run), Date.now());
    const accepted: string[] = [];
    let unreadable = 0;
    for (let round = 0; round < ROUNDS; round++) {
      await using child = new Child(runtimeOf(round), 'peer.ts', ['fast-host', folder.root, `r${round}`]);
      accepted.push(...(await killedAtWork(child, chance() * 30, () => answerAll(runner))));
      const after = runner.claim(Date.now(), { work: 0, control: 0, context: 0 });
      if (after.type === 'unreadable') unreadable++;
    }

    using host = HostSession.open(folder, openSqlite);
    while (answerAll(runner) > 0);
    settleAll(host, false);
    const written = allMessages();
    const known = new Set(written);
    expect(known.size).toBe(written.length);
    expect(accepted.filter((id) => !known.has(id))).toEqual([]);
    expect(host.nextDueAt()).toBeUndefined();
    expectOneAnswerEach(written);
    // Said, so that a schedule that never met a commit does not look like a proof.
    process.stdout.write(`${ROUNDS} kills of a host: ${accepted.length} accepted, ${unreadable} hot journals\n`);
    expect(accepted.length).toBeGreaterThan(ROUNDS);
  });
});

describe(`a run killed in mid-transaction, ${ROUNDS} times`, () => {
  it(
    'loses no answer that it wrote, and what it had begun is answered once by the next (failure 12)',
    PATIENCE,
    async () => {
      const chance = chances(2);
      using host = HostSession.open(folder, openSqlite);
      const enqueued: string[] = [];
      const answered: string[] = [];
      const reading = new Reading();
      let hotJournals = 0;

      const look = () => readOutbound(folder, openSqlite, { ...host.cursor(), again: [] });
      const enqueueOne = () => {
        const id = `m${enqueued.length}`;
        if (unlessBusy(() => host.enqueue(chat(id), Date.now())) === 'inserted') enqueued.push(id);
        unlessBusy(() => settleAll(host, false));
      };

      // A busy machine kills many a run before it has said anything: then there are more of them.
      for (let round = 0; round < ROUNDS || (answered.length <= ROUNDS / 2 && round < 4 * ROUNDS); round++) {
        const run: RunId = runId(`run-${round}`);
        for (let i = 0; i < 5; i++) enqueueOne();
        host.beginRun(run, Date.now());
        await using child = new Child(runtimeOf(round), 'peer.ts', ['fast-runner', folder.root, run]);
        const lines = await killedAtWork(child, chance() * 60, enqueueOne);
        answered.push(...lines.slice(1));
        if (look().type === 'hot-journal') hotJournals++;
        // Its exit is confirmed: what it had committed is read, from a private copy where need be, before the next run.
        host.endRun(run);
        settleAll(host, true);
        const done = new Set(reading.readOn(true).messages.map((message) => message.inReplyTo));
        expect(answered.filter((id) => !done.has(id))).toEqual([]);
      }

      const last = runId('last');
      host.beginRun(last, Date.now());
      using runner = RunnerSession.open(folder, openSqlite, handshake(last), Date.now());
      do settleAll(host, false);
      while (answerAll(runner) > 0);
      settleAll(host, false);
      expect(host.nextDueAt()).toBeUndefined();
      expect(allMessages().toSorted()).toEqual(enqueued.toSorted());
      expectOneAnswerEach(enqueued);
      process.stdout.write(
        `At least ${ROUNDS} kills of a run: ${answered.length} answers told, ${hotJournals} hot journals\n`,
      );
      expect(answered.length).toBeGreaterThan(ROUNDS / 2);
    },
  );
});
