/**
 * `pnpm golden` writes the golden files of the current version of inbound.db: a session as this version leaves it in mid-life, which
 * every later version must be able to open. A folder of a released version is never written again.
 */

import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSqlite } from '#driver';
import { DELIVERY_RETRY, runId, type SeriesRecord } from '../../src/index.ts';
import { INBOUND_VERSION } from '../../src/schema.ts';
import { ADDRESS, chat, claim, reply, TestSession } from '../support.ts';

const target = join(fileURLToPath(new URL('.', import.meta.url)), `v${INBOUND_VERSION}`);

const TEAM = { ...ADDRESS, platformId: 'team', threadId: '7' };

const SERIES: SeriesRecord = {
  id: 'daily',
  status: 'active',
  reason: null,
  recurrence: { cron: '0 8 * * *', timeZone: 'Europe/Berlin' },
  content: { prompt: 'good morning' },
  address: ADDRESS,
  catchUp: { type: 'all', max: 3 },
  overlap: 'buffer-one',
  jitterMs: 0,
  startAt: 1_000,
  endAt: null,
  countMax: 10,
  pauseAfter: 3,
  nextSlot: 180_000,
  owed: [],
  fired: 0,
  failures: 0,
  createdAt: 1_000,
  updatedAt: 1_000,
};

using session = new TestSession(openSqlite);
const { host } = session;
host.setRouting(
  {
    destinations: [
      { name: 'team', displayName: 'The team', type: 'channel', channelType: 'terminal', platformId: 'team' },
      { name: 'helper', displayName: 'A helper', type: 'agent', agentGroupId: 'helpers' },
    ],
    replyTo: ADDRESS,
  },
  1_000,
);
for (const id of ['answered', 'delivered', 'crashed', 'in-work']) host.enqueue(chat(id), 1_000);
host.series.edit(1_000, (edit) => {
  edit.put(SERIES);
  edit.insert(SERIES, 90_000, 90_000, 1_000);
});

{
  using runner = session.startRun(runId('run-1'), 1_000);
  const claims = claim(runner, 1_000, { work: 3, control: 1, context: 1 }).map((one) => one.claim);
  runner.finish(
    claims.filter((one) => one.messageId !== 'crashed'),
    { type: 'completed' },
    [
      reply('o-delivered', 'delivered'),
      { ...reply('o-open', 'answered'), address: TEAM },
      { ...reply('o-action', 'answered'), kind: 'system', address: null },
    ],
    1_100,
  );
  runner.setContinuation('offline', 'token-1', 1_100);
}
host.endRun(runId('run-1'));
const read = session.contents();
host.settle(read, 2_000, { triesMax: 5, backoffBaseMs: 5_000, backoffMaxMs: 300_000 });
host.deliveries.accept(
  read.messages.map((message) => ({ message, address: message.address })),
  read.messagesThrough,
  2_000,
);
for (const attempt of host.deliveries.begin(host.deliveries.due(2_000, 10), 2_000, DELIVERY_RETRY)) {
  if (attempt.messageOutId === 'o-open') continue;
  host.deliveries.record(attempt, { to: 'delivered', platformMessageId: 'p1' }, 2_100);
}
{
  using runner = session.startRun(runId('run-2'), 3_000);
  claim(runner, 3_000);
}

rmSync(target, { recursive: true, force: true });
for (const name of ['inbound', 'outbound'] as const) {
  const { database } = session.folder[name];
  mkdirSync(join(target, name), { recursive: true });
  // Every byte from the schema and the rows, and none left over from before.
  const db = openSqlite(database, 'write');
  db.exec('VACUUM');
  db.close();
  cpSync(database, join(target, name, `${name}.db`));
}
