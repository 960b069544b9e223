/**
 * What stands in a session's two files, read from outside of every process: for the checkers, and for nobody else.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';

export interface MessageRow {
  readonly id: string;
  readonly seq: number;
  readonly kind: string;
  readonly status: 'pending' | 'paused' | 'completed' | 'failed' | 'cancelled';
  readonly tries: number;
  readonly trigger: number;
  readonly processAfter: number;
  readonly seriesId: string | null;
  readonly slot: number | null;
  readonly content: string;
  readonly error: string | null;
}

export interface AckRow {
  readonly messageId: string;
  readonly attempt: number;
  readonly runId: string;
  readonly status: 'processing' | 'completed' | 'failed';
}

export interface OutRow {
  readonly id: string;
  readonly seq: number;
  readonly runId: string;
  readonly kind: string;
  readonly inReplyTo: string | null;
  readonly content: string;
}

export interface DeliveryRow {
  readonly seq: number;
  readonly part: number;
  readonly lane: string;
  readonly status: 'scheduled' | 'pending' | 'delivered' | 'failed' | 'discarded';
  readonly attempts: number;
  readonly inFlight: number;
  readonly uncertain: number;
  readonly error: string | null;
}

export interface SeriesRow {
  readonly id: string;
  readonly status: string;
  readonly overlap: string;
  readonly recurrence: string | null;
  readonly nextSlot: number | null;
  /** JSON: an array of slots. */
  readonly owed: string;
}

/** One session as of one moment. */
export interface Seen {
  readonly liveRun: string | null;
  readonly messages: readonly MessageRow[];
  readonly deliveries: readonly DeliveryRow[];
  readonly series: readonly SeriesRow[];
  /** `undefined`: no run has made the file yet. */
  readonly outbound: { readonly acks: readonly AckRow[]; readonly messages: readonly OutRow[] } | undefined;
}

/** The sessions in a data folder: their folders by their ids. */
export function sessionsIn(data: string): Map<string, string> {
  const top = join(data, 'sessions');
  const groups = existsSync(top) ? readdirSync(top) : [];
  return new Map(groups.flatMap((group) => readdirSync(join(top, group)).map((id) => [id, join(top, group, id)])));
}

/** Reads a session. `unreadable` while a process that died in mid-commit has not been followed by another. */
export function seen(root: string): Seen | 'absent' | 'unreadable' {
  const inbound = read(join(root, 'inbound/inbound.db'), (db) => {
    const state = rows<{ liveRun: string | null }>(db, 'SELECT run_id AS liveRun FROM host_state')[0];
    return {
      liveRun: state?.liveRun ?? null,
      messages: rows<MessageRow>(
        db,
        `SELECT id, seq, kind, status, tries, trigger, process_after AS processAfter, series_id AS seriesId, slot,
           content, error FROM messages_in ORDER BY seq`,
      ),
      deliveries: rows<DeliveryRow>(
        db,
        `SELECT seq, part, lane, status, attempts, in_flight AS inFlight, uncertain, error FROM delivered
         ORDER BY seq, part`,
      ),
      series: rows<SeriesRow>(db, 'SELECT id, status, overlap, recurrence, next_slot AS nextSlot, owed FROM series'),
    };
  });
  if (inbound === 'absent' || inbound === 'unreadable') return inbound;
  const outbound = read(join(root, 'outbound/outbound.db'), (db) => ({
    acks: rows<AckRow>(
      db,
      'SELECT message_id AS messageId, attempt, run_id AS runId, status FROM processing_ack ORDER BY change',
    ),
    messages: rows<OutRow>(
      db,
      'SELECT id, seq, run_id AS runId, kind, in_reply_to AS inReplyTo, content FROM messages_out ORDER BY seq',
    ),
  }));
  if (outbound === 'unreadable') return outbound;
  return { ...inbound, outbound: outbound === 'absent' ? undefined : outbound };
}

/** The delivery of one part, for a look at the moment of its send; `undefined` when there is none. */
export function deliveryOf(root: string, seq: number, part: number): DeliveryRow | undefined {
  const found = read(join(root, 'inbound/inbound.db'), (db) =>
    rows<DeliveryRow>(
      db,
      `SELECT seq, part, lane, status, attempts, in_flight AS inFlight, uncertain, error FROM delivered
       WHERE seq = :seq AND part = :part`,
      { seq, part },
    ),
  );
  return typeof found === 'string' ? undefined : found[0];
}

/** What SQLite itself says of a file's structure; `ok` for a sound one. */
export function soundness(path: string): string {
  const found = read(path, (db) => rows<{ integrity_check: string }>(db, 'PRAGMA integrity_check')[0]?.integrity_check);
  return found ?? 'nothing';
}

function read<T>(path: string, look: (db: Database.Database) => T): T | 'absent' | 'unreadable' {
  if (!existsSync(path)) return 'absent';
  const db = new Database(path, { readonly: true });
  try {
    db.exec('BEGIN');
    const version: unknown = db.pragma('user_version', { simple: true });
    return version === 0 ? 'absent' : look(db);
  } catch (error) {
    if (error instanceof Database.SqliteError && /^SQLITE_(READONLY|BUSY)/.test(error.code)) return 'unreadable';
    throw error;
  } finally {
    db.close();
  }
}

function rows<Row>(db: Database.Database, sql: string, params: Readonly<Record<string, number>> = {}): Row[] {
  return db.prepare<unknown[], Row>(sql).all(params);
}
