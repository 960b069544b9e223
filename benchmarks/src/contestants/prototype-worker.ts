/** The worker of the prototype, on Bun: `bun prototype-worker.ts INBOUND OUTBOUND`, a line on stdin for each commit to look at. */
import { isBusy } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/bun';

const [inboundPath = '', outboundPath = ''] = process.argv.slice(2);
const inbound = openSqlite(inboundPath, 'read');
const outbound = openSqlite(outboundPath, 'write');
outbound.exec('PRAGMA synchronous = extra');
let after = 0;
let seq = -1;
for await (const line of console) {
  if (line !== '') work();
}

function work(): void {
  let rows: { seq: number; id: string; content: string }[];
  try {
    rows = inbound.all(`SELECT seq, id, content FROM messages_in WHERE seq > :after ORDER BY seq`, { after });
  } catch (error) {
    // The host is committing again, and rings once more after it.
    if (isBusy(error)) return;
    throw error;
  }
  if (rows.length === 0) return;
  const now = Date.now();
  outbound.exec('BEGIN IMMEDIATE');
  for (const row of rows) {
    seq += 2;
    after = row.seq;
    outbound.run(
      `INSERT INTO messages_out (seq, id, run_id, in_reply_to, timestamp, kind, content)
       VALUES (:seq, :id, 'run-1', :inReplyTo, :now, 'chat', :content)`,
      { seq, id: `r${seq}`, inReplyTo: row.id, now, content: row.content },
    );
    outbound.run(
      `INSERT INTO processing_ack (message_id, attempt, run_id, status, status_changed) VALUES (:id, 1, 'run-1', 'completed', :now)`,
      { id: row.id, now },
    );
  }
  commit();
  process.stdout.write('\n.\n');
}

/** The host may be reading just now; it is done within a moment. */
function commit(): void {
  for (;;) {
    try {
      return outbound.exec('COMMIT');
    } catch (error) {
      if (!isBusy(error)) throw error;
    }
  }
}
