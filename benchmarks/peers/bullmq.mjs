/** BullMQ on a Redis that syncs every write, with its own worker and its own events. */
import { Queue, QueueEvents, Worker } from 'bullmq';
import { child } from './child.mjs';
import { redis } from './redis.mjs';

export async function start(folder) {
  const server = await redis(folder);
  const connection = { path: server.socket, maxRetriesPerRequest: null };
  const queue = new Queue('work', { connection });
  const events = new QueueEvents('work', { connection });
  await events.waitUntilReady();
  const worker = await child(import.meta.filename, [server.socket]);
  return {
    pids: () => [server.pid, worker.pid],
    ask: async () => {
      const job = await queue.add(
        'message',
        { text: 'a message of the usual size, or nearly so' },
        { removeOnComplete: 1_000 },
      );
      await job.waitUntilFinished(events, 120_000);
    },
    close: async () => {
      await worker.end();
      await events.close();
      await queue.close();
      await server.end();
    },
  };
}

if (process.send && process.argv[1] === import.meta.filename) {
  const connection = { path: process.argv[2], maxRetriesPerRequest: null };
  const worker = new Worker('work', async (job) => job.data.text, { connection, concurrency: 64 });
  await worker.waitUntilReady();
  process.send('ready');
}
