/**
 * Who did what: every click on an approval and every privileged action. Entries are added and, when they are old, removed;
 * the table refuses to change them.
 */

import { beginning } from '@nanoclaw/session-db/text';
import type { Selectable } from 'kysely';
import { withReadableErrors } from './constraint-errors.ts';
import type { Actor, JsonObject, Millis } from './entities.ts';
import type { Store } from './store.ts';
import type { AuditRow } from './tables.ts';

/** One line of the audit log. */
export interface AuditEntry {
  /** Counts up; never given out twice. */
  readonly id: number;
  readonly at: Millis;
  readonly actor: Actor;
  /** What was done, in a word of the program's own, 1–100 characters. */
  readonly action: string;
  /** To what. */
  readonly target: string;
  /** What came of it. */
  readonly outcome: string;
  readonly detail: JsonObject;
}

const TEXT_LENGTH_MAX = 500;
const DETAIL_BYTES_MAX = 16_384;

/** The operations on the audit log; `registry.audit`. */
export class Audit {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Adds an entry. A target or outcome of more than 500 characters is cut, and a detail of more than 16 KiB of JSON is
   * replaced by its size: too much must not be a way to stay out of the log.
   */
  async add(entry: Omit<AuditEntry, 'id'>): Promise<void> {
    await withReadableErrors('the audit log', {}, () =>
      this.#store.db
        .insertInto('audit_log')
        .values({
          at: entry.at,
          actor: entry.actor,
          action: entry.action,
          target: clipped(entry.target),
          outcome: clipped(entry.outcome),
          detail: detailText(entry.detail),
        })
        .execute(),
    );
  }

  /** Up to `limit` entries, newest first: all or those of one action, from before an entry on. */
  async list(wanted: {
    readonly limit: number;
    readonly before?: number;
    readonly action?: string;
  }): Promise<AuditEntry[]> {
    let query = this.#store.db.selectFrom('audit_log').selectAll().orderBy('id', 'desc').limit(wanted.limit);
    if (wanted.before !== undefined) query = query.where('id', '<', wanted.before);
    if (wanted.action !== undefined) query = query.where('action', '=', wanted.action);
    return (await query.execute()).map(auditEntryOf);
  }

  /** Removes up to `limit` entries from before a time, oldest first. Answers how many. */
  async prune(before: Millis, limit: number): Promise<number> {
    const { numDeletedRows } = await this.#store.db
      .deleteFrom('audit_log')
      .where('id', 'in', (entries) =>
        entries.selectFrom('audit_log').select('id').where('at', '<', before).orderBy('at').limit(limit),
      )
      .executeTakeFirstOrThrow();
    return Number(numDeletedRows);
  }
}

/** NUL is the one character that PostgreSQL's texts cannot hold. */
function clipped(text: string): string {
  return beginning(text, TEXT_LENGTH_MAX).replaceAll('\0', ' ');
}

function detailText(detail: JsonObject): string {
  const text = JSON.stringify(detail);
  const bytes = new TextEncoder().encode(text).length;
  return bytes <= DETAIL_BYTES_MAX ? text : JSON.stringify({ leftOutBytes: bytes });
}

function auditEntryOf(row: Selectable<AuditRow>): AuditEntry {
  const detail: JsonObject = JSON.parse(row.detail);
  return {
    id: row.id,
    at: row.at,
    actor: row.actor,
    action: row.action,
    target: row.target,
    outcome: row.outcome,
    detail,
  };
}
