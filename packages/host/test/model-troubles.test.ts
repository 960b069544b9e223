/** A model that is in the way, through a whole host with real runners: who hears of it, what is kept, and who asks again. */
import { inProcess } from '@nanoclaw/containers';
import { openSqlite } from '@nanoclaw/session-db/node';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { ModelTrouble, scriptedProvider } from '../../providers/src/scripted/scripted.ts';
import { agentProgram } from '../../runner/src/index.ts';
import { controlSocket } from '../src/operator/control.ts';
import { sendControlRequest } from '../src/operator/control-client.ts';
import type { Status } from '../src/operator/status.ts';
import { setTimer, until, WholeHost } from './whole-host.ts';

/** So many times faster than the clock on the wall, so that the waits between two attempts pass within the test. */
const PACE = 40;
const BEGAN = Date.now();
const clock = {
  now: () => BEGAN + (Date.now() - BEGAN) * PACE,
  setTimer: (delayMs: number, action: () => void) => setTimer(delayMs / PACE, action),
};

let whole: WholeHost;
let log: string[];
/** What the model does next; `undefined`: it answers. */
let trouble: ModelTrouble | 'hangs' | undefined;
/** The texts of the messages that the model was asked with. */
let asked: string[];

afterEach(() => whole.close());

/** A host with so many chats, whose model does as `trouble` says. */
async function hostWith(chats: number): Promise<void> {
  [log, asked] = [[], []];
  const provider = scriptedProvider(({ prompt }) => {
    const texts = prompt.messages.map(({ content }) => String(content['text'])).join(' and ');
    asked.push(texts);
    if (trouble === 'hangs') return new Promise<never>(() => undefined);
    if (trouble !== undefined) throw trouble;
    return `You said ${texts}`;
  });
  const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(line) });
  whole = new WholeHost({
    options: {
      driver: inProcess(agentProgram({ provider, openSqlite, clock })),
      ports: { clock, monotonic: () => performance.now() * PACE },
      log: { logger, rotate: () => undefined },
    },
  });
  await whole.wire(chats);
  await whole.host.start();
}

async function command(...words: string[]): Promise<unknown> {
  const parameters = words.length > 2 ? { session: words[2] ?? '' } : {};
  const socket = controlSocket(whole.data.root);
  const answered = await sendControlRequest(socket, { command: words.slice(0, 2), parameters }, () => undefined);
  if (answered.type !== 'answered') throw new Error('The host does not answer.');
  return answered.value;
}

const status = async (): Promise<Status> => Object(await command('status'));
const shown = () =>
  whole.platform.shown.map(({ address, message }) => [address.platformId, 'text' in message ? message.text : '']);

const BUSY =
  'The agent cannot answer just now: It is busy. Your messages are kept and will be tried again automatically.';
const REFUSED =
  'The agent cannot answer until its operator has acted: The key is wrong. Your messages are kept and will be answered then; nothing needs to be sent again.';

test('a model that is away for longer than all tries: the chat is told once, nothing is given up, and it is answered', async () => {
  trouble = new ModelTrouble('unavailable', 'It is busy.');
  await hostWith(1);
  await whole.say(0, 'p1', 'hello');
  await until(() => asked.length === 6);
  expect(shown()).toEqual([['chat-0', BUSY]]);
  expect(await status()).toMatchObject({
    deferred: 1,
    deadLetters: 0,
    modelTroubles: [{ provider: 'offline', kind: 'unavailable', reason: 'It is busy.', sessions: 1, messages: 1 }],
  });
  trouble = undefined;
  await until(() => shown().length === 2);
  expect(shown()[1]).toEqual(['chat-0', 'You said hello']);
  await until(() => log.some((line) => line.includes('is not in the way any more')));
  expect(await status()).toMatchObject({ deferred: 0, deadLetters: 0, modelTroubles: [] });
  expect(log.filter((line) => line.includes('the model of a session is in the way'))).toHaveLength(1);
});

test('a wrong key: it is asked seldom, each chat is told once, and one chat that is answered lets the others be', async () => {
  trouble = new ModelTrouble('refused', 'The key is wrong.', 3_600_000);
  await hostWith(2);
  await whole.say(0, 'p1', 'hello');
  await whole.say(1, 'p2', 'good day');
  await until(() => shown().length === 2);
  await whole.say(0, 'p3', 'are you there?');
  await until(() => asked.length === 3);
  const at = clock.now();
  await until(() => clock.now() > at + 30_000);
  expect(asked.toSorted()).toEqual(['good day', 'hello', 'hello and are you there?']);
  expect(shown().toSorted()).toEqual([
    ['chat-0', REFUSED],
    ['chat-1', REFUSED],
  ]);
  const sessions = Object(await command('sessions', 'list'));
  expect(sessions).toMatchObject([
    { why: 'Its model refused: The key is wrong.' },
    { why: 'Its model refused: The key is wrong.' },
  ]);
  expect(await status()).toMatchObject({ modelTroubles: [{ kind: 'refused', sessions: 2, messages: 3 }] });

  trouble = undefined;
  await command('sessions', 'retry', sessions[0].id);
  await until(() => shown().length === 4, 20_000);
  expect(shown().slice(2).toSorted()).toEqual([
    ['chat-0', 'You said hello and are you there?'],
    ['chat-1', 'You said good day'],
  ]);
});

test('a start of the host asks at once again', async () => {
  trouble = new ModelTrouble('refused', 'The key is wrong.', 3_600_000);
  await hostWith(1);
  await whole.say(0, 'p1', 'hello');
  await until(() => shown().length === 1);
  await whole.host.stop('stop-runs');
  trouble = undefined;
  await whole.host.start();
  await until(() => shown().length === 2);
  expect(asked).toEqual(['hello', 'hello']);
  expect(shown()[1]).toEqual(['chat-0', 'You said hello']);
});

test('a model that gives no sign is seen by the operator long before it is given up', async () => {
  trouble = 'hangs';
  await hostWith(1);
  await whole.say(0, 'p1', 'hello');
  await until(() => log.some((line) => line.includes('"kind":"silent"')));
  expect(await status()).toMatchObject({ modelTroubles: [{ kind: 'silent', retryAt: null, messages: 1 }] });
  expect(asked).toEqual(['hello']);
  expect(shown()).toEqual([]);
});
