/** A long past for a session: messages that were enqueued, answered, settled and delivered, written in one go. */
import { type OpenSqlite, type SessionFolder, type Sqlite, sessionFolder } from '../src/index.ts';

/** Gives a session, whose files exist and are empty, `finished` messages that have gone all the way. */
export function fillHistory(folder: SessionFolder, openSqlite: OpenSqlite, finished: number): void {
  const { inbound, outbound } = sessionFolder(folder.root);
  write(openSqlite(inbound.database, 'write'), INBOUND, finished);
  write(openSqlite(outbound.database, 'write'), OUTBOUND, finished);
}

function write(db: Sqlite, statements: readonly string[], finished: number): void {
  // It need not outlive a power cut.
  db.exec('PRAGMA synchronous = 0; BEGIN IMMEDIATE');
  for (const statement of statements) {
    db.run(
      `WITH RECURSIVE past (n) AS (SELECT 1 WHERE :finished > 0 UNION ALL SELECT n + 1 FROM past WHERE n < :finished)
       ${statement}`,
      { finished },
    );
  }
  db.exec('COMMIT');
  db.close();
}

const INBOUND = [
  `INSERT INTO messages_in (seq, id, kind, timestamp, status, tries, process_after, trigger, on_wake, channel_type,
     platform_id, content, settled_at)
   SELECT n * 4 - 2, 'past-' || n, 'chat', 1000, 'completed', 1, 1000, 1, 0, 'terminal', 'main', '{"text":"said"}', 1000
   FROM past`,
  `INSERT INTO delivered (seq, part, message_out_id, lane, status, attempts, attempts_before, in_flight, uncertain,
     plain, cleans_up, next_attempt_at, platform_message_id, settled_at)
   SELECT n * 4 - 1, 0, 'answer-' || n, 'a', 'delivered', 1, 0, 0, 0, 0, 0, 1000, 'p' || n, 1000 FROM past`,
  `INSERT INTO scheduling (action_id, at, result) SELECT 'action-' || n, 1000, '{}' FROM past WHERE n % 100 = 0`,
  `INSERT INTO series (id, status, content, catch_up, catch_up_max, overlap, jitter_ms, start_at, owed, fired, failures,
     created_at, updated_at)
   SELECT 'series-' || n, 'ended', '{}', 'latest', 1, 'skip', 0, 0, '[]', 1, 0, 1000, 1000 FROM past WHERE n % 100 = 0`,
  `UPDATE host_state SET acks_settled = (SELECT coalesce(max(n), 0) * 2 FROM past),
     messages_taken = (SELECT coalesce(max(n), 0) * 4 FROM past), messages_settled = 0`,
];

const OUTBOUND = [
  `INSERT INTO messages_out (seq, id, run_id, in_reply_to, timestamp, kind, channel_type, platform_id, content)
   SELECT n * 4 - 1, 'answer-' || n, 'run-1', 'past-' || n, 1000, 'chat', 'terminal', 'main', '{"text":"answered"}'
   FROM past`,
  `INSERT INTO processing_ack (change, message_id, attempt, run_id, status, status_changed)
   SELECT n * 2, 'past-' || n, 1, 'run-1', 'completed', 1000 FROM past`,
  `INSERT INTO turns (run_id, started_at, ended_at, outcome, message_count)
   SELECT 'run-1', 1000, 1000, 'completed', 1 FROM past`,
];
