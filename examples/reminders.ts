/**
 * Reminders with `@nanoclaw/sweep` alone: no host, no container, no model. The sweep decides when a session needs a run,
 * and the run is a function here that says what is due.
 *
 *   node examples/reminders.ts <folder> "<seconds> <what>"...     such as: /tmp/reminders "1 tea" "2 stretch"
 *
 * It leaves when all has been said. Stopped in between, by a crash too, it goes on where it was when it is started again.
 */
import { randomUUID } from 'node:crypto';
import {
  changeToken,
  createSession,
  HostSession,
  inProcessReader,
  type RunId,
  RunnerSession,
  runId,
  SessionLoop,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { applyScheduling, observe, type RunState, sweepSession, type Vitals } from '@nanoclaw/sweep';

const [root, ...wishes] = process.argv.slice(2);
if (root === undefined) {
  console.error('usage: reminders.ts <folder> "<seconds> <what>"...');
  process.exit(2);
}

const folder = createSession(root);
const session = HostSession.open(folder, openSqlite);
const reader = inProcessReader(folder, openSqlite);

for (const wish of wishes) {
  const [, seconds, prompt] = /^(\d+) (.+)$/.exec(wish) ?? [];
  const now = Date.now();
  const content = { action: 'schedule_task', processAfter: now + Number(seconds) * 1000, prompt: prompt ?? '' };
  const result = applyScheduling(session, content, { actionId: randomUUID(), address: null, timeZone: 'UTC' }, now);
  if (result.type === 'refused') console.error(`${wish}: ${result.message}`);
}

// A run of an earlier process is over, whatever the file says.
const before = session.liveRun();
let run: RunState =
  before === undefined
    ? { type: 'none' }
    : { type: 'none', ended: { runId: before, livedMs: 0, how: { type: 'left' } } };

/** A run, from its first claim to its last answer. It never waits, so nothing has to watch over it. */
function sayWhatIsDue(id: RunId, now: number): void {
  session.beginRun(id, now);
  using runner = RunnerSession.open(folder, openSqlite, { runId: id, runnerVersion: '1', provider: 'none' }, now);
  const due = runner.claim(now, { work: 10, control: 10, context: 10 });
  for (const one of due.type === 'claimed' ? due.claimed : []) {
    if (one.type === 'message') console.log(one.message.content['prompt']);
    runner.finish([one.claim], { type: 'completed' }, [], now);
  }
  run = { type: 'none', ended: { runId: id, livedMs: Date.now() - now, how: { type: 'left' } } };
}

let vitals: Vitals | undefined;
const loop = new SessionLoop({
  visit: async (key, { now, steadySince }) => {
    const seen = await observe(session, reader, () => run);
    const report = sweepSession(session, { ...seen, vitals, steadySince }, now);
    vitals = report.vitals;
    if (report.verdict.type === 'wake') {
      sayWhatIsDue(runId(randomUUID()), now);
      loop.poke(key);
    } else if (session.series.live().length === 0) void loop.stop().then(() => session[Symbol.dispose]());
    return { type: 'visited', nextAt: report.lookAgainAt };
  },
  token: () => changeToken(folder.outbound),
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
  onTrouble: (trouble) => console.error(trouble),
});
loop.add('reminders');
loop.start();
