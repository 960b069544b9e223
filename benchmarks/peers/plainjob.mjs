/** plainjob on better-sqlite3, WAL, fully synced, polled each millisecond: the fastest that its interface has. */
import Database from 'better-sqlite3';
import { better, defineQueue, defineWorker } from 'plainjob';
import { child, quiet } from './child.mjs';

/** A queue on a file, as durable as a power cut asks for. */
function open(file) {
  const db = new Database(file);
  const queue = defineQueue({ connection: better(db), logger: quiet });
  // It asks for NORMAL, with which a power cut takes back what was accepted.
  db.pragma('synchronous = FULL');
  return { db, queue };
}

export async function start(folder) {
  const file = `${folder}/jobs.db`;
  const { db, queue } = open(file);
  const worker = await child(import.meta.filename, [file]);
  const done = db.prepare('SELECT status FROM plainjob_jobs WHERE id = ?');
  return {
    pids: () => [worker.pid],
    ask: async () => {
      const { id } = queue.add('work', { text: 'a message of the usual size, or nearly so' });
      while (done.get(id)?.status !== 2) await new Promise((resolve) => setTimeout(resolve, 1));
    },
    close: async () => {
      await worker.end();
      db.close();
    },
  };
}

if (process.send && process.argv[1] === import.meta.filename) {
  const { queue } = open(process.argv[2]);
  defineWorker('work', async () => undefined, { queue, pollIntervall: 1, logger: quiet }).start();
  process.send('ready');
}
