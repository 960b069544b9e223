/** pg-boss on PostgreSQL, with the notifications that its newer versions have; the worker announces an answer by NOTIFY. */

import { Pool } from 'pg';
import { PgBoss } from 'pg-boss';
import { Answers } from './answers.mjs';
import { child, told } from './child.mjs';
import { postgres } from './postgres.mjs';

export async function start(folder) {
  const server = await postgres(folder);
  const boss = new PgBoss({ connectionString: server.url, useListenNotify: true });
  boss.on('error', told);
  await boss.start();
  await boss.createQueue('work', { notify: true });
  const answers = await Answers.open(server.url);
  const worker = await child(import.meta.filename, [server.url]);
  return {
    pids: () => [server.pid, worker.pid],
    ask: async () => {
      const { id, answered } = answers.next();
      await boss.send('work', { id, text: 'a message of the usual size, or nearly so' });
      await answered;
    },
    close: async () => {
      await worker.end();
      await answers.close();
      await boss.stop({ graceful: false });
      await server.end();
    },
  };
}

if (process.send && process.argv[1] === import.meta.filename) {
  const connectionString = process.argv[2];
  const pool = new Pool({ connectionString, max: 4 });
  const boss = new PgBoss({ connectionString, useListenNotify: true });
  boss.on('error', told);
  await boss.start();
  await boss.work('work', { batchSize: 64, pollingIntervalSeconds: 0.5 }, async (jobs) => {
    for (const { data } of jobs) await pool.query('SELECT pg_notify($1, $2)', ['answers', data.id]);
  });
  process.send('ready');
}
