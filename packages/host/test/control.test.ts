import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Problem } from '../src/errors/problem.ts';
import { type ControlRequest, ControlServer, controlSocket } from '../src/operator/control.ts';
import { sendControlRequest } from '../src/operator/control-client.ts';

let folder: string;
let control: ControlServer;
let timers: Timer[];
let ran: ControlRequest[];
let errors: unknown[];
const sockets: Socket[] = [];

interface Timer {
  readonly action: () => void;
  isOver: boolean;
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nano-control-'));
  [timers, ran, errors] = [[], [], []];
  control = await listen();
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await control.close();
  rmSync(folder, { recursive: true });
});

function listen(): Promise<ControlServer> {
  return ControlServer.listen({
    folder,
    run: async (request, onProgress) => {
      ran.push(request);
      const [word] = request.command;
      if (word === 'refuse') throw new Problem('There is no such thing; nothing was changed.', 6);
      if (word === 'break') throw new TypeError('nobody thought of this');
      if (word === 'work') for (const step of ['one', 'two']) onProgress(step);
      return { said: request.parameters };
    },
    setTimer: (_, action) => {
      const timer = { action, isOver: false };
      timers.push(timer);
      return () => void (timer.isOver = true);
    },
    onError: (error) => void errors.push(error),
  });
}

function ask(command: string, onProgress: (line: string) => void = () => undefined, name = 'x') {
  return sendControlRequest(controlSocket(folder), { command: [command], parameters: { name } }, onProgress);
}

async function joined(): Promise<Socket> {
  const socket = connect(controlSocket(folder));
  sockets.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

describe('the control socket', () => {
  it('answers several clients, each with its own progress and result', async () => {
    const lines: string[] = [];
    const answers = await Promise.all([ask('work', (line) => lines.push(line)), ask('look'), ask('look')]);
    expect(answers).toEqual(Array.from({ length: 3 }, () => ({ type: 'answered', value: { said: { name: 'x' } } })));
    expect(lines).toEqual(['one', 'two']);
  });

  it('carries every line end that a message may hold, because a line of it ends at one alone', async () => {
    const name = 'a\u2028b\u2029c\u0085d\re\vf\fg\r\nh';
    expect(await ask('look', undefined, name)).toEqual({ type: 'answered', value: { said: { name } } });
  });

  it.each([
    [
      '{"command":["look"],"parameters":{"name":"x","name":"y"}}',
      'The key \\"name\\" is in it twice. Nothing was done.',
    ],
    ['{"command":["look"],"parameters":{"n":9007199254740993}}', 'cannot be kept exactly'],
    ['{"command":["look"],"parameters":{"n":"\\ud83d"}}', 'half of a character'],
  ])('refuses what it could not keep as it is: %s', async (line, message) => {
    const socket = await joined();
    socket.write(`${line}\n`);
    expect(await text(socket)).toContain(message);
    expect(ran).toEqual([]);
  });

  it('passes a refusal on with its exit code, and tells an unexpected error to the log', async () => {
    await expect(ask('refuse')).rejects.toEqual(new Problem('There is no such thing; nothing was changed.', 6));
    expect(errors).toEqual([]);
    await expect(ask('break')).rejects.toEqual(new Problem('nobody thought of this', 1));
    expect(errors).toEqual([new TypeError('nobody thought of this')]);
  });

  it('is for its owner alone', () => {
    const of = statSync(controlSocket(folder));
    expect(of.isSocket()).toBe(true);
    expect(of.mode & 0o777).toBe(0o600);
  });

  it('takes the place of a socket that a killed host has left, and is gone after a stop', async () => {
    await control.close();
    expect(existsSync(controlSocket(folder))).toBe(false);
    expect(await ask('look')).toEqual({ type: 'no-host' });
    writeFileSync(controlSocket(folder), 'left behind');
    control = await listen();
    expect(await ask('look')).toMatchObject({ type: 'answered' });
  });

  it('says so when the path is too long for a socket', async () => {
    const deep = join(folder, 'd'.repeat(90));
    const refused = ControlServer.listen({
      folder: deep,
      run: async () => null,
      setTimer: () => () => undefined,
      onError: () => undefined,
    });
    await expect(refused).rejects.toMatchObject({ exitCode: 4, message: expect.stringContaining('shorter path') });
  });

  it('takes a request whose sender ends its side at once, as shell tools do', async () => {
    const socket = await joined();
    socket.end('{"command":["look"],"parameters":{}}\n');
    expect(JSON.parse(await text(socket))).toEqual({ type: 'result', value: { said: {} } });
  });
});

describe('hostile clients of the control socket (failure 52)', () => {
  it.each([
    ['garbage', 'what?\n'],
    ['JSON of another shape', '{"command":"look"}\n'],
    ['too many words', `${JSON.stringify({ command: Array.from({ length: 5 }, () => 'look'), parameters: {} })}\n`],
    ['a word too long', `${JSON.stringify({ command: ['x'.repeat(65)], parameters: {} })}\n`],
  ])('%s is refused, and nothing is run', async (_, line) => {
    const socket = await joined();
    socket.write(line);
    expect(JSON.parse(await text(socket))).toMatchObject({ type: 'refusal', exitCode: 2 });
    expect(ran).toEqual([]);
  });

  it('an endless line is cut off', async () => {
    const socket = await joined();
    const answer = text(socket);
    const chunk = 'x'.repeat(64 * 1024);
    for (let sent = 0; sent < 8; sent += 1) socket.write(chunk);
    expect(JSON.parse(await answer)).toMatchObject({
      type: 'refusal',
      message: expect.stringContaining('262144 bytes'),
    });
    expect(ran).toEqual([]);
  });

  it('silence is ended by a timer, and an answer ends it', async () => {
    const silent = await joined();
    const answer = text(silent);
    await ask('look');
    expect(timers.map(({ isOver }) => isOver).toSorted()).toEqual([false, true]);
    timers.find(({ isOver }) => !isOver)?.action();
    expect(JSON.parse(await answer)).toMatchObject({ type: 'refusal', message: expect.stringContaining('No request') });
  });

  it('half a line and an end is no request', async () => {
    const socket = await joined();
    socket.end('{"command":["look"]');
    expect(await text(socket)).toBe('');
    expect(ran).toEqual([]);
  });

  it('one that goes on talking after its request still gets one answer', async () => {
    const socket = await joined();
    socket.write(`{"command":["look"],"parameters":{}}\n${'{"command":["again"],"parameters":{}}\n'.repeat(1_000)}`);
    expect((await text(socket)).trimEnd().split('\n')).toHaveLength(1);
    expect(ran).toHaveLength(1);
  });

  it('those that only sit there take no place from others for ever', async () => {
    const sitting = await Promise.all(Array.from({ length: 32 }, joined));
    await expect(ask('look')).rejects.toMatchObject({ exitCode: 1 });
    for (const timer of timers.filter(({ isOver }) => !isOver)) timer.action();
    await Promise.all(sitting.map((socket) => text(socket)));
    expect(await ask('look')).toMatchObject({ type: 'answered' });
  });
});

describe('a host that does not keep to the protocol', () => {
  it('is told to the person in one sentence', async () => {
    await control.close();
    const replies = ['nonsense\n', '{"type":"result"}\n', ''];
    const server = createServer((socket) => socket.resume().end(replies.shift() ?? ''));
    server.listen(controlSocket(folder));
    await once(server, 'listening');
    try {
      await expect(ask('look')).rejects.toThrow(/must have the same version/);
      await expect(ask('look')).rejects.toThrow(/must have the same version/);
      await expect(ask('look')).rejects.toThrow(/may have been done or not/);
    } finally {
      server.close();
      await once(server, 'close');
    }
  });
});
