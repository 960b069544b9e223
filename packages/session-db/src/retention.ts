/**
 * Forgetting, on both sides, in bounded batches. Each side forgets only what the other has acknowledged, and keeps its
 * highest row, so that a number is never given twice.
 */
import { rmSync } from 'node:fs';
import { messageFiles } from './attachments.ts';
import type { Deliveries } from './deliveries.ts';
import type { SessionFolder } from './folder.ts';
import { inTransaction } from './open.ts';
import type { Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';

/** What is forgotten, and how much at once. */
export interface Retention {
  /** What ended longer ago than this is forgotten, in milliseconds. */
  readonly keepMs: Millis;
  /** At most so many rows of each table in one call. */
  readonly batch: number;
}

/** The ids of the messages that `pruneInbound` would remove now: their files may be removed beforehand. */
export function forgettable(db: Sqlite, now: Millis, { keepMs, batch }: Retention): string[] {
  return db.all<{ id: string }>(OLD_MESSAGES_IN, { before: now - keepMs, batch }).map(({ id }) => id);
}

/**
 * Removes ended messages, what is left of their files, and deliveries from the host's side, and writes down which of its own the runner may
 * forget. Gives how many rows were removed; a full batch of a table means that there is more. One commit.
 *
 * A message's id guards against the platform sending it again, so `keepMs` is to be longer than any platform's memory.
 */
export function pruneInbound(
  db: Sqlite,
  deliveries: Deliveries,
  folder: SessionFolder,
  now: Millis,
  retention: Retention,
): number {
  const { batch } = retention;
  const before = now - retention.keepMs;
  const old = db.all<{ seq: number; id: string }>(OLD_MESSAGES_IN, { before, batch });
  // The files first: without the row nothing would say that they are there.
  for (const { id } of old) rmSync(messageFiles(folder.inbound.files, id), { recursive: true, force: true });
  return deliveries.inOneCommit(() => {
    for (const { seq } of old) db.run('DELETE FROM messages_in WHERE seq = :seq', { seq });
    return old.length + deliveries.forget(before, batch);
  });
}

/** Where `inbound.db` says that the host stands: what it has taken over for good. */
export interface HostProgress {
  readonly acksSettled: number;
  readonly messagesSettled: number;
}

/** Reads, from `inbound.db`, what the host has taken over for good. */
export function hostProgress(inbound: Sqlite): HostProgress {
  const row = inbound.all<HostProgress>(
    'SELECT acks_settled AS acksSettled, messages_settled AS messagesSettled FROM host_state',
  )[0];
  return row ?? { acksSettled: 0, messagesSettled: 0 };
}

/**
 * Removes from `outbound.db` what the host has taken over for good. Gives how many rows were removed; a full batch of a
 * table means that there is more. At most one commit.
 */
export function pruneOutbound(db: Sqlite, host: HostProgress, now: Millis, retention: Retention): number {
  const before = { before: now - retention.keepMs, batch: retention.batch };
  return inTransaction(db, () => {
    const messages = db.run(FORGET_MESSAGES_OUT, { ...before, settled: host.messagesSettled });
    if (messages > 0) db.run(FORGET_EFFECTS);
    const acks = db.run(FORGET_ACKS, { ...before, settled: host.acksSettled });
    return messages + acks + db.run(FORGET_TURNS, before);
  });
}

// Each looks at the first rows alone, as many as it may remove: where nothing is old enough, the history costs nothing.
// One that ended late may so hold back as many behind it, until it is old enough itself.
const OLD_MESSAGES_IN = `
  SELECT seq, id FROM messages_in WHERE settled_at < :before AND seq IN (
    SELECT seq FROM messages_in
    WHERE settled_at IS NOT NULL AND seq < (SELECT max(seq) FROM messages_in) ORDER BY seq LIMIT :batch
  )`;

const FORGET_MESSAGES_OUT = `
  DELETE FROM messages_out WHERE timestamp < :before AND seq IN (
    SELECT seq FROM messages_out
    WHERE seq <= :settled AND seq < (SELECT max(seq) FROM messages_out) ORDER BY seq LIMIT :batch
  )`;

// Messages are forgotten from the first on.
const FORGET_EFFECTS = 'DELETE FROM effects WHERE seq < (SELECT min(seq) FROM messages_out)';

// A claim of a dead run says `processing` for ever; one of the run that works here is still to be ended.
const FORGET_ACKS = `
  DELETE FROM processing_ack
  WHERE status_changed < :before AND (status <> 'processing' OR run_id <> (SELECT run_id FROM container_state))
    AND change IN (
      SELECT change FROM processing_ack
      WHERE change <= :settled AND change < (SELECT max(change) FROM processing_ack) ORDER BY change LIMIT :batch
    )`;

const FORGET_TURNS = `
  DELETE FROM turns WHERE ended_at < :before AND turn IN (
    SELECT turn FROM turns WHERE turn < (SELECT max(turn) FROM turns) ORDER BY turn LIMIT :batch
  )`;
