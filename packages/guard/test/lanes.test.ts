/** Who waits for whom: files that are slow, files that kill their reader, and machines that are busy (failure 71). */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type SessionFolder, sessionFolder } from '@nanoclaw/session-db';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fakeProgram } from './fake-program.ts';
import { ALL, GuardWorld } from './guard-support.ts';

let world: GuardWorld;
beforeEach(() => {
  world = new GuardWorld();
});
afterEach(() => world[Symbol.dispose]());

/** What the lanes do is the same in every sandbox; this one starts the soonest. */
const FAST = { means: ['none'] } as const;

const ANSWER = `say({ result: job.type === 'remove' ? 'removed' : { type: 'absent' } })`;

/** A session by its name alone: the programs of these tests look at nothing else. */
function session(name: string): SessionFolder {
  return sessionFolder(join(world.root, name));
}

describe('files that are legal and slow', () => {
  it('wait for each other alone: a session without such files is served while all of them are read', async () => {
    const done = join(world.root, 'done');
    // Each takes until it is told to end, which is within its time.
    const program = fakeProgram(
      world,
      `if (job.root.includes('slow')) while (!fs.existsSync('${done}')) sleep(10); ${ANSWER}`,
    );
    const guard = world.guard({ ...FAST, slowMs: 100, verySlowMs: 200, readMaxMs: 60_000 }, program);
    let slowOnes = 0;
    const slow = Array.from({ length: 12 }, async (_, i) => {
      const read = await guard.reader(session(`slow-${i}`)).read(ALL);
      slowOnes += 1;
      return read.type;
    });
    const honest = guard.reader(session('honest'));
    for (let i = 0; i < 30; i++) expect((await honest.read(ALL)).type).toBe('absent');
    expect(slowOnes).toBe(0);
    writeFileSync(done, '');
    expect(new Set(await Promise.all(slow))).toEqual(new Set(['absent']));
    expect(world.troubles).toEqual([]);
  });

  it('make their session wait longer: who has used the least is next', async () => {
    const program = fakeProgram(world, `if (job.root.includes('hog')) sleep(30); ${ANSWER}`);
    const guard = world.guard({ ...FAST, childrenMax: 1, slowMs: 10_000 }, program);
    let ofHogs = 0;
    const hog = async (_: unknown, i: number) => {
      for (let n = 0; n < 6; n++, ofHogs++) await guard.reader(session(`hog-${i}`)).read(ALL);
    };
    const hogs = Array.from({ length: 8 }, hog);
    await vi.waitFor(() => expect(ofHogs).toBeGreaterThanOrEqual(16), { timeout: 20_000, interval: 5 });
    const before = ofHogs;
    await guard.reader(session('honest')).read(ALL);
    // One of them had begun already, and one may have ended in the same moment.
    expect(ofHogs - before).toBeLessThanOrEqual(2);
    await Promise.all(hogs);
  });

  it('are read among the others again once they are quick', async () => {
    const [slow, pids] = [join(world.root, 'slow'), join(world.root, 'pids')];
    writeFileSync(slow, '');
    const note = `fs.appendFileSync('${pids}', process.pid + ' ')`;
    const program = fakeProgram(world, `if (fs.existsSync('${slow}')) sleep(400); ${note}; ${ANSWER}`);
    const policy = { ...FAST, childrenMax: 1, slowMs: 200, verySlowMs: 10_000, trustAfter: 2 };
    const reader = world.guard(policy, program).reader(session('one'));
    const read = async () => expect((await reader.read(ALL)).type).toBe('absent');
    await read();
    rmSync(slow);
    for (let i = 0; i < 4; i++) await read();
    const [apart, ...rest] = readFileSync(pids, 'utf8').trim().split(' ');
    const among = rest.at(-1);
    expect(among).not.toBe(apart);
    expect(rest).toEqual([apart, apart, among, among]);
  });
});

describe('a file that kills its reader', () => {
  const KILLS = `if (job.name === 'hostile' || job.type === 'read') process.exit(1);
    fs.writeFileSync(scratch + '/' + job.to, job.name); say({ result: { type: 'copied' } });`;

  it('is left out of its message alone; those behind it are sent', async () => {
    const folder = world.session();
    const names = ['one', 'hostile', 'two'];
    const files = await world.guard(FAST, fakeProgram(world, KILLS)).spool(folder, 'r1', names);
    expect(files.map(({ type, name }) => [type, name])).toEqual([
      ['stored', 'one'],
      ['refused', 'hostile'],
      ['stored', 'two'],
    ]);
    expect(readFileSync(join(folder.host, 'spool', 'r1', 'two'), 'utf8')).toBe('two');
  });

  it('does not keep the files of its session from being sent, when it is a database', async () => {
    const folder = world.session();
    const guard = world.guard(FAST, fakeProgram(world, KILLS));
    expect((await guard.reader(folder).read(ALL)).type).toBe('overran');
    expect(await guard.spool(folder, 'r1', ['honest'])).toMatchObject([{ type: 'stored' }]);
  });
});

/** Keeps all processors of the machine busy until it is disposed of, with a higher priority than the guard's. */
function busyMachine(): Disposable {
  const hogs: ChildProcess[] = Array.from({ length: 4 }, () =>
    spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
  );
  return { [Symbol.dispose]: () => hogs.forEach((hog) => void hog.kill('SIGKILL')) };
}

describe.skipIf(!existsSync('/proc/self/schedstat'))('a machine that is busy with other things', () => {
  it('makes no file hostile, and no process of the guard end', async () => {
    const before = `import { setPriority } from 'node:os'; setPriority(5);`;
    const program = fakeProgram(world, `burn(30); ${ANSWER}`, before);
    const guard = world.guard({ ...FAST, slowMs: 100, verySlowMs: 100, readMaxMs: 100, startMaxMs: 1_000 }, program);
    using _busy = busyMachine();
    const reader = guard.reader(session('honest'));
    const { type } = await reader.read(ALL);
    expect(type).toBe('absent');
    expect(world.troubles).toEqual([]);
  });
});
