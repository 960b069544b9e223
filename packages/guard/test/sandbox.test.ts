/** What a process of the guard cannot do, in each form that a system may allow: tried from within (failure 75). */
import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SANDBOX_MEANS, type SandboxMeans } from '../src/sandbox.ts';
import { systemCallFilter } from '../src/seccomp.ts';
import { fakeProgram, running } from './fake-program.ts';
import { ALL, GuardWorld, SOURCE_PROGRAM } from './guard-support.ts';

let world: GuardWorld;
beforeEach(() => {
  world = new GuardWorld();
});
afterEach(() => world[Symbol.dispose]());

const isRoot = process.getuid?.() === 0;

/** Whether this system has the programs of a form and lets this user use them. */
const canUse: Record<SandboxMeans, boolean> = {
  bubblewrap: works('bwrap', ['--unshare-pid', '--unshare-net', '--ro-bind', '/', '/', '--proc', '/proc', 'true']),
  unshare: works('unshare', [...(isRoot ? [] : ['--user']), '--net', '--pid', '--fork', '--mount-proc', 'true']),
  setpriv: works('setpriv', ['--no-new-privs', 'true']),
  none: true,
};

function works(program: string, args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

/** Says in `failed` what came of each attempt: what it gave, or the code of its error. */
const ATTEMPTS = `
  const attempt = (what) => { try { return String(what()); } catch (error) { return error.code; } };
  const connected = await new Promise((resolve) =>
    net.connect(job.request.acksAfter, '127.0.0.1').on('connect', () => resolve('connected')).on('error', (e) => resolve(e.code)));
  say({ failed: JSON.stringify({
    connected,
    root: attempt(() => fs.readdirSync('/').sort()),
    passwd: attempt(() => fs.readFileSync('/etc/passwd').length > 0),
    environment: attempt(() => fs.readFileSync('/proc/' + job.request.messagesAfter + '/environ').length > 0),
    signal: attempt(() => process.kill(job.request.messagesAfter, 0)),
    namespaces: attempt(() => ['ipc', 'net', 'pid', 'uts'].filter((name) => job.request.again.includes(fs.statSync('/proc/self/ns/' + name).ino))),
    processes: attempt(() => fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).length),
    shell: attempt(() => { throw spawnSync('/bin/sh', ['-c', 'true']).error ?? new Error('it ran'); }),
    inbound: attempt(() => fs.writeFileSync(job.root + '/inbound/inbound.db', 'mine')),
    outbound: attempt(() => fs.writeFileSync(job.root + '/outbound/files/x', 'mine')),
    link: attempt(() => fs.symlinkSync('/etc/passwd', job.root + '/host/spool')),
    elsewhere: attempt(() => fs.writeFileSync('/mine', 'mine')),
    library: attempt(() => fs.writeFileSync(process.execPath, 'mine', { flag: 'r+' })),
    setuid: attempt(() => process.setuid(0)),
    own: attempt(() => fs.writeFileSync(scratch + '/mine', 'mine')),
  }) })`;

/** What a program that does its worst came to in this form; `port`: where the test listens. */
async function attempts(means: SandboxMeans, port: number): Promise<Record<string, string>> {
  const guard = world.guard({ means: [means] }, fakeProgram(world, ATTEMPTS));
  const again = ['ipc', 'net', 'pid', 'uts'].map((name) => statSync(`/proc/self/ns/${name}`).ino);
  const request = { acksAfter: port, messagesAfter: process.pid, again };
  const told = await guard
    .reader(world.session())
    .read(request)
    .then(JSON.stringify, (error: Error) => error.message);
  return JSON.parse(told);
}

describe.skipIf(!canUse.bubblewrap)('in bubblewrap (skipped where it is not installed or may not be used)', () => {
  it('a process that does its worst reaches nothing and changes nothing', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const address = server.address();
    const came = await attempts('bubblewrap', typeof address === 'object' ? (address?.port ?? 0) : 0);
    server.close();
    const root = came['root'] ?? '';
    expect(came).toEqual({
      // Not even a socket: a network of its own alone would say that nothing listens there.
      connected: systemCallFilter(process.arch) === undefined ? 'ECONNREFUSED' : 'EPERM',
      root: expect.stringMatching(/^[a-z0-9,]+$/),
      passwd: 'ENOENT',
      environment: 'ENOENT',
      signal: 'ESRCH',
      // None that it shares with this process.
      namespaces: '',
      processes: '2',
      shell: 'ENOENT',
      inbound: 'EROFS',
      outbound: expect.stringMatching(/^(EROFS|ENOENT)$/),
      link: 'EROFS',
      elsewhere: 'EROFS',
      library: expect.stringMatching(/^(EROFS|EACCES|ETXTBSY)$/),
      setuid: 'EPERM',
      own: 'undefined',
    });
    for (const name of ['home', 'root', 'var', 'dev', 'sys']) {
      if (!world.root.startsWith(`/${name}/`) && !process.execPath.startsWith(`/${name}/`)) {
        expect(root.split(',')).not.toContain(name);
      }
    }
  });

  it('is what a guard takes without being told, and says that nothing was found open', async () => {
    const report = await world.guard().report();
    expect(report).toEqual({
      means: 'bubblewrap',
      open: systemCallFilter(process.arch) === undefined ? ['systemCalls'] : [],
      isClosed: systemCallFilter(process.arch) !== undefined,
      sentence: expect.stringContaining('no network'),
    });
    expect(world.troubles).toEqual([]);
  });

  it('sees sessions that were made after it was started, and removes what was delivered', async () => {
    // The program of the sources: the folders of its code are let in one by one.
    const guard = world.guard({ means: ['bubblewrap'] }, SOURCE_PROGRAM);
    expect((await guard.reader(world.session()).read(ALL)).type).toBe('read');
    const later = world.session();
    mkdirSync(join(later.outbound.files, 'r1'), { recursive: true });
    writeFileSync(join(later.outbound.files, 'r1', 'a.txt'), 'a');
    expect((await guard.reader(later).read(ALL)).type).toBe('read');
    expect(await guard.spool(later, 'r1', ['a.txt'])).toMatchObject([{ type: 'stored' }]);
    expect(await guard.remove(later, 'r1')).toBe('removed');
    expect(existsSync(join(later.outbound.files, 'r1'))).toBe(false);
    expect(existsSync(join(later.host, 'spool', 'r1'))).toBe(false);
  });
});

describe('where a sandbox does not come up', () => {
  it('the next one is taken, and the reason is told', async () => {
    // Comes up only where it sees the files of this machine.
    const before = `if (!fs.existsSync('/etc/passwd')) { fs.writeSync(2, 'too closed for me'); process.exit(3); }`;
    const trial = `say({ result: ['files'] })`;
    const means = ['bubblewrap', 'none'] as const;
    const report = await world.guard({ means }, fakeProgram(world, trial, before)).report();
    expect(report).toMatchObject({ means: 'none', open: ['files'], isClosed: false });
    expect(report.sentence).toMatch(/Install bubblewrap.*What was tried: bubblewrap: /);
  });
});

/** What each form leaves open besides what the other user of root keeps closed. */
const OPEN: Record<Exclude<SandboxMeans, 'bubblewrap'>, string[]> = {
  unshare: ['files', 'systemCalls', ...(isRoot ? [] : ['writing'])],
  setpriv: ['network', 'processes', 'files', 'systemCalls', ...(isRoot ? [] : ['writing'])],
  none: ['network', 'processes', 'files', 'writing', 'privileges', 'systemCalls'],
};

for (const means of SANDBOX_MEANS) {
  describe.skipIf(!canUse[means])(`closed in by ${means} (skipped where this system does not allow it)`, () => {
    it('one that never ends is killed, and none of its processes is left', async () => {
      const program = fakeProgram(world, 'for (;;);');
      const guard = world.guard({ means: [means], slowMs: 200, readMaxMs: 200 }, program);
      expect((await guard.reader(world.session()).read(ALL)).type).toBe('overran');
      await vi.waitFor(() => expect(running(program)).toBe(0), { timeout: 20_000, interval: 100 });
    });

    it('it reads, copies and removes', async () => {
      const folder = world.session();
      const path = join(folder.outbound.files, 'r1', 'a.txt');
      mkdirSync(join(folder.outbound.files, 'r1'), { recursive: true });
      // As programs of agents make their files: for their own user alone.
      writeFileSync(path, 'hello', { mode: 0o600 });
      if (isRoot) chownSync(path, 1000, 1000);
      const guard = world.guard({ means: [means] });
      expect((await guard.reader(folder).read(ALL)).type).toBe('read');
      const [file] = await guard.spool(folder, 'r1', ['a.txt']);
      expect(file?.type === 'stored' && readFileSync(file.path, 'utf8')).toBe('hello');
      expect(await guard.remove(folder, 'r1')).toBe('removed');
      expect(world.troubles).toEqual([]);
    });

    it.skipIf(means === 'bubblewrap')('it tells what that leaves open, and what to do', async () => {
      const report = await world.guard({ means: [means] }).report();
      const expected = means === 'bubblewrap' ? [] : OPEN[means];
      expect(report.open.toSorted()).toEqual(expected.toSorted());
      expect(report.sentence).toContain('Install bubblewrap');
    });
  });
}

describe('a process that was taken over', () => {
  const lies: Record<string, string> = {
    'a link to a file of the host': `fs.symlinkSync(job.root + '/inbound/inbound.db', scratch + '/copy')`,
    'a directory': `fs.mkdirSync(scratch + '/copy')`,
    'a file with a second name': `fs.writeFileSync(scratch + '/other', ''); fs.linkSync(scratch + '/other', scratch + '/copy')`,
    'a pipe': `spawnSync('mkfifo', [scratch + '/copy'])`,
    nothing: '',
  };
  for (const [name, lie] of Object.entries(lies)) {
    it(`cannot have the host take something else for its copy: ${name}`, async () => {
      const folder = world.session();
      const program = fakeProgram(world, `${lie}; say({ result: { type: 'copied' } })`);
      const [file] = await world.guard({ means: ['none'] }, program).spool(folder, 'r1', ['a.txt']);
      expect(file?.type).toBe('refused');
      expect(existsSync(join(folder.host, 'spool', 'r1', 'a.txt'))).toBe(false);
      expect(existsSync(folder.inbound.database)).toBe(true);
    });
  }
});

it('reads nothing outside the folder of the sessions', () => {
  const guard = world.guard({ means: ['none'] });
  const folder = world.session();
  expect(() => guard.reader({ ...folder, root: '/etc' })).toThrow(RangeError);
  expect(() => guard.reader({ ...folder, root: `${world.root}-other/s` })).toThrow(RangeError);
});
