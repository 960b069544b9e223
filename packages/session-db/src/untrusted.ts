/**
 * How the host reads what a container wrote. The file is untrusted: its kind, size, schema, journals and every value
 * in it. Whatever is wrong with it is an answer here, not an exception, and concerns this session alone.
 *
 * One read per pass, opened and closed in one synchronous block, gives one plain value.
 */
import { fstatSync, lstatSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionFolder } from './folder.ts';
import { boundedJson, type JsonLimits } from './json.ts';
import {
  ACK_STATUSES,
  type Ack,
  type Address,
  type ContainerState,
  DEFERRAL_KINDS,
  type Json,
  type JsonObject,
  OUTBOUND_KINDS,
  type OutboundMessage,
  type ToolInFlight,
} from './messages.ts';
import { openPeerFile } from './open.ts';
import { isOpenElsewhere, type OpenedFile, openPlainFile, readBytes } from './plain-file.ts';
import { recoveredCopy } from './recovery.ts';
import { DEFERRED_ACKS_SINCE, OUTBOUND_MIGRATIONS, OUTBOUND_VERSION, schemaText, userVersion } from './schema.ts';
import { isBusy, type OpenSqlite, type Sqlite, SqliteError } from './sqlite/index.ts';
import { cut } from './text/index.ts';
import type { Millis } from './time.ts';

/** From where a read goes on: numbers up to which everything has been taken over. */
export interface OutboundCursor {
  readonly acksAfter: number;
  readonly messagesAfter: number;
}

/** What to read. */
export interface OutboundRequest extends OutboundCursor {
  /** Numbers of messages to read again, for deliveries that are tried once more. */
  readonly again: readonly number[];
  /** No run is live: where one died in mid-commit, what it had committed is read from a recovered private copy. */
  readonly runEnded?: boolean;
}

/** What a container wrote, checked, as of one moment. */
export interface OutboundContents {
  /** The file was read. */
  readonly type: 'read';
  /** Claims that ended after the cursor, in the order of their changes. */
  readonly acks: readonly Ack[];
  /** The change number that `acks` reaches: the next cursor. */
  readonly changesThrough: number;
  /** The claims that say `processing`, whatever the cursor: the newest up to the limit, oldest first. */
  readonly openClaims: readonly Ack[];
  /** Messages after the cursor in the order of their numbers, up to the limit. */
  readonly messages: readonly OutboundMessage[];
  /** The number that `messages` and `refused` reach: the next cursor. */
  readonly messagesThrough: number;
  /** Whether a limit cut the read short, so that another one at once would find more. */
  readonly more: boolean;
  /** Of the messages asked for again, those still there. */
  readonly again: readonly OutboundMessage[];
  /** Rows that no honest runner writes. They are passed over and reported. */
  readonly refused: readonly RefusedRow[];
  /** What the runner says of itself; `undefined` when there is nothing usable. */
  readonly container: ContainerState | undefined;
}

/** A row that no honest runner writes. */
export interface RefusedRow {
  /** Where it is. */
  readonly table: 'messages_out' | 'processing_ack';
  /** The row's number: `seq` or `change`. */
  readonly row: number;
  /** What is wrong with it, in one sentence. */
  readonly reason: string;
}

/** Why a container's file was not read. */
export type OutboundFinding =
  /** No run has made it yet. */
  | { readonly type: 'absent' }
  /** The runner is committing: look again in a moment. */
  | { readonly type: 'busy' }
  /** A run died in mid-commit. While it may live, look again; after its confirmed exit, recover a private copy. */
  | { readonly type: 'hot-journal' }
  /** A table, index, view, trigger or version that is not ours. */
  | {
      readonly type: 'foreign-schema';
      /** What is not ours, for the operator. */
      readonly detail: string;
    }
  | {
      readonly type: 'too-big';
      /** Its size, in bytes. */
      readonly bytes: number;
      /** What it may have at most, in bytes. */
      readonly bytesMax: number;
    }
  | {
      readonly type: 'corrupt';
      /** What SQLite found, for the operator. */
      readonly detail: string;
    }
  /** A link, a directory, a pipe or a device lies in its place. */
  | {
      readonly type: 'not-a-file';
      /** What lies there, for the operator. */
      readonly detail: string;
    }
  /** The process that read it took too long or too much for it and was ended: only a reader in one of its own says so. */
  | {
      readonly type: 'overran';
      /** What it took too much of, for the operator. */
      readonly detail: string;
    };

/** Whether no honest runner can have caused this: a crash or a commit at the same moment can be anyone's. */
export function isHostile(finding: OutboundFinding): boolean {
  switch (finding.type) {
    case 'foreign-schema':
    case 'too-big':
    case 'corrupt':
    case 'not-a-file':
    case 'overran':
      return true;
    case 'absent':
    case 'busy':
    case 'hot-journal':
      return false;
  }
}

/** What one read gives: the contents, or why there are none. */
export type OutboundRead = OutboundContents | OutboundFinding;

/** Reads a session's `outbound.db` for the host. Asynchronous, because it may be a process of its own. */
export interface OutboundReader {
  /** Never rejects for what a container can cause. */
  read(request: OutboundRequest): Promise<OutboundRead>;
}

/** How much of a container's file is believed and read at once. */
export interface OutboundLimits {
  /** Of the file and of its journal. */
  readonly fileBytesMax: number;
  /** Of each kind in one read. */
  readonly rowsMax: number;
  /** Of one message; a longer one is refused. */
  readonly contentBytesMax: number;
  /** Of all messages that one read gives. */
  readonly readBytesMax: number;
  /** Of the JSON in one message; one with more is refused. */
  readonly json: JsonLimits;
}

/** 1 GiB of file, 500 rows of each kind and 16 MiB of messages a read, 1 MiB a message with 32 levels and 20 000 values. */
export const OUTBOUND_LIMITS: OutboundLimits = {
  fileBytesMax: 2 ** 30,
  rowsMax: 500,
  contentBytesMax: 2 ** 20,
  readBytesMax: 2 ** 24,
  json: { depthMax: 32, valuesMax: 20_000 },
};

/**
 * A reader that reads in this process: for tests, for the simulation, and where the runner is trusted. A hostile file
 * can hold the process that reads it; the host reads through a process it can kill.
 */
export function inProcessReader(
  folder: SessionFolder,
  openSqlite: OpenSqlite,
  limits: OutboundLimits = OUTBOUND_LIMITS,
): OutboundReader {
  const read = outboundReading(folder, openSqlite, limits);
  return { read: async (request) => read(request) };
}

/** One read, as `outboundReading` makes them, with all its checks. Never throws for what a container can cause. */
export function readOutbound(
  folder: SessionFolder,
  openSqlite: OpenSqlite,
  request: OutboundRequest,
  limits: OutboundLimits = OUTBOUND_LIMITS,
): OutboundRead {
  return outboundReading(folder, openSqlite, limits)(request);
}

/**
 * The reads of one session's file, each one synchronous block. What has been checked is remembered from read to read:
 * the structure of a file that has not changed since is not checked again. Never throws for what a container can cause.
 */
export function outboundReading(
  folder: SessionFolder,
  openSqlite: OpenSqlite,
  limits: OutboundLimits = OUTBOUND_LIMITS,
): (request: OutboundRequest) => OutboundRead {
  const schema = outboundSchema(openSqlite);
  let checked: string | undefined;

  function readOf(path: string, request: OutboundRequest): OutboundRead {
    const untrusted = { path, bytesMax: limits.fileBytesMax, checked, schema };
    return readUntrusted(untrusted, openSqlite, (db, { fingerprint }) => {
      checked = fingerprint;
      return contents(db, request, limits);
    });
  }

  function readRecovered(request: OutboundRequest): OutboundRead {
    const into = join(folder.host, 'recovery');
    try {
      const copy = recoveredCopy(folder.outbound.database, into, openSqlite, limits.fileBytesMax);
      return copy.type === 'recovered' ? readOf(copy.path, request) : copy;
    } catch (error) {
      return asFinding(error);
    } finally {
      rmSync(into, { recursive: true, force: true });
    }
  }

  return (request) => {
    const read = readOf(folder.outbound.database, request);
    return read.type === 'hot-journal' && request.runEnded === true ? readRecovered(request) : read;
  };
}

/** A database that a container wrote. */
export interface Untrusted {
  readonly path: string;
  readonly bytesMax: number;
  /** Its structure is not checked again when its fingerprint is still this one. */
  readonly checked?: string | undefined;
  /** Says what is not ours in its schema, before anything of it is executed. */
  readonly schema: (db: Sqlite) => OutboundFinding | undefined;
}

/**
 * Opens a database that a container wrote, for reading, calls `read` within one transaction and closes it. Gives what
 * `read` gives, or what is wrong with the file; `read` is not called then. Synchronous as a whole: no lock of it
 * outlives the call.
 */
export function readUntrusted<T>(
  untrusted: Untrusted,
  openSqlite: OpenSqlite,
  read: (db: Sqlite, seen: { readonly fingerprint: string; readonly file: OpenedFile }) => T,
): T | OutboundFinding {
  const { path, bytesMax } = untrusted;
  const opened = openPlainFile(path, bytesMax);
  if (opened.type !== 'opened') return opened;
  // Held until SQLite has closed the file, because closing any descriptor of it drops SQLite's locks.
  using file = opened;
  const finding = foreignJournal(path, bytesMax) ?? foreignHeader(file, `${path}-journal`);
  if (finding) return finding;
  let db: Sqlite | undefined;
  try {
    db = openPeerFile(openSqlite, path);
    // One transaction, so that all of it is of one moment. The first read takes the lock.
    db.exec('BEGIN');
    userVersion(db);
    // SQLite was given a name: another file may have lain under it in that moment.
    if (!isSameFile(path, file)) return { type: 'busy' };
    const fingerprint = fingerprintOf(file);
    const wrong = untrusted.schema(db) ?? (fingerprint === untrusted.checked ? undefined : damage(db, file));
    return wrong ?? read(db, { fingerprint, file });
  } catch (error) {
    return asFinding(error);
  } finally {
    db?.close();
  }
}

/**
 * What changes with the file, read within a transaction: the kernel's word on it, which its owner cannot set, and the
 * header's change counter, for kernels on which two commits may share a time.
 */
function fingerprintOf(file: OpenedFile): string {
  const { ino, size, ctimeNs } = fstatSync(file.descriptor, { bigint: true });
  return `${ino}:${size}:${ctimeNs}:${readBytes(file, CHANGE_COUNTER_AT, 4).toString('hex')}`;
}

/** Where a database's header has the number that each commit raises (SQLite, "Database File Format", 1.3.6). */
const CHANGE_COUNTER_AT = 24;

/** What a look at the first bytes forbids: SQLite is not to find out by itself, because it would make files for a WAL. */
function foreignHeader(file: OpenedFile, journal: string): OutboundFinding | undefined {
  // The runner has made the file and not yet its schema: the same as no file.
  if (file.bytes === 0) return { type: 'absent' };
  const header = readBytes(file, 0, 100);
  if (header.length < 100 || header.toString('latin1', 0, 16) !== 'SQLite format 3\0') {
    // A power cut in the very first commit leaves its first page in part, and the journal that takes it back.
    if ((lstatSync(journal, { throwIfNoEntry: false })?.size ?? 0) > 0) return { type: 'hot-journal' };
    return { type: 'corrupt', detail: 'It is not a SQLite database.' };
  }
  if (header[18] === 1 && header[19] === 1) return undefined;
  return { type: 'foreign-schema', detail: 'It keeps a write-ahead log, and the protocol has none.' };
}

/** SQLite opens a journal that it finds, and would wait for ever at a pipe in its place. */
function foreignJournal(database: string, bytesMax: number): OutboundFinding | undefined {
  const path = `${database}-journal`;
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  if (!stats.isFile()) return { type: 'not-a-file', detail: `${path} is not a plain file.` };
  if (stats.nlink > 1) return { type: 'not-a-file', detail: `${path} has ${stats.nlink} names.` };
  return stats.size > bytesMax ? { type: 'too-big', bytes: stats.size, bytesMax } : undefined;
}

/**
 * Whether SQLite has opened what was checked. On Linux this is certain, whatever the container exchanges and when;
 * elsewhere a file that is exchanged and put back within microseconds is not noticed.
 */
function isSameFile(path: string, file: OpenedFile): boolean {
  const isOpen = isOpenElsewhere(file);
  if (isOpen !== undefined) return isOpen;
  const [named, held] = [lstatSync(path, { throwIfNoEntry: false }), fstatSync(file.descriptor)];
  return named?.ino === held.ino && named.dev === held.dev;
}

/**
 * Damage in the structure, up to a size where looking for it is a matter of 1 ms (1 MiB each). In a bigger file it is
 * found page by page as it is read: checking all of it at each change would make the cost follow the history.
 */
function damage(db: Sqlite, file: OpenedFile): OutboundFinding | undefined {
  db.exec('PRAGMA cell_size_check = 1');
  if (file.bytes > CHECKED_BYTES_MAX) return undefined;
  const result = db.all<{ quick_check: string }>('PRAGMA quick_check(1)')[0]?.quick_check;
  return result === 'ok' ? undefined : { type: 'corrupt', detail: `quick_check: ${result}` };
}

const CHECKED_BYTES_MAX = 2 ** 20;

/** Whether a file's schema is that of `outbound.db`, byte for byte, in the version that the file names or an older one. */
export function outboundSchema(openSqlite: OpenSqlite): Untrusted['schema'] {
  // 0.2 ms each, as much as the read itself, and always the same.
  const ours = new Map<number, string>();
  const textOf = (version: number): string => {
    const known = ours.get(version) ?? outboundSchemaText(openSqlite, version);
    ours.set(version, known);
    return known;
  };
  return (db) => {
    const version = userVersion(db);
    // The runner has made the file and not yet its schema: the same as no file.
    if (version === 0) return { type: 'absent' };
    if (version < 0 || version > OUTBOUND_VERSION) {
      return {
        type: 'foreign-schema',
        detail: `outbound.db has schema version ${version} and this host reads versions up to ${OUTBOUND_VERSION}.`,
      };
    }
    if (schemaText(db) === textOf(version)) return undefined;
    return { type: 'foreign-schema', detail: 'The schema of outbound.db is not the one of its version.' };
  };
}

/** The schema of a version as SQLite itself writes it down, from a database in memory. */
function outboundSchemaText(openSqlite: OpenSqlite, version: number): string {
  const db = openSqlite(':memory:', 'create');
  try {
    for (const step of OUTBOUND_MIGRATIONS.slice(0, version)) db.exec(step);
    return schemaText(db);
  } finally {
    db.close();
  }
}

function contents(db: Sqlite, request: OutboundRequest, limits: OutboundLimits): OutboundContents {
  const refused: RefusedRow[] = [];
  const asAck = (rows: readonly AckRow[]): Ack[] => kept(rows, ack, 'processing_ack', (row) => row.change, refused);
  const asMessages = (rows: readonly MessageRow[]): OutboundMessage[] =>
    kept(
      rows,
      (row) => message(row, limits),
      'messages_out',
      (row) => row.seq,
      refused,
    );

  const selectAcks = selectAcksOf(userVersion(db));
  const ackRows = db.all<AckRow>(
    `${selectAcks} WHERE change > :after AND change <= :max ORDER BY change LIMIT :limit`,
    {
      after: request.acksAfter,
      max: NUMBER_MAX,
      limit: limits.rowsMax,
    },
  );
  // The newest, because the claims of dead runs say `processing` until they are forgotten.
  const openRows = db.all<AckRow>(`${selectAcks} WHERE status = 'processing' ORDER BY change DESC LIMIT :limit`, {
    limit: limits.rowsMax,
  });
  const sizes = db.all<Size>(SELECT_SIZES, { after: request.messagesAfter, max: NUMBER_MAX, limit: limits.rowsMax });
  const fitting = sizes.slice(0, countWithin(sizes, limits));
  const messagesThrough = fitting.at(-1)?.seq ?? request.messagesAfter;
  const messageRows = db.all<MessageRow>(`${SELECT_MESSAGES} WHERE seq > :after AND seq <= :through ORDER BY seq`, {
    after: request.messagesAfter,
    through: messagesThrough,
    bytesMax: limits.contentBytesMax,
  });
  const againSizes = request.again.flatMap((seq) => db.all<Size>(SELECT_SIZE, { seq }));
  const againRows = againSizes
    .slice(0, countWithin(againSizes, limits))
    .flatMap(({ seq }) =>
      db.all<MessageRow>(`${SELECT_MESSAGES} WHERE seq = :seq`, { seq, bytesMax: limits.contentBytesMax }),
    );
  refused.push(...beyondNumbers(db));

  return {
    type: 'read',
    acks: asAck(ackRows).filter((one) => one.status !== 'processing'),
    changesThrough: ackRows.at(-1)?.change ?? request.acksAfter,
    openClaims: asAck(openRows.toReversed()),
    messages: asMessages(messageRows),
    messagesThrough,
    more: ackRows.length === limits.rowsMax || sizes.length === limits.rowsMax || fitting.length < sizes.length,
    again: asMessages(againRows),
    refused,
    container: containerState(db),
  };
}

interface Size {
  readonly seq: number;
  readonly bytes: number;
}

/** How many of these rows, from the first, are read at once: at least one. Contents that are refused weigh nothing. */
function countWithin(sizes: readonly Size[], limits: OutboundLimits): number {
  let left = limits.readBytesMax;
  const tooMuch = sizes.findIndex(({ bytes }) => {
    left -= bytes <= limits.contentBytesMax ? bytes : 0;
    return left < 0;
  });
  return tooMuch === -1 ? sizes.length : Math.max(tooMuch, 1);
}

/**
 * The highest number that is believed. Above it JavaScript rounds; and the host, which numbers its own messages above
 * what it has accepted, would run out of numbers.
 */
const NUMBER_MAX = 2 ** 52;

function beyondNumbers(db: Sqlite): RefusedRow[] {
  return db
    .all<{ table: RefusedRow['table']; row: number | null }>(
      `SELECT 'messages_out' AS "table", max(seq) AS row FROM messages_out
       UNION ALL SELECT 'processing_ack', max(change) FROM processing_ack`,
    )
    .flatMap(({ table, row }) =>
      row !== null && row > NUMBER_MAX ? [{ table, row, reason: 'Its number exceeds 2^52.' }] : [],
    );
}

const SELECT_SIZES = `
  SELECT seq, octet_length(content) AS bytes FROM messages_out
  WHERE seq > :after AND seq <= :max ORDER BY seq LIMIT :limit`;

const SELECT_SIZE = 'SELECT seq, octet_length(content) AS bytes FROM messages_out WHERE seq = :seq';

// Every text is bounded before it leaves SQLite: a row's CHECKs bind only who wants to be bound.
function selectAcksOf(version: number): string {
  const deferral = version < DEFERRED_ACKS_SINCE ? 'NULL AS deferral, NULL' : `${bounded('deferral')}, retry_after_ms`;
  return `
    SELECT change, ${bounded('message_id')}, attempt, ${bounded('run_id')}, ${bounded('status')}, status_changed,
      iif(octet_length(error) <= 65536, substr(error, 1, 2000), NULL) AS error, ${deferral} AS retry_after_ms
    FROM processing_ack`;
}

const SELECT_MESSAGES = `
  SELECT seq, ${bounded('id')}, ${bounded('run_id')}, ${bounded('in_reply_to')}, timestamp, deliver_after,
    ${bounded('kind')}, ${bounded('channel_type')}, ${bounded('platform_id')}, ${bounded('thread_id')},
    CASE WHEN octet_length(content) <= :bytesMax THEN content END AS content
  FROM messages_out`;

const SELECT_CONTAINER_STATE = `
  SELECT ${bounded('run_id')}, protocol_version, ${bounded('runner_version')}, ${bounded('provider')}, started_at,
    progress_at, CASE WHEN octet_length(tools) <= 65536 THEN tools END AS tools
  FROM container_state LIMIT 1`;

/** A short text as it is, and an empty one, which no id is, in place of a longer one. 300 characters fit in. */
function bounded(column: string): string {
  return `iif(octet_length(${column}) > 1200, '', ${column}) AS ${column}`;
}

/** Rows as they come: of a file that a container made, each value may be of any type. */
interface AckRow {
  readonly change: number;
  readonly message_id: unknown;
  readonly attempt: unknown;
  readonly run_id: unknown;
  readonly status: unknown;
  readonly status_changed: unknown;
  readonly error: unknown;
  readonly deferral: unknown;
  readonly retry_after_ms: unknown;
}

interface MessageRow {
  readonly seq: number;
  readonly id: unknown;
  readonly run_id: unknown;
  readonly in_reply_to: unknown;
  readonly timestamp: unknown;
  readonly deliver_after: unknown;
  readonly kind: unknown;
  readonly channel_type: unknown;
  readonly platform_id: unknown;
  readonly thread_id: unknown;
  readonly content: unknown;
}

function kept<Row, Value>(
  rows: readonly Row[],
  parse: (row: Row) => Value | string,
  table: RefusedRow['table'],
  numberOf: (row: Row) => number,
  refused: RefusedRow[],
): Value[] {
  const values: Value[] = [];
  for (const row of rows) {
    const parsed = parse(row);
    if (typeof parsed === 'string') refused.push({ table, row: numberOf(row), reason: parsed });
    else values.push(parsed);
  }
  return values;
}

function ack(row: AckRow): Ack | string {
  const { message_id: messageId, attempt, run_id: run, status: statusText, status_changed: statusChanged, error } = row;
  const status = ACK_STATUSES.find((known) => known === statusText);
  if (!isId(messageId)) return 'Its message id is not a short plain text.';
  if (!isNumber(attempt) || attempt < 1) return 'Its attempt is not a number from 1.';
  if (!isId(run)) return 'Its run id is not a short plain text.';
  if (status === undefined) return 'Its status is not one of the protocol.';
  if (!isNumber(statusChanged)) return 'Its time is not a number.';
  const common = { messageId, attempt, runId: run, statusChanged, error: text(error, 2_000) };
  if (status !== 'deferred') return { ...common, status };
  const kind = DEFERRAL_KINDS.find((known) => known === row.deferral);
  if (kind === undefined) return 'What it was deferred for is not one of the protocol.';
  const { retry_after_ms: retryAfterMs } = row;
  return { ...common, status, kind, retryAfterMs: isNumber(retryAfterMs) && retryAfterMs >= 0 ? retryAfterMs : null };
}

function message(row: MessageRow, limits: OutboundLimits): OutboundMessage | string {
  const { id, run_id: run, timestamp, deliver_after: deliverAfter, in_reply_to: inReplyTo } = row;
  const kind = OUTBOUND_KINDS.find((known) => known === row.kind);
  if (row.seq % 2 !== 1) return 'Its number is not odd.';
  if (!isId(id)) return 'Its id is not a short plain text.';
  if (!isId(run)) return 'Its run id is not a short plain text.';
  if (kind === undefined) return 'Its kind is not one of the protocol.';
  if (!isNumber(timestamp)) return 'Its time is not a number.';
  if (deliverAfter !== null && !isNumber(deliverAfter)) return 'Its delivery time is not a number.';
  if (inReplyTo !== null && !isId(inReplyTo)) return 'The id it answers is not a short plain text.';
  const address = addressOf(row);
  if (typeof address === 'string') return address;
  const content = jsonObject(row.content, limits.json);
  if (content === undefined)
    return 'Its content is not a JSON object within the limits of size, depth and number of values.';
  return { id, seq: row.seq, runId: run, kind, timestamp, deliverAfter, address, inReplyTo, content };
}

function addressOf(row: MessageRow): Address | null | string {
  const { channel_type: channelType, platform_id: platformId, thread_id: threadId } = row;
  if (channelType === null && platformId === null && threadId === null) return null;
  if (!isId(channelType) || !isId(platformId)) return 'Its address is not made of short plain texts.';
  if (threadId !== null && !isId(threadId)) return 'Its thread is not a short plain text.';
  return { channelType, platformId, threadId };
}

function containerState(db: Sqlite): ContainerState | undefined {
  const row = db.all<Record<string, unknown>>(SELECT_CONTAINER_STATE)[0];
  if (row === undefined) return undefined;
  const { run_id: run, protocol_version: protocolVersion, started_at: startedAt, progress_at: progressAt } = row;
  if (!isId(run) || !isNumber(protocolVersion) || !isNumber(startedAt) || !isNumber(progressAt)) return undefined;
  return {
    runId: run,
    protocolVersion,
    runnerVersion: text(row['runner_version'], 100) ?? '',
    provider: text(row['provider'], 100) ?? '',
    startedAt,
    progressAt,
    tools: toolsInFlight(row['tools']),
  };
}

function toolsInFlight(value: unknown): ToolInFlight[] {
  const parsed = typeof value === 'string' ? boundedJson(value, TOOLS_JSON) : undefined;
  if (parsed?.type !== 'json' || !Array.isArray(parsed.value)) return [];
  return parsed.value.slice(0, 100).flatMap((item: unknown) => {
    if (typeof item !== 'object' || item === null) return [];
    const { toolUseId, name, startedAt, timeoutMs } = {
      toolUseId: '',
      name: '',
      startedAt: 0,
      timeoutMs: null,
      ...item,
    };
    if (!isId(toolUseId) || !isId(name) || !isNumber(startedAt)) return [];
    return [{ toolUseId, name, startedAt, timeoutMs: isNumber(timeoutMs) ? timeoutMs : null }];
  });
}

/** A list of tools, each with its few fields. */
const TOOLS_JSON: JsonLimits = { depthMax: 8, valuesMax: 5_000 };

/** A text that is safe as a name of something: bounded, and without control characters. */
function isId(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= 300 && !/\p{Cc}/u.test(value);
}

function isNumber(value: unknown): value is Millis {
  return typeof value === 'number' && Number.isSafeInteger(value);
}

function text(value: unknown, lengthMax: number): string | null {
  return typeof value === 'string' ? cut(value, lengthMax) : null;
}

/** The JSON object that a text is; `undefined` when it is none, or one of more than the limits. */
export function jsonObject(value: unknown, limits: JsonLimits): JsonObject | undefined {
  if (typeof value !== 'string') return undefined;
  const parsed = boundedJson(value, limits);
  return parsed.type === 'json' && isJsonObject(parsed.value) ? parsed.value : undefined;
}

function isJsonObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function asFinding(error: unknown): OutboundFinding {
  if (isBusy(error)) return { type: 'busy' };
  if (!(error instanceof SqliteError)) throw error;
  switch (error.code) {
    case 'SQLITE_READONLY_ROLLBACK':
    case 'SQLITE_READONLY_RECOVERY':
    case 'SQLITE_READONLY_CANTLOCK':
      return { type: 'hot-journal' };
    // The file went away between the look and the opening.
    case 'SQLITE_CANTOPEN':
      return { type: 'absent' };
    default:
      return { type: 'corrupt', detail: `${error.code}: ${error.message}` };
  }
}
