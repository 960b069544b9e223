/** The examples as a reader runs them: alone, and inside the whole host by configuration and nothing else. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { channelContract, type PlatformUnderTest } from '@nanoclaw/channels/contract';
import type { Driver } from '@nanoclaw/containers';
import { type DriverUnderTest, driverContract, shellScript } from '@nanoclaw/containers/contract';
import { processPorts } from '@nanoclaw/host';
import { execa } from 'execa';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import journal from '../examples/journal-driver.ts';
import { LineChannel } from '../examples/line-channel.ts';
import { freePort, Install, until } from './host-process.ts';

const example = (name: string) => fileURLToPath(new URL(`../examples/${name}`, import.meta.url));

async function killed(bot: ChildProcess): Promise<void> {
  if (bot.exitCode !== null || bot.signalCode !== null) return;
  bot.kill('SIGKILL');
  await once(bot, 'exit');
}

/** A person on the other end of a line, who writes again what was not acknowledged. */
class LineClient {
  readonly said: string[] = [];
  readonly acknowledged: string[] = [];
  #socket: Socket | undefined;
  readonly #port: number;
  readonly #name: string;

  constructor(port: number, name: string) {
    this.#port = port;
    this.#name = name;
  }

  async connect(): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      const socket = connect(this.#port, '127.0.0.1');
      try {
        await once(socket, 'connect');
        this.#socket = socket.on('error', () => undefined);
        socket.write(`HELLO ${this.#name}\n`);
        createInterface({ input: socket }).on('line', (line) => {
          if (line.startsWith('SAY ')) this.said.push(line.slice(4));
          if (line.startsWith('ACK ')) this.acknowledged.push(line.slice(4));
        });
        return;
      } catch (error) {
        if (tries === 300) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  write(id: string, text: string): void {
    this.#socket?.write(`MSG ${id} ${text}\n`);
  }

  async tell(id: string, text: string): Promise<void> {
    this.write(id, text);
    await until(() => this.acknowledged.includes(id));
  }

  hears(text: string): Promise<unknown> {
    return until(() => this.said.includes(text));
  }

  close(): void {
    this.#socket?.destroy();
  }
}

describe('the bot in twenty lines', () => {
  let folder: string;
  let port: number;
  let person: LineClient;
  const bots: ChildProcess[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'nano-bot-'));
    port = await freePort();
    person = new LineClient(port, 'ada');
  });
  afterEach(async () => {
    person.close();
    for (const bot of bots.splice(0)) await killed(bot);
    rmSync(folder, { recursive: true, force: true });
  });

  function start(): ChildProcess {
    const bot = spawn(process.execPath, [example('bot.ts'), folder, String(port)], { stdio: 'ignore' });
    bots.push(bot);
    return bot;
  }

  it('has at most twenty', () => {
    const lines = readFileSync(example('bot.ts'), 'utf8').split('\n');
    const code = lines.filter((line) => line.trim() !== '' && !/^\s*(\/\*\*|\*)/.test(line));
    expect(code.length).toBeLessThanOrEqual(20);
  });

  it('says in one sentence that another has its folder', async () => {
    start();
    await person.connect();
    const second = await execa(process.execPath, [example('bot.ts'), folder, '0'], { reject: false });
    expect(second.exitCode).toBe(3);
    expect(second.stderr).toMatch(
      /^Another host already runs on .*; it was left alone\. Stop it first, or give this one a data folder of its own\.$/,
    );
  });

  it('answers each of several messages that came in at once', async () => {
    start();
    await person.connect();
    for (const [at, text] of ['one', 'two', 'three'].entries()) person.write(`1790000000000-${at + 1}`, text);
    await Promise.all(['one', 'two', 'three'].map((text) => person.hears(`You said: ${text}`)));
  });

  it('answers, and what it had acknowledged when it was killed is answered by its next life, once', async () => {
    const first = start();
    await person.connect();
    await person.tell('1790000000000-1', 'hello');
    await person.hears('You said: hello');
    await person.tell('1790000000000-2', 'are you there');
    await killed(first);
    person.close();

    start();
    person = new LineClient(port, 'ada');
    await person.connect();
    // The platform repeats itself, as one does that has lost the acknowledgement.
    await person.tell('1790000000000-2', 'are you there');
    await person.tell('1790000000000-3', 'and now');
    await person.hears('You said: and now');
    const answers = person.said.filter((text) => text === 'You said: are you there');
    // It may have been said just before the kill, and heard by the connection of before.
    expect(answers.length).toBeLessThanOrEqual(1);
    expect(person.said.filter((text) => text === 'You said: hello')).toEqual([]);
  });
});

describe('the whole host, by its configuration', () => {
  let install: Install;
  let port: number;
  const people: LineClient[] = [];

  beforeEach(async () => {
    install = new Install();
    port = await freePort();
  });
  afterEach(async () => {
    for (const person of people.splice(0)) person.close();
    await install.close();
  });

  const configure = (config: object) => writeFileSync(join(install.data, 'config.json'), JSON.stringify(config));

  async function joins(at: number, name: string): Promise<LineClient> {
    const person = new LineClient(at, name);
    people.push(person);
    await person.connect();
    return person;
  }

  it('has the channel twice under names of its own, the provider and the driver', async () => {
    const [other, runs] = [await freePort(), join(install.data, 'runs.journal')];
    const line = (at: number) => ({ module: example('line-channel.ts'), options: { port: at }, newChats: 'answer' });
    configure({
      channels: { front: line(port), back: line(other) },
      provider: 'shout',
      providers: { shout: { module: example('shout-provider.ts'), options: { suffix: '!' } } },
      drivers: { journal: { module: example('journal-driver.ts'), options: { file: runs } } },
    });
    await install.daemon({ NANOCLAW_DRIVER: 'journal' });
    const [ada, bob] = [await joins(port, 'ada'), await joins(other, 'ada')];
    await ada.tell('1790000000000-1', 'at the front');
    await bob.tell('1790000000000-1', 'at the back');
    await Promise.all([ada.hears('AT THE FRONT!'), bob.hears('AT THE BACK!')]);
    expect([ada.said, bob.said]).toEqual([['AT THE FRONT!'], ['AT THE BACK!']]);

    const chats = await install.nanoclaw('messaging-groups', 'list');
    expect(chats.column('channelType')).toEqual(expect.arrayContaining(['front', 'back']));
    expect(readFileSync(runs, 'utf8').match(/ started run /g)).toHaveLength(2);
    expect((await install.run(['status'])).stdout).toMatch(/decided by the driver journal of the configuration/);
  });

  it('adds a channel, checks it, and removes it, without a restart', async () => {
    await install.daemon();
    const add = ['channels', 'add', 'desk', '--module', example('line-channel.ts'), '--new-chats', 'answer'];
    const wrong = await install.run([...add, '--options', '{"port":"x"}']);
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toMatch(
      /The channel desk cannot be used: its options are wrong: "port": .* Nothing was changed/,
    );
    const added = await install.run([...add, '--options', JSON.stringify({ port })]);
    expect(added).toMatchObject({ exitCode: 0, stdout: 'The channel desk was added and is connected.' });
    const ada = await joins(port, 'ada');
    await ada.tell('1790000000000-1', 'hello');
    await until(() => ada.said.length > 0);
    expect((await install.run(['channels', 'check', 'desk'])).stdout).toMatch(/makes a channel of type line/);
    expect((await install.nanoclaw('channels', 'list')).column('instance')).toEqual(['terminal', 'desk']);

    expect((await install.run(['channels', 'remove', 'desk'])).exitCode).toBe(0);
    expect((await install.nanoclaw('channels', 'list')).column('instance')).toEqual(['terminal']);
    await expect(once(connect(port, '127.0.0.1'), 'connect')).rejects.toThrow(/ECONNREFUSED/);
    expect(JSON.parse(readFileSync(join(install.data, 'config.json'), 'utf8'))).toEqual({ channels: {} });
  });

  it('goes on without what is broken, and says why', async () => {
    mkdirSync(join(install.data, 'mine'), { recursive: true });
    writeFileSync(join(install.data, 'mine', 'broken.js'), "\nthrow new Error('no licence');");
    writeFileSync(join(install.data, 'mine', 'mistyped.js'), 'export default {\n  options: {\n  create( {\n};\n');
    writeFileSync(join(install.data, 'mine', 'untyped.ts'), 'const a: number = ;\n');
    configure({
      channels: {
        missing: { module: './mine/missing.js' },
        broken: { module: './mine/broken.js' },
        mistyped: { module: './mine/mistyped.js' },
        untyped: { module: './mine/untyped.ts' },
        wrong: { module: example('line-channel.ts'), options: { port: 'x' } },
      },
      providers: { absent: { module: '@some/absent-provider' } },
    });
    await install.daemon();
    const { stdout } = await install.run(['status', '--json']);
    const { channels, problems } = JSON.parse(stdout);
    expect(channels).toEqual([
      { instance: 'terminal', type: 'terminal', state: 'online', reason: null },
      {
        instance: 'missing',
        type: null,
        state: 'broken',
        reason: expect.stringMatching(/^there is no file .*missing\.js$/),
      },
      {
        instance: 'broken',
        type: null,
        state: 'broken',
        reason: expect.stringMatching(/^its module cannot be loaded: no licence \(line 2 of \/.*\/mine\/broken\.js\)$/),
      },
      {
        instance: 'mistyped',
        type: null,
        state: 'broken',
        reason: expect.stringMatching(/^its module cannot be loaded: .*';' \(line 4 of \/.*\/mine\/mistyped\.js\)$/),
      },
      {
        instance: 'untyped',
        type: null,
        state: 'broken',
        reason: expect.stringMatching(/^its module cannot be loaded: .* \(line 1 of \/.*\/mine\/untyped\.ts\)$/),
      },
      {
        instance: 'wrong',
        type: null,
        state: 'broken',
        reason: expect.stringMatching(/^its options are wrong: "port"/),
      },
    ]);
    expect(problems).toEqual([
      expect.stringMatching(/^The provider "absent" cannot be used: there is no package @some\/absent-provider/),
    ]);
    const ada = await install.join();
    await ada.say('hello');
    await ada.hears(/You said “hello”/);
  });

  it('runs nothing with a driver that cannot be loaded, keeps what is said, and answers once it can', async () => {
    configure({ drivers: { mine: { module: './driver.js' } } });
    const host = await install.daemon({ NANOCLAW_DRIVER: 'mine' });
    const ada = await install.join();
    await ada.say('hello');
    await ada.hears(/cannot answer just now.*driver\.js/s);
    expect((await install.run(['status'])).stdout).toMatch(
      /mine, which cannot be used \(there is no file .*driver\.js\)/,
    );
    expect(await install.runners()).toEqual([]);
    host.kill('SIGTERM');
    expect((await host.ended).exitCode).toBe(0);
    await install.daemon();
    // Its next start waits half a minute after so many that failed; the operator who has mended it need not.
    const [session = ''] = (await install.nanoclaw('sessions', 'list')).column('id');
    await install.nanoclaw('sessions', 'retry', session);
    const back = await install.join({ after: 0 });
    await back.hears(/You said “hello”/);
  });
});

describe('the line channel', () => {
  const opened: LinePlatform[] = [];
  afterAll(() => Promise.all(opened.map((platform) => platform.close())));

  /** People on the other ends of lines, as the suite for channels wants them. */
  class LinePlatform implements PlatformUnderTest {
    readonly lacks = LACKS;
    readonly address = { channelType: 'line', platformId: 'ada', threadId: null };
    readonly #port: number;
    readonly #seen: string[] = [];
    /** What was not acknowledged yet, by its id. */
    readonly #waiting = new Map<string, string>();
    readonly #channels: LineChannel[] = [];
    #socket: Socket | undefined;
    #onOutcome: (line: string) => void = () => undefined;
    #ids = 0;
    #last: [string, string] = ['', ''];

    constructor(port: number) {
      this.#port = port;
      opened.push(this);
    }

    channel(): LineChannel {
      const channel = new LineChannel(this.#port);
      const { start } = channel;
      // The person is there as soon as there is somebody to talk to.
      channel.start = async (receive) => {
        await start.call(channel, receive);
        await this.#join();
      };
      this.#channels.push(channel);
      return channel;
    }

    async #join(): Promise<void> {
      const socket = connect(this.#port, '127.0.0.1').on('error', () => undefined);
      await once(socket, 'connect');
      socket.write('HELLO ada\nNOTHING\n');
      const hello = Promise.withResolvers<void>();
      createInterface({ input: socket }).on('line', (line) => {
        if (line.startsWith('WHAT?')) hello.resolve();
        if (line.startsWith('SAY ')) this.#seen.push(line.slice(4));
        if (line.startsWith('ACK ')) this.#waiting.delete(line.slice(4));
        this.#onOutcome(line);
      });
      this.#socket = socket;
      await hello.promise;
      // What was not acknowledged comes again on a new line.
      for (const [id, text] of this.#waiting) socket.write(`MSG ${id} ${text}\n`);
    }

    async say({ text }: { text: string }) {
      this.#last = [`179000000000${++this.#ids}-1`, text];
      return this.repeat();
    }

    async repeat() {
      const [id, text] = this.#last;
      this.#waiting.set(id, text);
      const socket = this.#socket;
      const acknowledged = new Promise<boolean>((resolve) => {
        socket?.once('close', () => resolve(false));
        this.#onOutcome = (line) => {
          if (line === `ACK ${id}`) resolve(true);
          if (line === `RETRY ${id}`) resolve(false);
        };
      });
      socket?.write(`MSG ${id} ${text}\n`);
      return { acknowledged };
    }

    async visibleMessages() {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return this.#seen.map((text) => ({ text }));
    }

    async close(): Promise<void> {
      this.#socket?.destroy();
      for (const channel of this.#channels) await channel.stop();
    }
  }
  const LACKS = [
    'files',
    'attachments',
    'edits',
    'reactions',
    'questions',
    'cards',
    'threads',
    'groups',
    'typing',
    'message-ids',
    'line-breaks',
    'control-characters',
  ] as const;

  for (const { name, run } of channelContract(async () => new LinePlatform(await freePort()), {
    lacks: LACKS,
    duplicates: 'none',
  })) {
    it(name, run);
  }
});

describe('the journal driver', () => {
  const { clock } = processPorts();

  async function open(): Promise<DriverUnderTest> {
    const root = realpathSync(mkdtempSync(join(tmpdir(), 'nano-driver-')));
    const folder = join(root, 'outbound');
    mkdirSync(folder);
    const drivers: Driver[] = [];
    return {
      folder,
      driver: (installId) => {
        const driver = journal.create(
          { file: join(root, 'journal') },
          { installId, stateFolder: join(root, 'state'), clock },
        );
        drivers.push(driver);
        return driver;
      },
      spec: (installId, runId, program) => ({
        runId,
        sessionId: 'session-1',
        installId,
        command: ['sh', '-c', shellScript(program)],
        workdir: '/workspace/outbound',
        mounts: [{ source: folder, target: '/workspace/outbound', readonly: false }],
        env: {},
        timeZone: 'UTC',
        labels: { agentGroup: 'nano' },
        logFile: join(root, `${runId}.log`),
      }),
      close: async () => {
        for (const driver of drivers) for (const { runId } of (await driver.list()).runs) await driver.stop(runId, 0);
        for (const driver of drivers) driver.close();
        rmSync(root, { recursive: true, force: true });
      },
    };
  }

  for (const { name, run } of driverContract(open)) it(name, run);
});
