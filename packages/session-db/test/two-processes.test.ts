import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HostSession, sessionFolder } from '../src/index.ts';
import { openSqlite } from '../src/sqlite/node.ts';
import { Child, RUNTIMES } from './processes.ts';
import { temporaryFolder } from './support.ts';

let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

const PAIRINGS = RUNTIMES.flatMap((host) => RUNTIMES.map((runner) => ({ host, runner })));
const MESSAGES = 10;

describe.each(PAIRINGS)('a host on $host and a runner on $runner', (pairing) => {
  // With each step found by a poll it would take a minute: see how seldom `peer.ts` polls.
  it('pass messages and answers through the two files, each told by the other’s bell', {
    timeout: 30_000,
  }, async () => {
    const root = stack.use(temporaryFolder()).path;
    const host = stack.use(new Child(pairing.host, 'peer.ts', ['host', root, String(MESSAGES)]));
    expect(await host.line(1)).toBe('ready');
    const runner = stack.use(new Child(pairing.runner, 'peer.ts', ['runner', root]));
    expect(await runner.line(1)).toBe('ready');
    host.say('go');
    await host.line(MESSAGES + 1);

    const all = Array.from({ length: MESSAGES }, (_, i) => `m${i} completed`);
    expect(host.seen.slice(1)).toEqual(all);
    using session = HostSession.open(sessionFolder(root), openSqlite);
    expect(session.nextDueAt()).toBeUndefined();
  });
});
