/** Agents that cannot be started, or that end at once, through a whole host: who hears of it, and what is kept. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Driver, type Exit, type Run, type RunSpec, SpawnError } from '@nanoclaw/containers';
import {
  HostSession,
  inboundFolder,
  outboundFolder,
  RunnerSession,
  runId,
  type SessionFolder,
  sessionFolder,
  type TroubleRecord,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { StandInDriver } from './stand-in-driver.ts';
import { echoing, setTimer, until, WholeHost } from './whole-host.ts';

/** So many times faster than the clock on the wall, so that the waits between two starts pass within the test. */
const PACE = 20;
const BEGAN = Date.now();
const now = () => BEGAN + (Date.now() - BEGAN) * PACE;
const quickTimer = (delayMs: number, action: () => void) => setTimer(delayMs / PACE, action);

const EXIT: Exit = { type: 'code', code: 3 };

let whole: WholeHost;
let log: string[];
let unanswered: string[];

afterEach(() => whole.close());

/** A host with one chat, whose agents are started by `start` until it gives none, and by the stand-in from then on. */
async function hostWith(start: (spec: RunSpec) => Promise<Run> | undefined): Promise<void> {
  [log, unanswered] = [[], []];
  const standIn = new StandInDriver(echoing('You said', { now, setTimer: quickTimer }), now);
  const driver: Driver = {
    start: (spec) => start(spec) ?? standIn.start(spec),
    stop: (id) => standIn.stop(id),
    list: () => standIn.list(),
    logs: () => standIn.logs(),
    close: () => standIn.close(),
  };
  const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(line) });
  const ports = { clock: { now, setTimer: quickTimer }, monotonic: () => performance.now() * PACE };
  const onUnanswered = (reason: string) => void unanswered.push(reason);
  whole = new WholeHost({
    options: { driver: () => driver, ports, onUnanswered, log: { logger, rotate: () => undefined } },
  });
  await whole.wire(1);
  await whole.host.start();
}

/** A run that has written these words into its log and ended with exit code 3; `begun`: after it had opened its session. */
function ended({ runId: id, sessionId, labels, logFile, mounts }: RunSpec, words: string, begun: boolean): Run {
  if (begun) {
    const place = (target: string) => mounts.find((mount) => mount.target === target)?.source ?? '';
    const folders = {
      inbound: inboundFolder(place('/workspace/inbound')),
      outbound: outboundFolder(place('/workspace/outbound')),
    };
    const handshake = { runId: runId(id), runnerVersion: '0', provider: 'offline' };
    RunnerSession.open(folders, openSqlite, handshake, now())[Symbol.dispose]();
  }
  writeFileSync(logFile, words);
  return { runId: id, sessionId, startedAt: now(), labels, specHash: 'x', logFile, exited: async () => EXIT };
}

function session(): SessionFolder {
  const agents = join(whole.data.root, 'sessions');
  const [folder] = readdirSync(agents).flatMap((agent) =>
    readdirSync(join(agents, agent)).map((id) => sessionFolder(join(agents, agent, id))),
  );
  if (folder === undefined) throw new Error('There is no session.');
  return folder;
}

function trouble(): TroubleRecord | undefined {
  using view = HostSession.view(session(), openSqlite);
  return view.trouble.get('wake');
}

const shown = () => whole.platform.shown.map(({ message }) => ('text' in message ? message.text : message.kind));

test('an agent that cannot be started: log and chat are told why, the message is kept and answered later (failures 53, 54)', async () => {
  let isMended = false;
  await hostWith(() =>
    isMended ? undefined : Promise.reject(new SpawnError({ type: 'no-image', image: 'agent:missing' })),
  );
  expect(await whole.say(0, 'p1', 'hello')).toBe('acknowledged');
  await until(() => shown().length > 0);
  expect(shown()).toEqual([expect.stringMatching(/^The agent cannot answer just now: .*agent:missing.* are kept and/)]);
  expect(unanswered[0]).toContain('agent:missing');
  const lines = log.filter((line) => line.includes('a run could not be started'));
  expect(lines.length).toBeGreaterThanOrEqual(3);
  expect(lines[0]).toContain('agent:missing');
  using view = HostSession.view(session(), openSqlite);
  expect(view.message('memory:chat-0:p1')).toMatchObject({ status: 'pending', tries: 0 });

  isMended = true;
  await until(() => shown().length === 3);
  expect(shown().slice(1).toSorted()).toEqual(['The agent can answer again.', 'You said hello']);
});

test.each([
  ['before it has opened its session', false, /\(exit code 3\).* and ends with:.*the module\./s],
  [
    'after it has opened its session',
    true,
    /^The agent ended with exit code 3\. Its last words: “Cannot find the module\.”\.$/,
  ],
])(
  'an agent that ends at once, %s, is written down with its exit and its last words (failure 54)',
  async (_, begun, why) => {
    await hostWith((spec) => Promise.resolve(ended(spec, 'It begins.\nCannot find\u001b\u0007the module.\n', begun)));
    await whole.say(0, 'p1', 'hello');
    await until(() => trouble() !== undefined);
    expect(trouble()?.error).toMatch(why);
    expect(trouble()?.retryAt).toBeGreaterThan(trouble()?.since ?? Number.POSITIVE_INFINITY);
  },
);
