/**
 * What stands in a session's two files, read from outside of every process: for the checkers only.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';

export interface MessageRow {
  readonly id: string;
  readonly seq: number;
  readonly kind: string;
  readonly status: 'pending' | 'paused' | 'completed' | 'failed' | 'cancelled';
  readonly tries: number;
  /** How many of them do not count. */
  readonly triesBefore: number;
  readonly trigger: number;
  readonly processAfter: number;
  /** How long it was to wait; `null`: it is due at a time. */
  readonly waitMs: number | null;
  readonly seriesId: string | null;
  readonly slot: number | null;
  readonly content: string;
  readonly error: string | null;
}

export interface AckRow {
  readonly messageId: string;
  readonly attempt: number;
  readonly runId: string;
  readonly status: 'processing' | 'completed' | 'failed' | 'deferred';
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
  readonly channelType: string | null;
  readonly status: 'scheduled' | 'pending' | 'delivered' | 'failed' | 'discarded';
  readonly attempts: number;
  readonly inFlight: number;
  readonly nextAttemptAt: number;
  /** How long it was to wait; `null`: it is due at a time. */
  readonly waitMs: number | null;
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
  /** How many of the last were given up in a row. */
  readonly failures: number;
}

/** One session as of one moment. */
export interface Seen {
  readonly liveRun: string | null;
  /** The highest number of the runner's that the host has taken in. */
  readonly taken: number;
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

/** Looks at sessions. Its connections stay open between looks, because opening and preparing is most of their cost. */
export class HistoryReader implements Disposable {
  readonly #files = new Map<string, File>();

  /** Reads a session. `unreadable` while a process that died in mid-commit has not been followed by another. */
  seen(
    root: string,
    outboundOf = (session: string): string => join(session, OUTBOUND),
  ): Seen | 'absent' | 'unreadable' {
    const inbound = this.#read(join(root, 'inbound/inbound.db'), (file) => {
      const state = rows<{ liveRun: string | null; taken: number }>(
        file,
        'SELECT run_id AS liveRun, messages_taken AS taken FROM host_state',
      )[0];
      return {
        liveRun: state?.liveRun ?? null,
        taken: state?.taken ?? 0,
        messages: rows<MessageRow>(
          file,
          `SELECT id, seq, kind, status, tries, tries_before AS triesBefore, trigger, process_after AS processAfter, wait_ms AS waitMs, series_id AS seriesId, slot,
             content, error FROM messages_in ORDER BY seq`,
        ),
        deliveries: rows<DeliveryRow>(file, `${SELECT_DELIVERIES} ORDER BY seq, part`),
        series: rows<SeriesRow>(
          file,
          'SELECT id, status, overlap, recurrence, next_slot AS nextSlot, owed, failures FROM series',
        ),
      };
    });
    if (inbound === 'absent' || inbound === 'unreadable') return inbound;
    const outbound = this.#read(outboundOf(root), (file) => ({
      acks: rows<AckRow>(
        file,
        'SELECT message_id AS messageId, attempt, run_id AS runId, status FROM processing_ack ORDER BY change',
      ),
      messages: rows<OutRow>(
        file,
        'SELECT id, seq, run_id AS runId, kind, in_reply_to AS inReplyTo, content FROM messages_out ORDER BY seq',
      ),
    }));
    if (outbound === 'unreadable') return outbound;
    return { ...inbound, outbound: outbound === 'absent' ? undefined : outbound };
  }

  /** A session in which no run is alive: what the last one left in mid-commit is read as its successor would, in a copy. */
  seenAtRest(root: string): Seen | 'absent' | 'unreadable' {
    const found = this.seen(root);
    const journal = join(root, `${OUTBOUND}-journal`);
    if (found !== 'unreadable' || !existsSync(journal)) return found;
    const folder = join(root, 'host/at-rest');
    const copy = join(folder, 'copy.db');
    mkdirSync(folder, { recursive: true });
    try {
      copyFileSync(join(root, OUTBOUND), copy);
      copyFileSync(journal, `${copy}-journal`);
      recover(copy);
      return this.seen(root, () => copy);
    } finally {
      this.#close(copy);
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** The delivery of one part, for a look at the moment of its send; `undefined` when there is none. */
  deliveryOf(root: string, seq: number, part: number): DeliveryRow | undefined {
    const found = this.#read(join(root, 'inbound/inbound.db'), (file) =>
      rows<DeliveryRow>(file, `${SELECT_DELIVERIES} WHERE seq = :seq AND part = :part`, { seq, part }),
    );
    return typeof found === 'string' ? undefined : found[0];
  }

  /** What SQLite itself says of a file's structure; `ok` for a sound one. */
  soundness(path: string): string {
    return this.#read(path, integrityOf) ?? 'nothing';
  }

  [Symbol.dispose](): void {
    for (const path of this.#files.keys()) this.#close(path);
  }

  #close(path: string): void {
    this.#files.get(path)?.db.close();
    this.#files.delete(path);
  }

  #read<T>(path: string, look: (file: File) => T): T | 'absent' | 'unreadable' {
    if (!existsSync(path)) return 'absent';
    const file = this.#files.get(path) ?? { db: new Database(path, { readonly: true }), statements: new Map() };
    this.#files.set(path, file);
    try {
      file.db.exec('BEGIN');
      const version: unknown = file.db.pragma('user_version', { simple: true });
      return version === 0 ? 'absent' : look(file);
    } catch (error) {
      if (error instanceof Database.SqliteError && /^SQLITE_(READONLY|BUSY)/.test(error.code)) return 'unreadable';
      throw error;
    } finally {
      if (file.db.inTransaction) file.db.exec('COMMIT');
    }
  }
}

/** Lets SQLite roll back what was left in mid-commit, as it does for a process that may write. */
function recover(path: string): void {
  const db = new Database(path);
  try {
    db.exec('BEGIN IMMEDIATE; COMMIT');
  } finally {
    db.close();
  }
}

const OUTBOUND = 'outbound/outbound.db';

interface File {
  readonly db: Database.Database;
  readonly statements: Map<string, Database.Statement<unknown[]>>;
}

function integrityOf(file: File): string | undefined {
  return rows<{ integrity_check: string }>(file, 'PRAGMA integrity_check')[0]?.integrity_check;
}

const SELECT_DELIVERIES = `
  SELECT seq, part, lane, channel_type AS channelType, status, attempts, in_flight AS inFlight,
    next_attempt_at AS nextAttemptAt, wait_ms AS waitMs, uncertain, error
  FROM delivered`;

function rows<Row>(file: File, sql: string, params: Readonly<Record<string, number>> = {}): Row[] {
  const known = file.statements.get(sql) ?? file.db.prepare<unknown[]>(sql);
  file.statements.set(sql, known);
  return known.all(params) as Row[];
}
