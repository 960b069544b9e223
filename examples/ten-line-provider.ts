/**
 * The runner without NanoClaw's host or its models: a session folder, one question in it, and a provider of ten lines.
 *
 *   node examples/ten-line-provider.ts FOLDER "What is this?"
 *
 * prints the answer, which then stands in FOLDER/outbound/outbound.db for whoever delivers it. FOLDER may be one that
 * was made before. Needs Node 22.18 or newer.
 */
import { parseArgs } from 'node:util';
import { type Provider, Runner } from '@nanoclaw/runner';
import {
  type Clock,
  createSession,
  Doorbell,
  HostSession,
  inProcessReader,
  RunnerSession,
  runId,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';

const shouting: Provider = {
  name: 'shouting',
  start: (prompt) => ({
    events: (async function* () {
      const said = prompt.messages.map((message) => message.content['text']).join(' ');
      const usage = { inputTokens: null, outputTokens: null, cacheReadTokens: null, costUsd: null };
      yield { type: 'result' as const, text: said.toUpperCase(), usage };
    })(),
    push: () => false,
    abort: () => undefined,
  }),
};

const clock: Clock = {
  now: () => Date.now(),
  setTimer: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

const [root, question] = parseArgs({ allowPositionals: true }).positionals;
if (root === undefined || question === undefined) throw new Error('Usage: ten-line-provider.ts FOLDER QUESTION');
const folder = createSession(root);
const run = runId(`run-${clock.now()}`);

// The host's part: a message, and the name of the run that may work on it.
using host = HostSession.open(folder, openSqlite);
const [kind, trigger, timestamp] = ['chat' as const, 'wakes' as const, clock.now()];
host.enqueue({ id: `m-${run}`, kind, trigger, timestamp, address: null, content: { text: question } }, timestamp);
host.beginRun(run, clock.now());

// The agent's part: works until there has been nothing to do for a tenth of a second.
using session = RunnerSession.open(
  folder,
  openSqlite,
  { runId: run, runnerVersion: '1', provider: 'shouting' },
  clock.now(),
);
const end = await new Runner({
  session,
  provider: shouting,
  agent: { assistantName: 'Shouter', timeZone: 'UTC', cwd: root, model: undefined },
  clock,
  bell: {
    listen: (heard) => {
      const doorbell = new Doorbell(folder.inbound, heard, { setTimer: clock.setTimer });
      return () => doorbell[Symbol.dispose]();
    },
  },
  runScript: async () => ({ type: 'not-started', reason: 'this example runs no scripts' }),
  policy: { idleExitMs: 100 },
}).run();
if (end.type !== 'idle') throw new Error(`The run ended early: ${end.type}`);

const written = await inProcessReader(folder, openSqlite).read({ acksAfter: 0, messagesAfter: 0, again: [] });
if (written.type === 'read') console.log(written.messages.at(-1)?.content['text']);
