/** The guard as its host sees it: answers, time-outs, turns, beginnings and ends. */
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { inProcessReader, type SessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SLICE_MS } from '../src/child.ts';
import { ALL, GuardWorld, HeldTimer, makeEndless, PROGRAM, SOURCE_PROGRAM, tampered } from './guard-support.ts';

let world: GuardWorld;
beforeEach(() => {
  world = new GuardWorld();
});
afterEach(() => world[Symbol.dispose]());

/** The processes of guards that this process has started and that have not ended. */
function children(): number[] {
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' })
    .split('\n')
    .flatMap((line) => {
      const [, pid, parent, args = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
      return Number(parent) === process.pid && args.includes(world.root + '/') ? [Number(pid)] : [];
    });
}

/** The guard's own program under a name of this test, so that its processes can be told from those of other tests. */
function ownProgram(): string {
  const path = join(world.root, `guard-main${extname(PROGRAM)}`);
  if (existsSync(path)) return path;
  if (PROGRAM === SOURCE_PROGRAM) writeFileSync(path, `import ${JSON.stringify(PROGRAM)};\n`);
  else copyFileSync(PROGRAM, path);
  return path;
}

/** A program that is ready at once and then does `onJob` with each piece of input. */
function program(onJob: string): string {
  const path = join(world.root, `program-${readdirSync(world.root).length}.mjs`);
  writeFileSync(
    path,
    `const say = (value) => process.stdout.write(JSON.stringify(value) + '\\n');
     say({ result: 'ready' });
     process.stdin.on('data', (job) => { ${onJob} });`,
  );
  return path;
}

describe('a read through the guard', () => {
  it('gives what a read in this process gives', async () => {
    const folder = world.session();
    tampered(folder, (db) =>
      db.exec(`PRAGMA ignore_check_constraints = 1;
        INSERT INTO messages_out (seq, id, run_id, timestamp, kind, content) VALUES (6, 'even', 'run-1', 1, 'chat', '{}')`),
    );
    const direct = inProcessReader(folder, openSqlite);
    const guarded = world.guard().reader(folder);
    for (const request of [ALL, { ...ALL, again: [3] }, { acksAfter: 9, messagesAfter: 9, again: [] }]) {
      expect(await guarded.read(request)).toEqual(await direct.read(request));
    }
  });

  it('says absent where there is no file, and starts nothing before it is asked', async () => {
    const folder = world.session();
    const guard = world.guard({}, ownProgram());
    const reader = guard.reader({ ...folder, root: join(world.root, 'nobody') });
    expect(children()).toEqual([]);
    expect(await reader.read(ALL)).toEqual({ type: 'absent' });
    expect(children()).toHaveLength(1);
  });

  it('is answered for many sessions at the same time, each with its own', async () => {
    const guard = world.guard();
    const folders = Array.from({ length: 12 }, (_, i) => world.session(`answer ${i}`));
    const reads = await Promise.all(
      folders.flatMap((folder) => [guard.reader(folder).read(ALL), guard.reader(folder).read(ALL)]),
    );
    expect(reads.map((read) => read.type === 'read' && read.messages[0]?.content['text'])).toEqual(
      folders.flatMap((_, i) => [`answer ${i}`, `answer ${i}`]),
    );
    expect(world.troubles).toEqual([]);
  });

  it('comes to the end of a flood, piece by piece, with nothing lost (failure 52)', async () => {
    const folder = world.session();
    tampered(folder, (db) =>
      db.exec(`WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO messages_out (seq, id, run_id, timestamp, kind, content)
        SELECT 3 + 2 * i, 'flood-' || i, 'run-1', 1, 'chat', json_object('t', hex(zeroblob(2000))) FROM n`),
    );
    const reader = world.guard().reader(folder);
    const seen = new Set<string>();
    for (let messagesAfter = 0, more = true; more; ) {
      const read = await reader.read({ ...ALL, messagesAfter });
      if (read.type !== 'read') throw new Error(read.type);
      for (const { id } of read.messages) seen.add(id);
      ({ messagesThrough: messagesAfter, more } = read);
    }
    expect(seen.size).toBe(2_001);
  });
});

/** A session whose agent has written files of these names for its message r1. */
function withFiles(names: readonly string[]): SessionFolder {
  const folder = world.session();
  mkdirSync(join(folder.outbound.files, 'r1'), { recursive: true });
  for (const name of names) writeFileSync(join(folder.outbound.files, 'r1', name), `contents of ${name}`);
  return folder;
}

describe('files through the guard', () => {
  it("are copied into the host's spool, and those that are none are refused (failures 45, 47)", async () => {
    const folder = withFiles(['a.txt']);
    symlinkSync('/etc/passwd', join(folder.outbound.files, 'r1', 'link'));
    execFileSync('mkfifo', [join(folder.outbound.files, 'r1', 'pipe')]);
    const names = ['a.txt', 'link', 'pipe', '../../../inbound/inbound.db', 'absent'];
    const files = await world.guard().spool(folder, 'r1', names);
    expect(files.map(({ type, name }) => [type, name])).toEqual([
      ['stored', 'a.txt'],
      ...names.slice(1).map((name) => ['refused', name]),
    ]);
    const [stored] = files;
    if (stored?.type !== 'stored') throw new Error('It was not stored.');
    expect(stored.path.startsWith(folder.host)).toBe(true);
    expect(readFileSync(stored.path, 'utf8')).toBe('contents of a.txt');
  });

  it('are removed on both sides', async () => {
    const folder = withFiles(['a.txt']);
    const guard = world.guard();
    const [stored] = await guard.spool(folder, 'r1', ['a.txt']);
    expect(await guard.remove(folder, 'r1')).toBe('removed');
    expect(existsSync(join(folder.outbound.files, 'r1'))).toBe(false);
    expect(stored?.type === 'stored' && existsSync(stored.path)).toBe(false);
  });

  it('that cannot be copied for reasons of the host are an error of the host', async () => {
    const folder = withFiles(['a.txt']);
    writeFileSync(join(folder.host, 'spool'), 'in the way');
    const guard = world.guard();
    await expect(guard.spool(folder, 'r1', ['a.txt'])).rejects.toThrow(/ENOTDIR|EEXIST/);
    expect((await guard.reader(folder).read(ALL)).type).toBe('read');
    expect(world.troubles).toEqual([]);
  });
});

describe('a file that holds its reader for ever (failure 46)', () => {
  it('costs its reader, and a finding; the host goes on and every other session is served meanwhile', async () => {
    const [stuck, other] = [world.session(), world.session()];
    makeEndless(stuck);
    // The quick lane has less time than is waited for at once in the next one, whose time stands still.
    const timer = new HeldTimer(SLICE_MS);
    const guard = world.guard({ childrenMax: 1, readMaxMs: 1_000, slowMs: SLICE_MS - 5 }, PROGRAM, timer.setTimer);
    const order: string[] = [];
    let ticks = 0;
    const ticking = setInterval(() => {
      ticks += 1;
    }, 5);
    const overrun = guard
      .reader(stuck)
      .read(ALL)
      .finally(() => order.push('stuck'));
    for (let i = 0; i < 50; i++) {
      expect((await guard.reader(other).read(ALL)).type).toBe('read');
      order.push('other');
    }
    await vi.waitFor(() => expect(ticks).toBeGreaterThan(50), 10_000);
    timer.letGo(SLICE_MS);
    expect(await overrun).toEqual({
      type: 'overran',
      detail: 'Reading outbound.db had to be given up. It took longer than 1 s.',
    });
    clearInterval(ticking);
    expect(order).toEqual([...Array.from({ length: 50 }, () => 'other'), 'stuck']);
    expect(world.troubles).toEqual([{ root: stuck.root, reason: expect.stringContaining('It took longer than') }]);
  });

  it('is killed for good, and a new one reads on', async () => {
    const [stuck, other] = [world.session(), world.session()];
    makeEndless(stuck);
    const guard = world.guard({ childrenMax: 1, readMaxMs: 400, slowMs: 60_000 }, ownProgram());
    expect((await guard.reader(other).read(ALL)).type).toBe('read');
    const before = children();
    expect((await guard.reader(stuck).read(ALL)).type).toBe('overran');
    await vi.waitFor(() => expect(children()).toEqual([]), 10_000);
    expect((await guard.reader(other).read(ALL)).type).toBe('read');
    expect(children()).toHaveLength(1);
    expect(children()).not.toEqual(before);
  });

  it('is not read again for a while, then apart from the others, and among them once it has behaved', async () => {
    const [folder, other] = [world.session(), world.session()];
    const whole = readFileSync(folder.outbound.database);
    makeEndless(folder);
    const policy = { childrenMax: 1, slowMs: 60_000, readMaxMs: 400, holdBaseMs: 1_500, trustAfter: 2, idleMs: 3_000 };
    const timer = new HeldTimer(policy.holdBaseMs, policy.idleMs);
    const guard = world.guard(policy, ownProgram(), timer.setTimer);
    const reader = guard.reader(folder);
    expect((await guard.reader(other).read(ALL)).type).toBe('read');
    expect((await reader.read(ALL)).type).toBe('overran');
    writeFileSync(folder.outbound.database, whole);
    expect((await reader.read(ALL)).type).toBe('overran');
    timer.pass(policy.holdBaseMs);
    expect((await reader.read(ALL)).type).toBe('read');
    expect((await guard.reader(other).read(ALL)).type).toBe('read');
    // One process for those that are trusted, one for this one.
    expect(children()).toHaveLength(2);
    // Trusted again: its own process ends for want of work, and it is read by that of the others.
    expect((await reader.read(ALL)).type).toBe('read');
    timer.pass(policy.idleMs);
    await vi.waitFor(() => expect(children()).toEqual([]), 10_000);
    expect((await guard.reader(other).read(ALL)).type).toBe('read');
    expect((await reader.read(ALL)).type).toBe('read');
    expect(children()).toHaveLength(1);
    expect(world.troubles).toHaveLength(1);
  });

  it('is one finding for all who wait for it', async () => {
    const folder = world.session();
    makeEndless(folder);
    const guard = world.guard({ readMaxMs: 500 });
    const reads = await Promise.all([guard.reader(folder).read(ALL), guard.reader(folder).read(ALL)]);
    expect(reads.map((read) => read.type)).toEqual(['overran', 'overran']);
    expect(world.troubles).toHaveLength(1);
  });

  it('does not outlive the host, stuck or not', async () => {
    const folder = world.session();
    makeEndless(folder);
    const job = { type: 'read', root: folder.root, request: ALL, limits: { fileBytesMax: 2 ** 30 } };
    // A host that starts a guard, gives it a job that never ends, and is killed itself.
    const host = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { spawn } from 'node:child_process';
         const stuck = spawn(process.execPath, [${JSON.stringify(PROGRAM)}], { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
         const idle = spawn(process.execPath, [${JSON.stringify(PROGRAM)}], { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
         let ready = 0;
         for (const child of [stuck, idle]) child.stdout.once('data', () => {
           if (++ready < 2) return;
           stuck.stdin.write(${JSON.stringify(`${JSON.stringify(job)}\n`)});
           setTimeout(() => console.log(JSON.stringify([stuck.pid, idle.pid])), 200);
         });`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [line] = await new Promise<[Buffer]>((resolve) =>
      host.stdout.once('data', (data: Buffer) => resolve([data])),
    );
    const pids: number[] = JSON.parse(line.toString());
    expect(pids.map(isAlive)).toEqual([true, true]);
    host.kill('SIGKILL');
    await vi.waitFor(() => expect(pids.map(isAlive)).toEqual([false, false]), 10_000);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // One that has ended and that nobody has asked about yet is dead as well.
  return !/^\d+ \(.*\) [ZX]/.test(existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '');
}

describe('a process that says what it should not', () => {
  const answers: Record<string, string> = {
    'no JSON': `process.stdout.write('hello\\n')`,
    'another shape': `say({ result: { type: 'read', acks: 'none' } })`,
    'a message that was not asked for': `say({ result: { type: 'read', acks: [], changesThrough: 0, openClaims: [], more: false,
      messages: [], messagesThrough: 0, refused: [], again: [{ id: 'x', seq: 7, runId: 'r', kind: 'chat', timestamp: 1,
      deliverAfter: null, address: null, inReplyTo: null, content: {} }] } })`,
    'a cursor that goes back': `say({ result: { type: 'read', acks: [], changesThrough: -1, openClaims: [], more: false,
      messages: [], messagesThrough: 0, refused: [], again: [] } })`,
    'content too deep': `say({ result: { type: 'read', acks: [], changesThrough: 0, openClaims: [], more: false, again: [],
      messagesThrough: 1, refused: [], messages: [{ id: 'x', seq: 1, runId: 'r', kind: 'chat', timestamp: 1,
      deliverAfter: null, address: null, inReplyTo: null, content: JSON.parse('{"a":'.repeat(40) + '1' + '}'.repeat(40)) }] } })`,
    'two answers': `say({ result: { type: 'absent' } }); say({ result: { type: 'absent' } })`,
    'a line without end': `const flood = () => process.stdout.write('x'.repeat(2 ** 20), flood); flood()`,
    'nothing, and leaves': 'process.exit(0)',
    'nothing at all': '',
  };
  for (const [name, onJob] of Object.entries(answers)) {
    it(`is ended, and what it said believed by nobody: ${name}`, async () => {
      const folder = world.session();
      // The one that says nothing has all this time, twice.
      const guard = world.guard({ readMaxMs: onJob === '' ? 300 : 3_000 }, program(onJob));
      // Its first answer may pass for one; what comes after it does not.
      const reads = [await guard.reader(folder).read(ALL), await guard.reader(world.session()).read(ALL)];
      expect(reads.map(({ type }) => type).filter((type) => type !== 'overran' && type !== 'absent')).toEqual([]);
      if (name !== 'two answers') expect(reads.map(({ type }) => type)).toEqual(['overran', 'overran']);
      await vi.waitFor(() => expect(children()).toEqual([]), 10_000);
    });
  }

  it('that it has copied a file, is not believed without the copy', async () => {
    const folder = world.session();
    const [file] = await world.guard({}, program(`say({ result: { type: 'copied' } })`)).spool(folder, 'r1', ['a.txt']);
    expect(file).toMatchObject({ type: 'refused', name: 'a.txt' });
    expect(existsSync(join(folder.host, 'spool', 'r1', 'a.txt'))).toBe(false);
  });
});

describe("the guard's processes", () => {
  it('end after a while without work, and come back with the next read', async () => {
    const folder = world.session();
    const guard = world.guard({ idleMs: 100 }, ownProgram());
    expect((await guard.reader(folder).read(ALL)).type).toBe('read');
    await vi.waitFor(() => expect(children()).toEqual([]), 10_000);
    expect((await guard.reader(folder).read(ALL)).type).toBe('read');
    expect(world.troubles).toEqual([]);
  });

  it('end with the guard, and whoever waits is told', async () => {
    const stuck = world.session();
    makeEndless(stuck);
    const guard = world.guard({}, ownProgram());
    const read = guard.reader(stuck).read(ALL);
    const told = expect(read).rejects.toThrow('stops');
    await vi.waitFor(() => expect(children()).toHaveLength(1), 10_000);
    guard[Symbol.dispose]();
    await told;
    await expect(guard.reader(stuck).read(ALL)).rejects.toThrow('stops');
    await vi.waitFor(() => expect(children()).toEqual([]), 10_000);
  });

  it('that do not come up are an error of the host, with what they said, and are tried again later', async () => {
    const folder = world.session();
    const path = join(world.root, 'broken.ts');
    writeFileSync(path, `throw new Error('no such driver');`);
    const guard = world.guard({ restartMs: 50 }, path);
    await expect(guard.reader(folder).read(ALL)).rejects.toThrow(/no such driver/);
    expect(world.troubles).toEqual([{ root: undefined, reason: expect.stringContaining('no such driver') }]);
    writeFileSync(path, readFileSync(ownProgram(), 'utf8'));
    expect((await guard.reader(folder).read(ALL)).type).toBe('read');
  });

  it('have no environment, and so no credentials of the host', async () => {
    const folder = world.session();
    vi.stubEnv('ANTHROPIC_API_KEY', 'secret');
    const guard = world.guard({}, program(`say({ failed: Object.keys(process.env).join(' ') + '.' })`));
    await expect(guard.reader(folder).read(ALL)).rejects.toThrow(/^(PWD|SHLVL|_|OLDPWD| )*\.$/);
    vi.unstubAllEnvs();
  });

  it('cannot write a file that grows without end (failure 46)', async () => {
    const write = `
      import('node:fs').then(({ openSync, ftruncateSync }) => {
        ftruncateSync(openSync(process.argv[2] + '/giant', 'w'), 2 ** 31);
        say({ failed: 'written' });
      }).catch((error) => say({ failed: error.code }))`;
    const read = world.guard({}, program(write)).reader(world.session()).read(ALL);
    const outcome = await read.then(({ type }) => type).catch((error: Error) => error.message);
    expect(['overran', 'EFBIG']).toContain(outcome);
  });
});
