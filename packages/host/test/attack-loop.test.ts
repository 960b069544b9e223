/** What a session's container does to hold up the host itself, against a whole host: the others do not notice, and it has a name. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { HostSession, type InboundMessage, type SessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findingsOf } from '../src/session/findings.ts';
import { AttackedHost } from './attack-support.ts';
import type { StandInHome } from './stand-in-driver.ts';
import { type StandInPlace, StandInRun } from './stand-in-run.ts';
import { freePort, setTimer as realTimer, until } from './whole-host.ts';

let attacked: AttackedHost;
let folder: SessionFolder;
let stack: DisposableStack;
/** So many times faster pass the waits of the host. */
let pace: number;
let agents: Hijackable;

beforeEach(async () => {
  stack = new DisposableStack();
  pace = 1;
  agents = new Hijackable();
  attacked = new AttackedHost({
    settings: { healthPort: await freePort() },
    agents,
    options: { ports: { clock: { now: () => Date.now(), setTimer: (ms, act) => realTimer(ms / pace, act) } } },
  });
  folder = await attacked.start();
});
afterEach(async () => {
  stack.dispose();
  await attacked.close();
});

/** Agents that answer, until what runs them is taken over: it lives on, and does nothing of itself. */
class Hijackable implements StandInHome {
  readonly #runs = new Map<
    string,
    { readonly run: StandInRun; readonly outbound: string; readonly onLeft: () => void }
  >();
  readonly #hijacked = new Set<string>();

  begin(place: StandInPlace, onLeft: () => void): void {
    const options = {
      now: () => Date.now(),
      setTimer: realTimer,
      answer: ({ content }: InboundMessage) => `${content['text']}`,
    };
    const run = new StandInRun(place, options, () => void (this.#hijacked.has(place.runId) || onLeft()));
    this.#runs.set(place.runId, { run, outbound: place.outbound, onLeft });
  }

  leave(runId: string): void {
    const known = this.#runs.get(runId);
    if (this.#hijacked.delete(runId)) known?.onLeft();
    else known?.run.leave();
  }

  close(): void {
    for (const id of this.#runs.keys()) this.leave(id);
  }

  hijack(session: SessionFolder): void {
    for (const [id, { run, outbound }] of this.#runs) {
      if (outbound !== session.outbound.root) continue;
      this.#hijacked.add(id);
      run.leave();
    }
  }
}

/** A program of the container's, which says a line once it is at work. Ends with the test. */
async function atWork(program: string): Promise<Disposable> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: fileURLToPath(new URL('..', import.meta.resolve('@nanoclaw/session-db/node'))),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const end = stack.use({ [Symbol.dispose]: () => void child.kill('SIGKILL') });
  await once(child.stdout, 'data');
  return end;
}

function holdsReadLock(): Promise<Disposable> {
  return atWork(`import Database from 'better-sqlite3';
    const db = new Database(${JSON.stringify(folder.inbound.database)}, { readonly: true });
    db.exec('BEGIN'); db.prepare('SELECT count(*) FROM messages_in').get();
    console.log('locked'); setInterval(() => db, 1000);`);
}

function locksItsOwn(): Promise<Disposable> {
  return atWork(`import Database from 'better-sqlite3';
    const db = new Database(${JSON.stringify(folder.outbound.database)}, { timeout: 5000 });
    db.exec('BEGIN EXCLUSIVE'); console.log('locked'); setInterval(() => db, 1000);`);
}

/** What `sessions show` tells of what was stopped. */
function findingNames(): string[] {
  return findingsOf(folder).map(({ finding }) => finding);
}

function statusOf(id: string): string | undefined {
  using view = HostSession.view(folder, openSqlite);
  return view.received(id)?.status;
}

describe('a read lock on its inbound.db (failures 67, 93)', () => {
  it('held for a while makes its own messages wait and nothing else, and they are taken in without being sent again', async () => {
    const lock = await holdsReadLock();
    pace = 10;
    expect(await attacked.whole.say(0, 'second', 'and now?')).toBe('kept');
    await attacked.bystander('one');
    lock[Symbol.dispose]();
    await until(() => statusOf('memory:chat-0:second') === 'completed');
  });

  it('held for a moment is waited for', async () => {
    const lock = await holdsReadLock();
    realTimer(200, () => lock[Symbol.dispose]());
    expect(await attacked.whole.say(0, 'second', 'and now?')).toBe('acknowledged');
  });

  it('held on ends its run, and has a name', async () => {
    await holdsReadLock();
    pace = 10;
    expect(await attacked.whole.say(0, 'second', 'and now?')).toBe('kept');
    await until(() => attacked.log.some((line) => line.includes('inbound-locked')));
    await attacked.bystander('one');
    expect(await attacked.counted('findings_total{finding="inbound-locked"}')).toBeGreaterThan(0);
    expect(findingNames()).toContain('inbound-locked');
    expect(await attacked.counted('kills_total{reason="locked"}')).toBeGreaterThan(0);
  });
});

describe('an exclusive lock on its own file (failure 67)', () => {
  it('held on has a name, and nobody else waits', async () => {
    await locksItsOwn();
    await attacked.whole.say(0, 'second', 'and now?');
    await until(() => findingNames().includes('outbound-locked'));
    await attacked.bystander('one');
    expect(attacked.log.some((line) => line.includes('outbound-locked'))).toBe(true);
    expect(await attacked.counted('findings_total{finding="outbound-locked"}')).toBeGreaterThan(0);
  });

  it('held for a moment is waited for, and is no finding', async () => {
    const lock = await locksItsOwn();
    await attacked.whole.say(0, 'second', 'and now?');
    realTimer(1_000, () => lock[Symbol.dispose]());
    await until(() => statusOf('memory:chat-0:second') === 'completed');
    expect(findingNames()).toEqual([]);
  });
});

describe('its own folder', () => {
  it('that cannot be looked into is its own trouble, and ends nobody (failure 69)', async () => {
    agents.hijack(folder);
    renameSync(folder.outbound.root, `${folder.outbound.root}-away`);
    symlinkSync(folder.outbound.root, folder.outbound.root);
    await attacked.bystander('one');
    await until(() => attacked.log.some((line) => line.includes('database-not-a-file')));
    rmSync(folder.outbound.root);
    renameSync(`${folder.outbound.root}-away`, folder.outbound.root);
    await attacked.bystander('two');
  });
});

describe('its bell', () => {
  it('touched in a tight loop is heard now and then, and has a name (failure 66)', async () => {
    expect(existsSync(folder.outbound.bell)).toBe(true);
    await atWork(`import { utimesSync } from 'node:fs';
      console.log('at work');
      for (let i = 0; ; i++) utimesSync(${JSON.stringify(folder.outbound.bell)}, i, i);`);
    await attacked.bystander('one');
    await until(() => attacked.log.some((line) => line.includes('bell-flood')));
    expect(await attacked.counted('findings_total{finding="bell-flood"}')).toBeGreaterThan(0);
    expect(findingNames()).toContain('bell-flood');
  });
});
