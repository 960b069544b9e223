/** What is broken beneath a host: a session's files, the registry, the disk. One sentence, nothing lost, the others go on. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Install, until } from './host-process.ts';

const GARBAGE = Buffer.from(Array.from({ length: 20_000 }, (_, n) => (n * 7_919) % 256));

let install: Install;

beforeEach(() => {
  install = new Install();
});
afterEach(() => install.close());

describe('a session whose files are broken', () => {
  let broken: string;

  beforeEach(async () => {
    const host = await install.daemon();
    await install.nanoclaw('messaging-groups', 'create', 'terminal', 'side', '--strangers', 'public');
    await install.nanoclaw('wirings', 'create', 'main', 'terminal:side', '--engage', 'pattern', '--pattern', '.');
    const side = await install.join({ chat: 'side' });
    await side.say('hello');
    await side.hears(/hello/);
    broken = (await install.nanoclaw('sessions', 'list')).column('id')[0] ?? '';
    const main = await install.join();
    await main.say('hello');
    await main.hears(/hello/);
    host.kill('SIGTERM');
    await host.ended;
    for (const pid of await install.runners()) process.kill(pid, 'SIGKILL');
    await until(async () => (await install.runners()).length === 0);
  });

  it("is told where the host's own file is garbage: what is said to it is refused, the others answer", async () => {
    writeFileSync(join(install.session(broken), 'inbound', 'inbound.db'), GARBAGE);
    // Somebody who starts it at a terminal is served, too.
    expect(await install.run(['start', '--say', 'still there?'])).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('still there?'),
    });
    await install.daemon();
    const [main, side] = [await install.join(), await install.join({ chat: 'side' })];
    await expect(side.say('and you?')).rejects.toThrow(/could not take the message.*file is not a database/);
    await main.say('one of many');
    await main.hears(/one of many/);
    expect((await install.nanoclaw('status')).value).toMatchObject({ unreadable: 1 });
    // What is asked of all sessions is told of the others; what is asked of this one is refused.
    expect((await install.nanoclaw('tasks', 'list')).value).toEqual([]);
    expect((await install.nanoclaw('dead-letters', 'list')).value).toEqual([]);
    expect((await install.run(['sessions', 'get', broken])).exitCode).toBe(4);
    await until(async () => {
      const states = (await install.nanoclaw('sessions', 'list')).rows();
      return states.some((row) => row.text('id') === broken && row.text('state') === 'quarantined');
    });
    expect(readFileSync(join(install.session(broken), 'inbound', 'inbound.db')).equals(GARBAGE)).toBe(true);
  });

  it("is told where the agent's file is garbage: its messages are kept, the others answer", async () => {
    writeFileSync(join(install.session(broken), 'outbound', 'outbound.db'), GARBAGE);
    await install.daemon();
    const [main, side] = [await install.join(), await install.join({ chat: 'side' })];
    await side.say('and you?');
    await main.say('one of many');
    await main.hears(/one of many/);
    await until(() => install.count('inbound', "trouble WHERE kind = 'outbound'", broken) === 1);
    expect((await install.nanoclaw('status')).value).toMatchObject({ troubled: 1 });
    const listed = (await install.nanoclaw('sessions', 'list')).rows().find((row) => row.text('id') === broken);
    expect(listed?.value).toMatchObject({ state: 'unreadable', why: 'It is not a SQLite database.' });
    const { value } = await install.nanoclaw('sessions', 'get', broken);
    expect(value).toMatchObject({ due: 1, trouble: [{ kind: 'outbound', error: 'It is not a SQLite database.' }] });
    expect(side.messages.map(({ text }) => text).join('\n')).not.toContain('and you?');
  });
});

describe('a registry that is broken', () => {
  it('ends the start with 4 and a sentence, and is left as it is', async () => {
    await install.run(['start', '--say', 'hello']);
    for (const file of readdirSync(install.data).filter((name) => name.startsWith('registry.db-'))) {
      rmSync(join(install.data, file));
    }
    const registry = join(install.data, 'registry.db');
    writeFileSync(registry, GARBAGE);
    for (const words of [['start', '--say', 'hello'], ['start']]) {
      const { exitCode, stderr } = await install.run(words);
      expect({ exitCode, stderr }).toEqual({ exitCode: 4, stderr: expect.stringMatching(/^nanoclaw: .*registry/m) });
    }
    const looked = await install.run(['sessions', 'list']);
    expect(looked.exitCode).toBe(4);
    expect(looked.stderr).toContain(`Cannot open the registry ${registry}: it is damaged`);
    expect(readFileSync(registry).equals(GARBAGE)).toBe(true);
  });
});

/** Whether this machine lets a test mount a file system of its own; the tests on one are skipped elsewhere. */
const canMount = await mounts();

describe.skipIf(!canMount)('a disk of its own, where this machine lets a test mount one', () => {
  let disk: string;

  beforeEach(async () => {
    disk = mkdtempSync(join(tmpdir(), 'nano-disk-'));
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', disk]);
    await install.close();
    install = new Install(join(disk, 'data'));
  });
  afterEach(async () => {
    await install.close();
    await execa('umount', ['--lazy', disk]);
    rmSync(disk, { recursive: true });
  });

  it('that is full: what was accepted is durable, what was not is refused and said so, and with space all goes on', async () => {
    await install.daemon();
    const person = await install.join();
    await person.say('hello');
    await person.hears(/hello/);
    fill(disk, 64 * 1024);
    const accepted: string[] = [];
    const refused: string[] = [];
    for (let n = 0; n < 40; n += 1) {
      const text = `word-${n} ${'x'.repeat(2_000)}`;
      await person.say(`say ${text}`, `full-${n}`).then(
        () => accepted.push(`full-${n}`),
        (error: Error) => refused.push(error.message),
      );
    }
    expect(refused.length).toBeGreaterThan(0);
    expect(accepted.length).toBeGreaterThan(0);
    for (const reason of refused) expect(reason).toMatch(/disk is full|no space left/i);

    rmSync(join(disk, 'filler'));
    await person.say('say all is well', 'after');
    const last = await install.join();
    await until(
      () =>
        last.messages
          .map(({ text }) => text)
          .join('\n')
          .includes('all is well'),
      90_000,
    );
    const words = () => last.messages.map(({ text }) => text).join('\n');
    for (const id of accepted) {
      const word = id.replace('full', 'word');
      await until(
        () => words().includes(`${word} `),
        90_000,
        () => `${id} was accepted and not answered`,
      );
    }
  }, 240_000);

  it('that can only be read: a start says so and ends with 4, and a look works', async () => {
    const first = await install.run(['start', '--say', 'hello']);
    expect({ exitCode: first.exitCode, stderr: first.stderr }).toMatchObject({ exitCode: 0 });
    await execa('mount', ['-o', 'remount,ro', disk]);
    const { exitCode, stderr } = await install.run(['start', '--say', 'hello']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 4, stderr: expect.stringMatching(/^nanoclaw: .*written.*\.$/m) });
    const changed = await install.run(['groups', 'create', 'other']);
    expect({ exitCode: changed.exitCode, stderr: changed.stderr }).toMatchObject({ exitCode: 4 });
    expect((await install.nanoclaw('sessions', 'list')).rows()).toHaveLength(1);
    expect((await install.nanoclaw('status')).value).toMatchObject({ host: 'down', sessions: 1 });
    await execa('mount', ['-o', 'remount,rw', disk]);
    expect((await install.run(['start', '--say', 'again'])).stdout).toContain('again');
  });
});

/** Fills a file system up to so many bytes, with a file that can be removed. */
function fill(disk: string, left: number): void {
  const { bavail, bsize } = statfsSync(disk);
  writeFileSync(join(disk, 'filler'), Buffer.alloc(bavail * bsize - left));
}

async function mounts(): Promise<boolean> {
  const probe = mkdtempSync(join(tmpdir(), 'nano-probe-'));
  const { exitCode } = await execa('mount', ['-t', 'tmpfs', 'tmpfs', probe], { reject: false });
  if (exitCode === 0) await execa('umount', [probe]);
  rmSync(probe, { recursive: true });
  if (exitCode !== 0)
    process.stderr.write('No file system can be mounted here: full and read-only disks are skipped.\n');
  return exitCode === 0;
}
