/** The program as a guest of its system: signals, hang-ups, broken pipes, modes, and the files that it may have open. */
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openRegistry } from '@nanoclaw/registry';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Install, until } from './host-process.ts';

const MAIN = fileURLToPath(new URL('../apps/host/dist/main.js', import.meta.url));

let install: Install;
beforeEach(() => {
  install = new Install();
});
afterEach(() => install.close());

/** Runs a line of bash in which `nanoclaw` is the program on the data folder of this test. */
function bash(line: string) {
  const nanoclaw = `nanoclaw() { ${process.execPath} ${MAIN} "$@" --data ${install.data}; }`;
  return execa('bash', ['-c', `${nanoclaw}; set -o pipefail; ${line}`], {
    reject: false,
    env: { NANOCLAW_DRIVER: 'process' },
  });
}

describe('output that nobody reads (failure 86)', () => {
  it.each([
    ['a short command', 'nanoclaw completion bash | true'],
    ['its help', 'nanoclaw --help | true'],
    ['a first line', 'nanoclaw --help | head -n 1 > /dev/null'],
    [
      'one that never ends by itself',
      'touch "$DATA"/host.log; (while sleep 0.1; do echo x >> "$DATA"/host.log; done) & nanoclaw logs --follow | head -n 1 > /dev/null; code=$?; kill %1; (exit $code)',
    ],
  ])('ends %s quietly, as it would have ended', async (_, line) => {
    const { exitCode, stderr } = await bash(line.replaceAll('"$DATA"', install.data));
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  });

  it('is one sentence where the disk that it goes to is full', async () => {
    const { exitCode, stderr } = await bash('nanoclaw completion bash > /dev/full');
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: expect.stringMatching(
        /^nanoclaw: The output could not be written \(.*ENOSPC.*\); what was done stays done\.$/,
      ),
    });
  });
});

describe('a signal to end', () => {
  it('ends a start that waits after crashes at once, in order, with nothing started', async () => {
    const now = Date.now();
    // It waits a minute.
    writeFileSync(join(install.data, 'starts.json'), JSON.stringify(Array.from({ length: 12 }, () => now)));
    const host = execa(process.execPath, [MAIN, 'start', '--data', install.data], {
      reject: false,
      stdin: 'ignore',
      env: { NANOCLAW_DRIVER: 'process', NANOCLAW_WEBHOOK_PORT: '0' },
    });
    const log = join(install.data, 'host.log');
    await until(() => existsSync(log) && readFileSync(log, 'utf8').includes('waiting before this start'));
    host.kill('SIGTERM');
    const { exitCode, stderr } = await host;
    expect(exitCode).toBe(0);
    expect(stderr.split('\n').at(-1)).toBe(
      'The host was told to end while it waited, and was not started. Nothing accepted was lost.',
    );
    expect(existsSync(join(install.data, 'starts.json'))).toBe(false);
  });
});

describe('a hang-up (failure 86)', () => {
  it('ends a daemon in order: its agents go on, and the next host adopts them', async () => {
    const host = await install.daemon();
    const person = await install.join();
    await person.say('hello');
    await person.hears(/hello/);
    const runners = await install.runners();
    host.kill('SIGHUP');
    expect(await host.ended).toMatchObject({ exitCode: 0 });
    expect(existsSync(join(install.data, 'starts.json'))).toBe(false);
    expect(runners.length).toBeGreaterThan(0);
    expect(await install.runners()).toEqual(runners);
  });

  it('ends a host that was started for one message, and its agent with it', async () => {
    const running = execa(process.execPath, [MAIN, 'start', '--say', 'say hello', '--data', install.data], {
      env: { NANOCLAW_DRIVER: 'process', NANOCLAW_WEBHOOK_PORT: '0' },
      reject: false,
    });
    await until(async () => (await install.runners()).length > 0);
    running.kill('SIGHUP');
    const { exitCode, signal, stderr } = await running;
    expect({ signal, stderr }).toEqual({ signal: undefined, stderr: expect.not.stringMatching(/\n {4}at /) });
    // It may have had its reply just before.
    expect([0, 5]).toContain(exitCode);
    expect(await install.runners()).toEqual([]);
  });
});

/** Counts the modules that a program loads, and says the count last. */
const COUNTING = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from 'node:module';
  let loaded = 0;
  registerHooks({ load: (url, context, next) => (loaded++, next(url, context)) });
  process.on('exit', () => process.stderr.write(String(loaded)));`)}`;

it('the version is printed without the hundreds of files that the rest is made of (failure 90)', async () => {
  const { stdout, stderr } = await execa(process.execPath, ['--import', COUNTING, MAIN, '--version']);
  expect(stdout).toMatch(/^\d+\.\d+\.\d+/);
  expect(Number(stderr)).toBeLessThan(10);
});

describe('what the system gives', () => {
  it('a data folder that others could enter is closed by a start, and the doctor tells of it before (failure 88)', async () => {
    await install.run(['start', '--say', 'hello']);
    chmodSync(install.data, 0o755);
    const { exitCode, stdout } = await install.run(['doctor']);
    expect({ exitCode, stdout }).toEqual({
      exitCode: 1,
      stdout: expect.stringMatching(/^trouble +data folder .*chmod 700/m),
    });
    await install.run(['start', '--say', 'hello']);
    expect((statSync(install.data).mode & 0o777).toString(8)).toBe('700');
  });

  it('too few files are said at the start, and nothing is begun (failure 91)', async () => {
    const { exitCode, stderr } = await bash('ulimit -n 64; nanoclaw start --say hello');
    expect({ exitCode, stderr }).toEqual({
      exitCode: 2,
      stderr: expect.stringMatching(/^nanoclaw: .* 64 files open, and a host needs 128/),
    });
    expect(existsSync(join(install.data, 'registry.db'))).toBe(false);
  });

  it('with 256 files twenty chats at once are all answered (failure 91)', async () => {
    await install.run(['start', '--say', 'hello']);
    await wireChats(20);
    const host = await install.daemon({ NANOCLAW_IDLE_EXIT_MS: '1000' }, 256);
    const people = await Promise.all(Array.from({ length: 20 }, (_, n) => install.join({ chat: `chat-${n}` })));
    await Promise.all(people.map((person, n) => person.say(`word-${n}`)));
    await Promise.all(people.map((person, n) => person.hears(new RegExp(`word-${n}\\b`), 90_000)));
    host.kill('SIGTERM');
    await host.ended;
  }, 180_000);

  it('a small file that is damaged or empty keeps no host from starting (failure 87)', async () => {
    await install.run(['start', '--say', 'hello']);
    rmSync(join(install.data, 'rates.db-wal'), { force: true });
    for (const name of ['rates.db', 'starts.json', 'host.lock', 'host.json']) {
      writeFileSync(join(install.data, name), 'garbage '.repeat(1_000));
    }
    writeFileSync(join(install.data, 'install-id'), '');
    const { exitCode, stdout } = await install.run(['start', '--say', 'again']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: expect.stringContaining('again') });
  });
});

/** Chats of the terminal, `chat-0` and so on, each wired to the default agent. No host runs. */
async function wireChats(count: number): Promise<void> {
  const file = join(install.data, 'registry.db');
  await using registry = await openRegistry({ file, now: Date.now, newId: randomUUID });
  const agent = (await registry.agentGroups())[0];
  if (agent === undefined) throw new Error('A first start makes an agent.');
  for (let n = 0; n < count; n += 1) {
    const chat = await registry.createMessagingGroup({
      channelType: 'terminal',
      platformId: `chat-${n}`,
      name: `Chat ${n}`,
      kind: 'direct',
      strangers: 'public',
      denied: false,
    });
    await registry.createWiring({
      messagingGroupId: chat.id,
      agentGroupId: agent.id,
      engage: { mode: 'pattern', pattern: '.' },
      senderScope: 'all',
      otherwise: 'drop',
      sessionMode: 'shared',
      priority: 0,
    });
  }
}
