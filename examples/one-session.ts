/**
 * One session without a host, a container or a model: both sides of `@nanoclaw/session-db` in one program. A person
 * asks, an agent that only echoes answers, and the answer is delivered. Run it again: nothing is asked or said twice.
 *
 *   node examples/one-session.ts [folder]
 */
import * as db from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';

const folder = db.createSession(process.argv[2] ?? 'session');
const address = { channelType: 'terminal', platformId: 'main', threadId: null };
const chat = { kind: 'chat', address } as const;
const now = Date.now();

// The host writes the question into inbound.db, under an id that comes from the platform.
using host = db.HostSession.open(folder, openSqlite);
const content = { text: 'Is anybody there?' };
const taken = host.enqueue({ ...chat, id: 'terminal:1', timestamp: now, trigger: 'wakes', content }, now);
console.log(`asked (${taken}): ${content.text}`);

// A run claims what is due, and writes answer and acknowledgement into outbound.db in one transaction.
const runId = db.runId(`run-${now}`);
host.beginRun(runId, now);
const runner = db.RunnerSession.open(folder, openSqlite, { runId, runnerVersion: '1', provider: 'echo' }, now);
const result = runner.claim(now, { work: 10, control: 10, context: 10 });
for (const one of result.type === 'claimed' ? result.claimed : []) {
  if (one.type === 'poison') continue;
  const { id, seq, content: said } = one.message;
  const reply = { ...chat, id: `${runId}/${seq}`, inReplyTo: id, content: { text: `You said: ${said['text']}` } };
  runner.finish([one.claim], { type: 'completed' }, [reply], now);
}
runner[Symbol.dispose]();
host.endRun(runId);

// The host reads on where it was: it settles the questions and takes the answers in.
const news = read([]);
host.settle(news, now, db.INBOUND_RETRY);
const answers = news.messages.map((message) => ({ message, address }));
host.deliveries.accept(answers, news.messagesThrough, now);

// Each attempt to deliver is on disk before it is made, and its outcome after.
const due = host.deliveries.due(now, 10);
const messages = read(due.map(({ seq }) => seq)).again;
for (const attempt of host.deliveries.begin(due, now, db.DELIVERY_RETRY)) {
  const message = messages.find(({ seq }) => seq === attempt.seq);
  console.log(`answered (attempt ${attempt.attempt}): ${message?.content['text']}`);
  host.deliveries.record(attempt, { to: 'delivered', platformMessageId: null }, now);
}

function read(again: readonly number[]): db.OutboundContents {
  const found = db.readOutbound(folder, openSqlite, { ...host.cursor(), again, runEnded: true });
  if (found.type === 'read') return found;
  throw new Error(`outbound.db cannot be read (${found.type}). Nothing is lost; run this again.`);
}
