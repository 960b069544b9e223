/** graphile-worker on PostgreSQL: woken by NOTIFY, and the task says so by NOTIFY. */
import { makeWorkerUtils, run } from 'graphile-worker';
import { Answers } from './answers.mjs';
import { child } from './child.mjs';
import { postgres } from './postgres.mjs';

export async function start(folder) {
  const server = await postgres(folder);
  const utils = await makeWorkerUtils({ connectionString: server.url });
  await utils.migrate();
  const answers = await Answers.open(server.url);
  const worker = await child(import.meta.filename, [server.url]);
  return {
    pids: () => [server.pid, worker.pid],
    ask: async () => {
      const { id, answered } = answers.next();
      await utils.addJob('work', { id, text: 'a message of the usual size, or nearly so' });
      await answered;
    },
    close: async () => {
      await worker.end();
      await answers.close();
      await utils.release();
      await server.end();
    },
  };
}

if (process.send && process.argv[1] === import.meta.filename) {
  const connectionString = process.argv[2];
  const taskList = {
    work: async ({ id }, { withPgClient }) => {
      await withPgClient((client) => client.query('SELECT pg_notify($1, $2)', ['answers', id]));
    },
  };
  await run({ connectionString, concurrency: 10, taskList, noHandleSignals: true, pollInterval: 1_000 });
  process.send('ready');
}
