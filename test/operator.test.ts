/** What an operator does with a host from the command line, while it runs and while it is down. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { filesBelow, freePort, type HostProcess, Install, until } from './host-process.ts';

let install: Install;
let host: HostProcess;

beforeEach(async () => {
  install = new Install();
  host = await install.daemon();
});
afterEach(() => install.close());

/** Every command that only looks, besides those that need the name of something. */
const LOOKING = [
  'status',
  'doctor',
  'config',
  'audit',
  'groups list',
  'groups get main',
  'messaging-groups list',
  'messaging-groups get terminal:main',
  'wirings list',
  'users list',
  'users get terminal:local',
  'roles list',
  'roles get terminal:local',
  'members list',
  'destinations list',
  'sessions list',
  'tasks list',
  'approvals list --all',
  'dead-letters list',
  'dropped-messages list',
  'webhooks list',
].map((words) => words.split(' '));

/** Takes up a conversation, and gives its session. */
async function talked(): Promise<string> {
  const person = await install.join();
  await person.say('hello');
  await person.hears(/hello/);
  return (await install.nanoclaw('sessions', 'list')).column('id')[0] ?? '';
}

/** Ends the host in order, with its agents. */
async function down(): Promise<void> {
  host.kill('SIGTERM');
  await host.ended;
  for (const pid of await install.runners()) process.kill(pid, 'SIGKILL');
  await until(async () => (await install.runners()).length === 0);
}

describe('a look', () => {
  it('says the same in JSON and for people while the host runs, and each ends with 0', async () => {
    const session = await talked();
    const looks = [...LOOKING, ['sessions', 'get', session], ['sessions', 'show', session.slice(0, 8)]];
    for (const words of looks) {
      const [plain, inJson] = [await install.run(words), await install.run([...words, '--json'])];
      expect({ words, exitCode: plain.exitCode, stderr: plain.stderr }).toEqual({ words, exitCode: 0, stderr: '' });
      expect(plain.stdout).not.toBe('');
      expect(() => JSON.parse(inJson.stdout), words.join(' ')).not.toThrow();
    }
    expect((await install.nanoclaw('status')).value).toMatchObject({ host: 'running', pid: host.pid, sessions: 1 });
    const { timeline } = JSON.parse((await install.run(['sessions', 'show', session, '--json'])).stdout);
    expect(timeline).toMatchObject([
      { what: 'in chat', became: 'completed', text: 'hello' },
      { what: 'out chat', became: 'delivered' },
    ]);
  }, 120_000);

  it('works while the host is down, and changes not a byte of the data folder', async () => {
    const session = await talked();
    await down();
    const before = fingerprint(install.data);
    for (const words of [...LOOKING, ['sessions', 'get', session], ['sessions', 'show', session], ['logs']]) {
      const { exitCode, stderr } = await install.run(words);
      expect({ words, exitCode, stderr }).toEqual({ words, exitCode: 0, stderr: '' });
      expect(fingerprint(install.data), words.join(' ')).toBe(before);
    }
    expect((await install.nanoclaw('status')).value).toMatchObject({ host: 'down', sessions: 1 });
  }, 120_000);

  it('makes nothing where there is no data folder', async () => {
    const nowhere = join(install.data, 'not', 'there');
    for (const words of [['status'], ['doctor'], ['sessions', 'list']]) await install.run(words, {}, nowhere);
    expect(existsSync(join(install.data, 'not'))).toBe(false);
  });
});

describe('a change', () => {
  it('works while the host is down, and the next host goes by it', async () => {
    await down();
    await install.nanoclaw('messaging-groups', 'create', 'terminal', 'side', '--strangers', 'public');
    await install.nanoclaw('wirings', 'create', 'main', 'terminal:side', '--engage', 'pattern', '--pattern', '.');
    host = await install.daemon();
    const side = await install.join({ chat: 'side' });
    await side.say('hello');
    await side.hears(/hello/);
  });

  it('that only a running host can make says so, and ends with 9', async () => {
    const session = await talked();
    await down();
    for (const words of [['drain'], ['sessions', 'wake', session], ['sessions', 'stop', session], ['chat']]) {
      const { exitCode, stderr } = await install.run(words);
      expect({ words, exitCode }).toEqual({ words, exitCode: 9 });
      expect(stderr).toMatch(/^nanoclaw: .*nanoclaw start/);
    }
  });
});

describe('tasks', () => {
  it('of a live series are listed, paused, resumed, changed and cancelled, and the chat sees what comes of it', async () => {
    const person = await install.join();
    await person.say('every minute say hi');
    await person.hears(/taskId/);
    const [task] = (await install.nanoclaw('tasks', 'list')).rows();
    const [session, id] = [task?.text('sessionId') ?? '', task?.text('id') ?? ''];
    expect(task?.value).toMatchObject({ status: 'active' });
    const statuses = () =>
      install.rows<{ status: string }>('inbound', "SELECT status FROM messages_in WHERE kind = 'task'");

    await install.nanoclaw('tasks', 'pause', session, id);
    expect((await install.nanoclaw('tasks', 'get', session, id)).value).toMatchObject({ status: 'paused' });
    await person.say('list tasks');
    await person.hears(/paused/);
    await install.nanoclaw('tasks', 'resume', session, id);
    await install.nanoclaw('tasks', 'update', session, id, '--prompt', 'say: good evening');
    expect((await install.nanoclaw('tasks', 'get', session, id)).value).toMatchObject({
      status: 'active',
      prompt: 'say: good evening',
    });
    await install.nanoclaw('tasks', 'cancel', session, id);
    expect((await install.nanoclaw('tasks', 'list')).value).toEqual([]);
    expect(statuses().map(({ status }) => status)).not.toContain('pending');
    await person.say('list tasks');
    await person.hears('There are no tasks.');
  });

  it('given by the operator run in their chat', async () => {
    const session = await talked();
    await install.nanoclaw('tasks', 'create', session, 'say: from the operator', '--process-after', soon());
    const person = await install.join();
    await person.hears('from the operator');
  });
});

describe('drain', () => {
  it('ends the host with 0, leaves its agents to the next one, and what they say meanwhile is delivered', async () => {
    const person = await install.join();
    await person.say('think for 5 seconds');
    await until(() => install.count('outbound', "processing_ack WHERE status = 'processing'") === 1);
    const working = await install.runners();
    const { exitCode, stdout } = await install.run(['drain']);
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^The host stops\./) });
    expect((await host.ended).exitCode).toBe(0);
    expect(await install.runners()).toEqual(working);
    expect((await install.nanoclaw('status')).value).toMatchObject({ host: 'down' });

    await install.daemon();
    const later = await install.join({ after: person.messages.at(-1)?.n ?? 0 });
    await later.hears(/^Done thinking/);
    await until(() => install.count('inbound', "messages_in WHERE status = 'completed' AND tries = 1") === 1);
  });

  it('leaves no process behind when nothing is under way but an agent that waits, which leaves by itself', async () => {
    await down();
    host = await install.daemon({ NANOCLAW_IDLE_EXIT_MS: '1000' });
    await talked();
    await install.nanoclaw('drain');
    expect((await host.ended).exitCode).toBe(0);
    await until(async () => (await install.runners()).length === 0);
  });
});

describe('sessions', () => {
  it('stop: ends the run, and what it was working on is tried again', async () => {
    const session = await talked();
    const person = await install.join();
    await person.say('think for 20 seconds');
    await until(() => install.count('outbound', "processing_ack WHERE status = 'processing'") === 1);
    expect((await install.nanoclaw('sessions', 'stop', session)).value).toMatchObject({ stopped: true });
    await until(() => install.count('inbound', "messages_in WHERE status = 'pending' AND tries = 1") === 1);
  });

  it('delete: its files go, and the next message begins a new one', async () => {
    const session = await talked();
    await install.nanoclaw('sessions', 'delete', session);
    expect(() => install.session(session)).toThrow();
    expect(await install.runners()).toEqual([]);
    const person = await install.join();
    await person.say('what did I say');
    await person.hears('Nothing: this is a new conversation.');
    expect((await install.nanoclaw('sessions', 'list')).column('id')).not.toContain(session);
  });
});

describe('a backup', () => {
  it('is taken while people talk, and a host on what was restored from it goes on where it was', async () => {
    const person = await install.join();
    await person.say('remember me');
    await person.hears(/remember me/);
    const chatter = Array.from({ length: 20 }, (_, n) => person.say(`say word-${n}`));
    const into = join(install.data, '..', `${install.data.split('/').at(-1)}-backup`);
    const other = `${into}-restored`;
    try {
      await install.nanoclaw('backup', into);
      await Promise.all(chatter);
      const again = await install.run(['backup', into]);
      expect({ exitCode: again.exitCode, stderr: again.stderr }).toMatchObject({ exitCode: 7 });
      expect((await install.run(['restore', into, '--json'], {}, other)).exitCode).toBe(0);
      expect((await install.run(['restore', into], {}, other)).exitCode).toBe(7);
      const { exitCode, stdout, stderr } = await install.run(['start', '--say', 'what did I say'], {}, other);
      expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
      expect(stdout).toMatch(/You said “(remember me|say word-\d+)”\./);
    } finally {
      for (const folder of [into, other]) rmSync(folder, { recursive: true, force: true });
    }
    // The one that was saved goes on as though nothing had been.
    await until(() =>
      person.messages
        .map(({ text }) => text)
        .join('\n')
        .includes('word-19'),
    );
  });
});

describe('who watches', () => {
  it('gets health, readiness and figures that move with what happens', async () => {
    await down();
    const port = await freePort();
    host = await install.daemon({ NANOCLAW_HEALTH_PORT: String(port) });
    const page = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`);
      return { status: response.status, text: await response.text() };
    };
    const figure = async (name: string) => {
      const { text } = await page('/metrics');
      const lines = text.split('\n').filter((line) => line.startsWith(name));
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(1) ?? 0), 0);
    };
    expect(await page('/health')).toMatchObject({ status: 200 });
    expect(await page('/ready')).toMatchObject({ status: 200 });
    expect((await page('/nothing')).status).toBe(404);
    expect(await figure('nanoclaw_messages_accepted')).toBe(0);
    await talked();
    await until(async () => (await figure('nanoclaw_deliveries')) === 1);
    expect(await figure('nanoclaw_messages_accepted')).toBe(1);
    expect(await figure('nanoclaw_runs_started')).toBe(1);
    expect(await figure('nanoclaw_sessions')).toBe(1);
    expect((await page('/metrics')).text).toContain('nanoclaw_event_loop_delay_seconds');
    expect((await page('/metrics')).text).not.toContain('hello');
  });
});

/** A time of the next seconds, as an operator types it. */
function soon(): string {
  return new Date(Date.now() + 1_000).toISOString();
}

/** Of every name and byte below a folder. */
function fingerprint(folder: string): string {
  const hash = createHash('sha256');
  for (const file of filesBelow(folder).toSorted()) hash.update(file).update(readFileSync(file));
  return hash.digest('hex');
}
