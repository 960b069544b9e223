/**
 * What becomes of each row of a NanoClaw v2 session, as pure functions. The rows are untrusted: any value of any type.
 */
import {
  type Address,
  type Destination,
  INBOUND_KINDS,
  type InboundKind,
  type Json,
  type JsonObject,
  OUTBOUND_KINDS,
  type OutboundKind,
  type OutboundMessage,
} from './messages.ts';
import type { SeriesRecord } from './series.ts';
import { cut, escapeHidden } from './text/index.ts';
import type { Millis } from './time.ts';
import { jsonObject } from './untrusted.ts';

export interface ImportOptions {
  readonly now: Millis;
  /** The IANA zone in which v2's cron expressions are read: v2 had one for the whole machine. */
  readonly timeZone: string;
  /** Whether an expression may be scheduled, and its first slot after a time. `checkTiming` of `@nanoclaw/sweep` is one. */
  readonly checkTiming: (
    timing: { readonly cron: string; readonly timeZone: string },
    after: Millis,
  ) => { readonly type: 'fine'; readonly next: Millis } | { readonly type: 'refused'; readonly message: string };
}

/** Rows of files that a container could write: each value may be of any type, and columns may be missing. */
export type Row = Readonly<Record<string, unknown>>;

/** A v2 session, row by row. */
export interface V2Rows {
  readonly messagesIn: readonly Row[];
  /** By the id of the outbound message. */
  readonly delivered: ReadonlyMap<unknown, Row>;
  readonly destinations: readonly Row[];
  readonly routing: Row | undefined;
  readonly messagesOut: readonly Row[];
  /** By the id of the inbound message. */
  readonly acks: ReadonlyMap<unknown, Row>;
  readonly state: readonly Row[];
}

/** What the new session is to hold. */
export interface Plan {
  readonly messages: readonly InboundPlan[];
  readonly series: readonly SeriesRecord[];
  readonly outbound: readonly OutboundPlan[];
  readonly continuations: readonly { readonly key: string; readonly value: string }[];
  readonly destinations: readonly Destination[];
  readonly replyTo: Address | null;
  readonly notes: readonly { readonly what: string; readonly why: string }[];
}

export interface InboundPlan {
  readonly id: string;
  readonly seq: number;
  readonly kind: InboundKind;
  readonly timestamp: Millis;
  readonly status: 'pending' | 'paused' | 'completed' | 'failed';
  readonly processAfter: Millis;
  readonly trigger: 0 | 1;
  readonly onWake: 0 | 1;
  readonly address: Address | null;
  readonly sourceSessionId: string | null;
  readonly content: JsonObject;
}

export interface OutboundPlan {
  readonly message: OutboundMessage;
  readonly mark:
    | { readonly to: 'delivered'; readonly at: Millis; readonly platformMessageId: string | null }
    | { readonly to: 'failed'; readonly at: Millis }
    | undefined;
}

/** Decides what becomes of each row, and notes what does not come along as it was. */
export function planOf(rows: V2Rows, options: ImportOptions): Plan {
  const notes: { what: string; why: string }[] = [];
  const note = (what: string, why: string): undefined => void notes.push({ what, why });
  const tasks = taskPlans(rows, options, note);
  const numbers = {
    inbound: new Numbers(0, rows.messagesIn, rows.messagesOut),
    outbound: new Numbers(1, rows.messagesIn, rows.messagesOut),
  };
  const messages = rows.messagesIn.flatMap((row) => {
    if (tasks.rows.has(row)) return [];
    return inboundPlan(row, endingOf(row, rows), numbers.inbound, options.now, note) ?? [];
  });
  const outbound = rows.messagesOut.flatMap(
    (row) => outboundPlan(row, rows, numbers.outbound, options.now, note) ?? [],
  );
  const outboundIds = new Set(rows.messagesOut.map((row) => row['id']));
  for (const id of rows.delivered.keys()) {
    if (!outboundIds.has(id)) note(`delivered ${shown(id)}`, 'Its message is not in outbound.db.');
  }
  return {
    messages,
    series: tasks.series,
    outbound,
    continuations: continuationsOf(rows.state, note),
    destinations: rows.destinations.flatMap((row) => destinationOf(row, note) ?? []),
    replyTo: addressOf(rows.routing),
    notes,
  };
}

type Note = (what: string, why: string) => undefined;

/** What ended a message, by the row itself or by an ack that v2's host had not taken over yet. */
function endingOf(row: Row, rows: V2Rows): 'completed' | 'failed' | undefined {
  const { status } = row;
  if (status === 'completed' || status === 'failed') return status;
  const ack = rows.acks.get(row['id'])?.['status'];
  return ack === 'completed' || ack === 'failed' ? ack : undefined;
}

/** v2's tasks: a series each, recurring or not. The rows that are taken up in them are no messages any more. */
function taskPlans(rows: V2Rows, options: ImportOptions, note: Note): { series: SeriesRecord[]; rows: Set<Row> } {
  const series = new Map<string, SeriesRecord>();
  const taken = new Set<Row>();
  // Open ones first, the newest of each: a crash of v2 could leave a series with two, or with an ended one alone.
  const candidates = rows.messagesIn
    .filter(
      (row) => row['kind'] === 'task' && (endingOf(row, rows) === undefined || typeof row['recurrence'] === 'string'),
    )
    .toReversed()
    .toSorted((a, b) => Number(endingOf(a, rows) !== undefined) - Number(endingOf(b, rows) !== undefined));
  for (const row of candidates) {
    const ending = endingOf(row, rows);
    const id = textOf(row['series_id']) ?? textOf(row['id']);
    const what = `task ${shown(id)}`;
    if (ending === undefined) taken.add(row);
    if (id === undefined || id.length > 200) note(what, 'Its id is not a text of 1 to 200 characters.');
    else if (!series.has(id)) {
      const record = seriesOf(id, row, ending, options);
      if (typeof record === 'string') note(what, record);
      else series.set(id, record);
    } else if (ending === undefined) note(what, 'It had a second open occurrence, and one is enough.');
  }
  return { series: [...series.values()], rows: taken };
}

/** The series of a v2 task, or why there is none. */
function seriesOf(
  id: string,
  row: Row,
  ending: 'completed' | 'failed' | undefined,
  { now, timeZone, checkTiming }: ImportOptions,
): SeriesRecord | string {
  const cron = textOf(row['recurrence']);
  const content = contentOf(row);
  const timestamp = v2Time(row['timestamp']) ?? now;
  const slot = isMissing(row['process_after']) ? timestamp : v2Time(row['process_after']);
  if (content === undefined) return 'Its content is not a JSON object.';
  if (slot === undefined) return `Its time ${shown(row['process_after'])} cannot be read, so v2 never ran it.`;
  const timing = cron === undefined ? undefined : checkTiming({ cron, timeZone }, now);
  if (timing?.type === 'refused') return timing.message;
  const isPaused = row['status'] === 'paused' || ending === 'failed';
  return {
    id,
    status: isPaused ? 'paused' : 'active',
    reason: ending === 'failed' ? 'NanoClaw v2 ended it after an occurrence that failed.' : null,
    recurrence: cron === undefined ? null : { cron, timeZone },
    content,
    address: addressOf(row),
    catchUp: { type: 'latest' },
    overlap: 'skip',
    jitterMs: 0,
    startAt: Math.min(slot, now),
    endAt: null,
    countMax: null,
    pauseAfter: null,
    // An occurrence that has ended without a next one: v2's host did not live to write it.
    nextSlot: ending !== undefined && timing !== undefined ? timing.next : slot,
    owed: [],
    fired: 0,
    failures: 0,
    createdAt: timestamp,
    updatedAt: now,
  };
}

function inboundPlan(
  row: Row,
  ending: 'completed' | 'failed' | undefined,
  numbers: Numbers,
  now: Millis,
  note: Note,
): InboundPlan | undefined {
  const what = `message ${shown(row['id'])}`;
  const id = textOf(row['id']);
  const kind = INBOUND_KINDS.find((known) => known === row['kind']);
  const content = contentOf(row);
  const timestamp = v2Time(row['timestamp']) ?? now;
  const processAfter = isMissing(row['process_after']) ? timestamp : v2Time(row['process_after']);
  if (id === undefined || id.length > 300) return note(what, 'Its id is not a text of 1 to 300 characters.');
  if (kind === undefined) return note(what, `Its kind ${shown(row['kind'])} is not known.`);
  if (content === undefined) return note(what, 'Its content is not a JSON object.');
  if (ending === undefined && processAfter === undefined) {
    return note(what, `Its time ${shown(row['process_after'])} cannot be read, so v2 never ran it.`);
  }
  if (ending === undefined && !['pending', 'processing', 'paused'].includes(String(row['status']))) {
    return note(what, `Its status ${shown(row['status'])} is not known.`);
  }
  if (ending === undefined && typeof row['recurrence'] === 'string') {
    note(what, 'It recurred, which only tasks do now: it was taken over for this once.');
  }
  return {
    id,
    seq: numbers.of(row, (from, to) => note(what, `Its number was ${shown(from)} and is now ${to}.`)),
    kind,
    timestamp,
    status: ending ?? (row['status'] === 'paused' ? 'paused' : 'pending'),
    processAfter: processAfter ?? timestamp,
    trigger: row['trigger'] === 0 ? 0 : 1,
    onWake: row['on_wake'] === 1 ? 1 : 0,
    address: addressOf(row),
    sourceSessionId: textOf(row['source_session_id']) ?? null,
    content: withSender(content),
  };
}

/** v2's chat SDK messages name who wrote them as `author`. */
function withSender(content: JsonObject): JsonObject {
  const { author } = content;
  if (content['sender'] !== undefined || !isJsonObject(author)) return content;
  const name = textOf(author['fullName']) ?? textOf(author['userName']);
  return name === undefined ? content : { ...content, sender: { name, id: author['userId'] ?? null } };
}

function outboundPlan(row: Row, rows: V2Rows, numbers: Numbers, now: Millis, note: Note): OutboundPlan | undefined {
  const what = `message of the agent ${shown(row['id'])}`;
  const id = textOf(row['id']);
  const kind: OutboundKind | undefined = OUTBOUND_KINDS.find((known) => known === row['kind']);
  const content = contentOf(row);
  const deliverAfter = isMissing(row['deliver_after']) ? null : v2Time(row['deliver_after']);
  if (id === undefined || id.length > 300) return note(what, 'Its id is not a text of 1 to 300 characters.');
  if (kind === undefined) return note(what, `Its kind ${shown(row['kind'])} is not known.`);
  if (content === undefined) return note(what, 'Its content is not a JSON object.');
  if (deliverAfter === undefined) return note(what, `Its time ${shown(row['deliver_after'])} cannot be read.`);
  const mark = rows.delivered.get(id);
  const at = v2Time(mark?.['delivered_at']) ?? now;
  return {
    message: {
      id,
      seq: numbers.of(row, (from, to) => note(what, `Its number was ${shown(from)} and is now ${to}.`)),
      runId: 'v2',
      kind,
      timestamp: v2Time(row['timestamp']) ?? now,
      deliverAfter,
      address: addressOf(row),
      inReplyTo: textOf(row['in_reply_to']) ?? null,
      content,
    },
    mark:
      mark === undefined
        ? undefined
        : mark['status'] === 'failed'
          ? { to: 'failed', at }
          : { to: 'delivered', at, platformMessageId: textOf(mark['platform_message_id']) ?? null },
  };
}

/** Numbers of one parity: v2's own where they are, because the agent knows its messages by them; else new ones above. */
class Numbers {
  readonly #parity: 0 | 1;
  readonly #given = new Set<number>();
  #next: number;

  constructor(parity: 0 | 1, ...tables: readonly (readonly Row[])[]) {
    this.#parity = parity;
    const highest = tables.flat().reduce((max, row) => (isNumber(row['seq']) ? Math.max(max, row['seq']) : max), 0);
    this.#next = highest + 1 + ((highest + 1 + parity) % 2);
  }

  of(row: Row, changed: (from: unknown, to: number) => void): number {
    const { seq } = row;
    if (isNumber(seq) && seq > 0 && seq % 2 === this.#parity && !this.#given.has(seq)) {
      this.#given.add(seq);
      return seq;
    }
    const next = this.#next;
    this.#next += 2;
    changed(seq, next);
    return next;
  }
}

function continuationsOf(state: readonly Row[], note: Note): Plan['continuations'] {
  const found = new Map<string, string>();
  let unnamed: string | undefined;
  for (const row of state) {
    const [key, value] = [textOf(row['key']), textOf(row['value'])];
    if (key === undefined || value === undefined) continue;
    if (key.startsWith('continuation:')) found.set(key, value);
    else if (key === 'sdk_session_id') unnamed = value;
    else note(`state ${shown(key)}`, 'It means nothing here.');
  }
  // From before v2 knew more than one provider.
  if (unnamed !== undefined && !found.has('continuation:claude')) found.set('continuation:claude', unnamed);
  return [...found].map(([key, value]) => ({ key, value }));
}

function destinationOf(row: Row, note: Note): Destination | undefined {
  const name = textOf(row['name']);
  const [channelType, platformId, agentGroupId] = [row['channel_type'], row['platform_id'], row['agent_group_id']].map(
    textOf,
  );
  if (name !== undefined) {
    const named = { name, displayName: textOf(row['display_name']) ?? name };
    if (row['type'] === 'channel' && channelType !== undefined && platformId !== undefined) {
      return { ...named, type: 'channel', channelType, platformId };
    }
    if (row['type'] === 'agent' && agentGroupId !== undefined) return { ...named, type: 'agent', agentGroupId };
  }
  return note(`destination ${shown(row['name'])}`, 'It is neither a channel nor an agent.');
}

function addressOf(row: Row | undefined): Address | null {
  const [channelType, platformId] = [textOf(row?.['channel_type']), textOf(row?.['platform_id'])];
  if (channelType === undefined || platformId === undefined) return null;
  return { channelType, platformId, threadId: textOf(row?.['thread_id']) ?? null };
}

/**
 * A time of v2 in milliseconds: SQLite's `YYYY-MM-DD HH:MM:SS`, or ISO 8601 with `T`, fractions, `Z` or an offset; UTC
 * where it has no zone, as SQLite reads it. `undefined` when it is no such time.
 */
export function v2Time(value: unknown): Millis | undefined {
  if (typeof value !== 'string') return undefined;
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?$/i.exec(
    value.trim(),
  );
  if (match === null) return undefined;
  const [, day = '', minute = '', seconds = '00', fraction = '', zone = 'Z'] = match;
  const [year = 0, month = 0, date = 0] = day.split('-').map(Number);
  const [hours = 0, minutes = 0] = minute.split(':').map(Number);
  const utc = Date.UTC(
    year,
    month - 1,
    date,
    hours,
    minutes,
    Number(seconds),
    Number(fraction.padEnd(3, '0').slice(0, 3)),
  );
  // What JavaScript would carry over, such as February 30, is no time.
  if (!new Date(utc).toISOString().startsWith(`${day}T${minute}:${seconds}`)) return undefined;
  const [, sign, zoneHours, zoneMinutes] = /^([+-])(\d\d):?(\d\d)$/.exec(zone) ?? [];
  const offset = (Number(zoneHours ?? 0) * 60 + Number(zoneMinutes ?? 0)) * 60_000;
  return sign === '-' ? utc + offset : utc - offset;
}

/** NULL, or a column that this v2 did not have yet. */
function isMissing(value: unknown): boolean {
  return value === null || value === undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && value.isWellFormed() ? value : undefined;
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value < 2 ** 52;
}

/** A message's content. SQLite's own limit of depth is 1000. */
function contentOf(row: Row): JsonObject | undefined {
  return jsonObject(row['content'], { depthMax: 500, valuesMax: 1_000_000 });
}

function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value for a report, short and without control characters. */
export function shown(value: unknown): string {
  return escapeHidden(cut(JSON.stringify(value) ?? 'nothing', 80));
}
