/**
 * Takes over a session of NanoClaw v2: one flat folder with `inbound.db` and `outbound.db` side by side, times as texts.
 *
 * The old folder stays as it is: its files are copied under a read lock and read from the copies. The new session
 * appears whole or not at all, so an import may be repeated until it succeeds; and once it has, doing it again only
 * gives its report again. What is not taken over is in the report, with the reason.
 *
 * Both old files were in the container's reach, so both are untrusted: checked as `outbound.db` is.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ATTACHMENT_LIMITS, isFileName, messageFiles } from './attachments.ts';
import { Directory } from './beneath.ts';
import { createSession, type SessionFolder, sessionFolder } from './folder.ts';
import { HostSession } from './host-session.ts';
import { type Address, addressKey, type OutboundMessage } from './messages.ts';
import { inTransaction, openOwnFile, openPeerFile } from './open.ts';
import { copyFile, openPlainFile, readBytes, syncDirectory, writeAll } from './plain-file.ts';
import { recoveredCopy } from './recovery.ts';
import { migrate, OUTBOUND_MIGRATIONS } from './schema.ts';
import type { OpenSqlite, Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';
import { OUTBOUND_LIMITS, type OutboundFinding, readUntrusted } from './untrusted.ts';
import {
  type ImportOptions,
  type InboundPlan,
  type OutboundPlan,
  type Plan,
  planOf,
  type Row,
  shown,
  type V2Rows,
} from './v2-plan.ts';

/** What became of a v2 session. It is kept as `host/import-v2.json`. */
export interface ImportReport {
  readonly source: string;
  readonly importedAt: Millis;
  readonly taken: {
    /** Messages that are yet to be worked on. */
    readonly pending: number;
    /** Messages that have ended, so that the platform's repeats of them are known. */
    readonly ended: number;
    readonly series: number;
    /** Messages of the agent that are yet to be delivered. */
    readonly undelivered: number;
    /** Messages of the agent that have been delivered, or given up. */
    readonly delivered: number;
    readonly continuations: number;
    readonly destinations: number;
    readonly attachments: number;
  };
  /** What was not taken over, or not as it was: which, and why. */
  readonly notes: readonly { readonly what: string; readonly why: string }[];
}

export type ImportResult =
  | { readonly type: 'imported'; readonly folder: SessionFolder; readonly report: ImportReport }
  /** This session is an import already. Nothing was changed. */
  | { readonly type: 'imported-before'; readonly report: ImportReport }
  /** Nothing was written. `detail` says why and what to do. */
  | { readonly type: 'not-imported'; readonly detail: string };

/**
 * Makes the session `root` from the v2 session folder `from`, while neither v2's host nor the session's container runs.
 *
 * Pending messages, tasks, what is undelivered, what has been delivered, and the provider's continuation go on. Tries
 * start anew: v2 counted looks and not attempts. Text times without a zone are UTC, as v2's SQL read them.
 *
 * The files belong to this user; the runner's must be able to write `outbound/`. Throws the file system's error when
 * `root` cannot be written.
 */
export function importV2Session(
  from: string,
  root: string,
  openSqlite: OpenSqlite,
  options: ImportOptions,
): ImportResult {
  if (existsSync(root)) {
    const report = reportIn(sessionFolder(root));
    if (report) return { type: 'imported-before', report };
    return notImported(`${root} is there already and is no import: import to another place, or move it away first.`);
  }
  const partial = `${root}.partial`;
  rmSync(partial, { recursive: true, force: true });
  try {
    const folder = createSession(partial);
    const source = copiesOf(from, folder, openSqlite);
    if (typeof source === 'string') return notImported(source);

    const plan = planOf(rowsOf(source, openSqlite), options);
    writeInbound(folder, openSqlite, plan, options.now);
    writeOutbound(folder, openSqlite, plan, options.now);
    const attachments = copyAttachments(from, folder, plan);
    const report = reportOf(plan, attachments, from, options.now);

    rmSync(source.root, { recursive: true });
    writeReport(folder, report);
    renameSync(partial, root);
    syncDirectory(dirname(root));
    return { type: 'imported', folder: sessionFolder(root), report };
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

function notImported(detail: string): ImportResult {
  return { type: 'not-imported', detail: `${detail} Nothing was written, and the old session is as it was.` };
}

// ---- copies of the old files

interface Copies {
  readonly root: string;
  readonly inbound: string;
  /** `undefined`: the session's container never ran. */
  readonly outbound: string | undefined;
}

/** Copies of both files, or what is wrong, as a sentence. */
function copiesOf(from: string, folder: SessionFolder, openSqlite: OpenSqlite): Copies | string {
  const root = join(folder.host, 'v2');
  mkdirSync(root);
  const inbound = copyOf(join(from, 'inbound.db'), root, openSqlite);
  if (typeof inbound !== 'string') {
    return inbound.type === 'absent'
      ? `${from} has no inbound.db, so it is no session of NanoClaw v2.`
      : unreadable('inbound.db', inbound);
  }
  const outbound = copyOf(join(from, 'outbound.db'), root, openSqlite);
  if (typeof outbound !== 'string' && outbound.type !== 'absent') return unreadable('outbound.db', outbound);
  return { root, inbound, outbound: typeof outbound === 'string' ? outbound : undefined };
}

function unreadable(name: string, finding: OutboundFinding): string {
  if (finding.type === 'busy') return `Another program is writing ${name}: stop v2's host and its containers first.`;
  return `${name} cannot be read: ${'detail' in finding ? finding.detail : finding.type}`;
}

function copyOf(path: string, into: string, openSqlite: OpenSqlite): string | OutboundFinding {
  const bytesMax = OUTBOUND_LIMITS.fileBytesMax;
  const name = path.endsWith('inbound.db') ? 'inbound' : 'outbound';
  const copied = readUntrusted({ path, bytesMax, schema: v2Schema }, openSqlite, (_, { file }) => {
    const to = join(into, `${name}.db`);
    copyFile(file, to, 0o600);
    return to;
  });
  if (typeof copied === 'string' || copied.type !== 'hot-journal') return copied;

  const recovered = recoveredCopy(path, join(into, name), openSqlite, bytesMax);
  if (recovered.type !== 'recovered') return recovered;
  const check = readUntrusted({ path: recovered.path, bytesMax, schema: v2Schema }, openSqlite, () => recovered.path);
  return check;
}

/** v2 grew column by column, so its schema is known by its kinds of objects: nothing in it is to compute anything. */
function v2Schema(db: Sqlite): OutboundFinding | undefined {
  const strange = db.all<{ name: string }>(
    `SELECT name FROM sqlite_schema WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'
     UNION ALL
     SELECT objects.name FROM sqlite_schema AS objects, pragma_table_xinfo(objects.name) AS columns
     WHERE objects.type = 'table' AND columns.hidden <> 0`,
  )[0];
  return strange && { type: 'foreign-schema', detail: `${JSON.stringify(strange.name)} in it is not v2's.` };
}

// ---- their rows

function rowsOf(source: Copies, openSqlite: OpenSqlite): V2Rows {
  const inbound = tablesOf(source.inbound, openSqlite);
  const outbound = source.outbound === undefined ? undefined : tablesOf(source.outbound, openSqlite);
  return {
    messagesIn: inbound('messages_in'),
    delivered: byColumn(inbound('delivered'), 'message_out_id'),
    destinations: inbound('destinations'),
    routing: inbound('session_routing')[0],
    messagesOut: outbound?.('messages_out') ?? [],
    acks: byColumn(outbound?.('processing_ack') ?? [], 'message_id'),
    state: outbound?.('session_state') ?? [],
  };
}

function byColumn(rows: readonly Row[], column: string): Map<unknown, Row> {
  return new Map(rows.map((row) => [row[column], row]));
}

function tablesOf(path: string, openSqlite: OpenSqlite): (table: (typeof V2_TABLES)[number]) => Row[] {
  const db = openPeerFile(openSqlite, path);
  try {
    const names = db.all<{ name: string }>("SELECT name FROM sqlite_schema WHERE type = 'table'");
    const tables = new Map(
      V2_TABLES.filter((table) => names.some(({ name }) => name === table)).map((table) => [
        table,
        db.all<Row>(`SELECT * FROM ${table}`),
      ]),
    );
    return (table) => tables.get(table) ?? [];
  } finally {
    db.close();
  }
}

const V2_TABLES = [
  'messages_in',
  'delivered',
  'destinations',
  'session_routing',
  'messages_out',
  'processing_ack',
  'session_state',
] as const;

// ---- the new session

function writeInbound(folder: SessionFolder, openSqlite: OpenSqlite, plan: Plan, now: Millis): void {
  {
    using session = HostSession.open(folder, openSqlite);
    session.setRouting({ destinations: plan.destinations, replyTo: plan.replyTo }, now);
    session.series.edit(now, (edit) => plan.series.forEach((record) => edit.put(record)));
  }
  const db = openOwnFile(openSqlite, folder.inbound.database);
  try {
    inTransaction(db, () => {
      for (const message of plan.messages) insertMessage(db, message);
      for (const { message, mark } of plan.outbound) if (mark) insertDelivered(db, message, mark, plan.replyTo);
      // The host reads on from the first that has not been delivered, and knows those after it that have.
      // What went out before may have had these numbers: an earlier import of the same session, for example.
      db.run('UPDATE host_state SET messages_taken = :through, generation = :now', {
        through: takenThrough(plan.outbound),
        now,
      });
    });
  } finally {
    db.close();
  }
}

function insertMessage(db: Sqlite, { address, ...message }: InboundPlan): void {
  const hasEnded = message.status === 'completed' || message.status === 'failed';
  db.run(
    `INSERT INTO messages_in
       (seq, id, kind, timestamp, status, tries, process_after, trigger, on_wake, channel_type, platform_id, thread_id,
        source_session_id, content, error, settled_at)
     VALUES (:seq, :id, :kind, :timestamp, :status, :tries, :processAfter, :trigger, :onWake, :channelType, :platformId,
       :threadId, :sourceSessionId, :content, :error, :settledAt)`,
    {
      ...message,
      tries: hasEnded ? 1 : 0,
      channelType: address?.channelType ?? null,
      platformId: address?.platformId ?? null,
      threadId: address?.threadId ?? null,
      content: JSON.stringify(message.content),
      error: message.status === 'failed' ? 'It failed under NanoClaw v2.' : null,
      settledAt: hasEnded ? message.timestamp : null,
    },
  );
}

function insertDelivered(
  db: Sqlite,
  message: OutboundMessage,
  mark: NonNullable<OutboundPlan['mark']>,
  replyTo: Address | null,
): void {
  const address = message.address ?? replyTo;
  db.run(
    `INSERT INTO delivered
       (seq, part, message_out_id, lane, channel_type, platform_id, thread_id, status, attempts, attempts_before,
        in_flight, uncertain, plain, cleans_up, next_attempt_at, message, platform_message_id, error, settled_at)
     VALUES (:seq, 0, :id, :lane, :channelType, :platformId, :threadId, :status, 1, 0, 0, 0, 0, 0, :at, :message,
       :platformMessageId, :error, :at)`,
    {
      seq: message.seq,
      id: message.id,
      lane: address === null ? '' : addressKey(address),
      channelType: address?.channelType ?? null,
      platformId: address?.platformId ?? null,
      threadId: address?.threadId ?? null,
      status: mark.to,
      at: mark.at,
      message: mark.to === 'failed' ? JSON.stringify(message) : null,
      platformMessageId: mark.to === 'delivered' ? mark.platformMessageId : null,
      error: mark.to === 'failed' ? 'NanoClaw v2 gave it up.' : null,
    },
  );
}

function takenThrough(outbound: readonly OutboundPlan[]): number {
  const open = outbound.filter(({ mark }) => mark === undefined).map(({ message }) => message.seq);
  if (open.length > 0) return Math.min(...open) - 1;
  return outbound.reduce((max, { message }) => Math.max(max, message.seq), 0);
}

function writeOutbound(folder: SessionFolder, openSqlite: OpenSqlite, plan: Plan, now: Millis): void {
  const db = openOwnFile(openSqlite, folder.outbound.database);
  try {
    migrate(db, OUTBOUND_MIGRATIONS);
    inTransaction(db, () => {
      for (const { message } of plan.outbound) insertOutbound(db, message);
      for (const { key, value } of plan.continuations) {
        db.run('INSERT INTO session_state (key, value, updated_at) VALUES (:key, :value, :now)', { key, value, now });
      }
    });
  } finally {
    db.close();
  }
}

function insertOutbound(db: Sqlite, { address, content, ...message }: OutboundMessage): void {
  db.run(
    `INSERT INTO messages_out
       (seq, id, run_id, in_reply_to, timestamp, deliver_after, kind, channel_type, platform_id, thread_id, content)
     VALUES (:seq, :id, :runId, :inReplyTo, :timestamp, :deliverAfter, :kind, :channelType, :platformId, :threadId,
       :content)`,
    {
      ...message,
      channelType: address?.channelType ?? null,
      platformId: address?.platformId ?? null,
      threadId: address?.threadId ?? null,
      content: JSON.stringify(content),
    },
  );
}

/** Copies the files of messages that were taken over. Gives how many, and what was left. */
function copyAttachments(
  from: string,
  folder: SessionFolder,
  plan: Plan,
): { count: number; notes: ImportReport['notes'] } {
  using source = Directory.open(from);
  const notes: { what: string; why: string }[] = [];
  let count = 0;
  const copyAll = (box: string, messageId: string, filesRoot: string): void => {
    using files = source?.directory(box);
    using directory = isFileName(messageId) ? files?.directory(messageId) : undefined;
    for (const name of directory?.names(ATTACHMENT_LIMITS.countMax) ?? []) {
      const file = isFileName(name) ? directory?.file(name, ATTACHMENT_LIMITS.bytesMax) : undefined;
      if (file?.type !== 'opened') {
        notes.push({
          what: `file ${shown(`${box}/${messageId}/${name}`)}`,
          why: `It is ${file?.type ?? 'not safely named'}.`,
        });
        continue;
      }
      using opened = file;
      const to = messageFiles(filesRoot, messageId);
      mkdirSync(to, { recursive: true });
      copyFile(opened, join(to, name), 0o644);
      count += 1;
    }
  };
  for (const { id } of plan.messages) copyAll('inbox', id, folder.inbound.files);
  for (const { message, mark } of plan.outbound) {
    if (mark?.to !== 'delivered') copyAll('outbox', message.id, folder.outbound.files);
  }
  return { count, notes };
}

// ---- the report

function reportOf(
  plan: Plan,
  attachments: { readonly count: number; readonly notes: ImportReport['notes'] },
  source: string,
  importedAt: Millis,
): ImportReport {
  const pending = plan.messages.filter(({ status }) => status === 'pending' || status === 'paused').length;
  const undelivered = plan.outbound.filter(({ mark }) => mark === undefined).length;
  return {
    source,
    importedAt,
    taken: {
      pending,
      ended: plan.messages.length - pending,
      series: plan.series.length,
      undelivered,
      delivered: plan.outbound.length - undelivered,
      continuations: plan.continuations.length,
      destinations: plan.destinations.length,
      attachments: attachments.count,
    },
    notes: [...plan.notes, ...attachments.notes],
  };
}

function reportPath(folder: SessionFolder): string {
  return join(folder.host, 'import-v2.json');
}

function writeReport(folder: SessionFolder, report: ImportReport): void {
  const descriptor = openSync(reportPath(folder), 'wx', 0o600);
  try {
    writeAll(descriptor, Buffer.from(`${JSON.stringify(report, null, 2)}\n`));
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The report of an import, written by this host into its own folder. */
function reportIn(folder: SessionFolder): ImportReport | undefined {
  const opened = openPlainFile(reportPath(folder), 2 ** 26);
  if (opened.type !== 'opened') return undefined;
  using file = opened;
  return JSON.parse(readBytes(file, 0, file.bytes).toString());
}
