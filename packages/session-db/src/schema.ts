/**
 * The DDL of both files, with the comments an operator needs (SQLite keeps them: `.schema` shows them), and how a
 * file comes to its version.
 *
 * The owner of a file creates and migrates it; the other side only checks. What must hold is a CHECK or UNIQUE here,
 * whatever the code does. `test/schema.test.ts` holds the CHECKs against the unions of the code.
 */
import { inTransaction } from './open.ts';
import type { Sqlite } from './sqlite/index.ts';

/**
 * What host and runner must agree on to work together: raised when one of them could not read what the other writes. A
 * runner's image names it. The files' own versions change more often (`INBOUND_VERSION`, `OUTBOUND_VERSION`).
 */
export const PROTOCOL_VERSION = 2;

/** The oldest reader that may read what this code writes, in `host_state` and `container_state`: its version of the file. */
export const READER_VERSION_MIN = 1;

const INBOUND_SCHEMA = `
CREATE TABLE messages_in (
  -- Even: the host's numbers. The number by which the agent knows the message.
  seq               INTEGER PRIMARY KEY CHECK (seq > 0 AND seq % 2 = 0),
  id                TEXT    NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 300),
  kind              TEXT    NOT NULL CHECK (kind IN ('chat', 'chat-sdk', 'task', 'webhook', 'system', 'command')),
  -- Epoch milliseconds, UTC, as every time in this file.
  timestamp         INTEGER NOT NULL,
  status            TEXT    NOT NULL CHECK (status IN ('pending', 'paused', 'completed', 'failed', 'cancelled')),
  -- The number of the last settled attempt; the open one is the next.
  tries             INTEGER NOT NULL CHECK (tries >= 0),
  -- How many of them were made before an operator last revived it: the policy's limit counts from there.
  tries_before      INTEGER NOT NULL DEFAULT 0 CHECK (tries_before BETWEEN 0 AND tries),
  process_after     INTEGER NOT NULL,
  -- The series that it is an occurrence of, and the time that the series gave it: its id is '<series_id>@<slot>'.
  series_id         TEXT,
  slot              INTEGER,
  -- Cron, five fields, with its IANA zone, as the series had them then; NULL where the series runs once.
  recurrence        TEXT,
  time_zone         TEXT,
  -- 1 wakes the agent, 0 is context for the next message that does.
  trigger           INTEGER NOT NULL CHECK (trigger IN (0, 1)),
  -- 1: only the first poll of a new run may take it.
  on_wake           INTEGER NOT NULL CHECK (on_wake IN (0, 1)),
  channel_type      TEXT,
  platform_id       TEXT,
  thread_id         TEXT,
  source_session_id TEXT,
  in_reply_to       TEXT,
  content           TEXT    NOT NULL CHECK (json_valid(content) AND json_type(content) = 'object'),
  error             TEXT,
  settled_at        INTEGER,
  -- It was given up at this time and nobody has been told yet. Written with the settlement, so no crash can lose it.
  notice_owed_at    INTEGER,
  -- What a claim draws from, each with a limit of its own, so that no number of rows of one hides another's.
  lane              TEXT    NOT NULL GENERATED ALWAYS AS (
    CASE WHEN trigger = 0 THEN 'context' WHEN kind IN ('system', 'command') THEN 'control' ELSE 'work' END
  ) VIRTUAL,
  CHECK ((channel_type IS NULL) = (platform_id IS NULL)),
  CHECK (channel_type IS NOT NULL OR thread_id IS NULL),
  CHECK ((series_id IS NULL) = (slot IS NULL)),
  CHECK ((recurrence IS NULL) = (time_zone IS NULL) AND (recurrence IS NULL OR series_id IS NOT NULL)),
  CHECK ((settled_at IS NULL) = (status IN ('pending', 'paused'))),
  CHECK (notice_owed_at IS NULL OR status = 'failed')
) STRICT;

-- Only what is open stands in these, so they stay small whatever the history.
CREATE INDEX messages_in_due ON messages_in (lane, process_after) WHERE status = 'pending';
CREATE INDEX messages_in_series ON messages_in (series_id, slot)
  WHERE series_id IS NOT NULL AND status IN ('pending', 'paused');
CREATE INDEX messages_in_dead ON messages_in (seq) WHERE status = 'failed';
CREATE INDEX messages_in_notices ON messages_in (seq) WHERE notice_owed_at IS NOT NULL;

-- One row per part of an outbound message that the host has taken in.
CREATE TABLE delivered (
  -- Odd: the number of the outbound row.
  seq                 INTEGER NOT NULL CHECK (seq > 0 AND seq % 2 = 1),
  part                INTEGER NOT NULL CHECK (part >= 0),
  message_out_id      TEXT    NOT NULL,
  -- Messages of one lane go out in the order of their numbers: the resolved address, or 'host' for an action.
  lane                TEXT    NOT NULL,
  -- scheduled: not before next_attempt_at, and holding nothing back. failed: a dead letter, until somebody decides.
  status              TEXT    NOT NULL CHECK (status IN ('scheduled', 'pending', 'delivered', 'failed', 'discarded')),
  -- The number of the last attempt begun.
  attempts            INTEGER NOT NULL CHECK (attempts >= 0),
  -- How many of them were made before an operator last revived it: the policy's limit counts from there.
  attempts_before     INTEGER NOT NULL CHECK (attempts_before BETWEEN 0 AND attempts),
  -- 1: an attempt was begun and its result has not been written yet.
  in_flight           INTEGER NOT NULL CHECK (in_flight IN (0, 1)),
  -- 1: an earlier attempt never had a result, so the platform may have the message already.
  uncertain           INTEGER NOT NULL CHECK (uncertain IN (0, 1)),
  -- 1: the platform refused its markup, so it goes as plain text.
  plain               INTEGER NOT NULL CHECK (plain IN (0, 1)),
  -- 1: something is to be removed once all parts have been delivered or discarded (its files).
  cleans_up           INTEGER NOT NULL CHECK (cleans_up IN (0, 1)),
  next_attempt_at     INTEGER NOT NULL,
  -- JSON: what is sent, where it is not the row of outbound.db as it stands: a part of a split, a dead letter.
  message             TEXT    CHECK (message IS NULL OR json_valid(message)),
  platform_message_id TEXT,
  error               TEXT,
  settled_at          INTEGER,
  -- What is still to be done about a message that has ended. Cleared when it has been done; doing it twice is harmless.
  todo                TEXT    CHECK (todo IN ('clean-up', 'tell')),
  PRIMARY KEY (seq, part),
  CHECK ((settled_at IS NULL) = (status IN ('scheduled', 'pending'))),
  CHECK (todo IS NULL OR settled_at IS NOT NULL),
  CHECK (status = 'pending' OR in_flight = 0)
) STRICT, WITHOUT ROWID;

-- Only what is open stands in these, so they stay small whatever the history.
CREATE INDEX delivered_lane ON delivered (lane, seq, part) WHERE status = 'pending';
CREATE INDEX delivered_scheduled ON delivered (next_attempt_at) WHERE status = 'scheduled';
CREATE INDEX delivered_dead ON delivered (seq, part) WHERE status = 'failed';
CREATE INDEX delivered_todo ON delivered (seq, part) WHERE todo IS NOT NULL;

-- Scheduled tasks: what repeats, and what runs once at a time. An occurrence is a row of messages_in.
CREATE TABLE series (
  id             TEXT    PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 200),
  status         TEXT    NOT NULL CHECK (status IN ('active', 'paused', 'ended', 'cancelled')),
  -- Why it is paused or has ended, for the person who asks.
  reason         TEXT,
  -- Cron and IANA zone; NULL: it runs once.
  recurrence     TEXT,
  time_zone      TEXT,
  content        TEXT    NOT NULL CHECK (json_valid(content) AND json_type(content) = 'object'),
  channel_type   TEXT,
  platform_id    TEXT,
  thread_id      TEXT,
  -- What becomes of slots that nobody was there to run.
  catch_up       TEXT    NOT NULL CHECK (catch_up IN ('skip', 'latest', 'all')),
  catch_up_max   INTEGER NOT NULL CHECK (catch_up_max > 0),
  -- What becomes of slots that come while an earlier occurrence is not done.
  overlap        TEXT    NOT NULL CHECK (overlap IN ('skip', 'buffer-one', 'allow')),
  jitter_ms      INTEGER NOT NULL CHECK (jitter_ms >= 0),
  start_at       INTEGER NOT NULL,
  end_at         INTEGER,
  count_max      INTEGER CHECK (count_max > 0),
  -- Paused after so many occurrences in a row that were given up; NULL: never.
  pause_after    INTEGER CHECK (pause_after > 0),
  -- The first slot that has not been decided; NULL: there is none any more.
  next_slot      INTEGER,
  -- JSON: slots that have passed and will still be run, oldest first.
  owed           TEXT    NOT NULL CHECK (json_valid(owed) AND json_type(owed) = 'array'),
  -- How many occurrences have ended, and how many of the last were given up, without one that was not.
  fired          INTEGER NOT NULL CHECK (fired >= 0),
  failures       INTEGER NOT NULL CHECK (failures >= 0),
  -- It was paused by its failures at this time and nobody has been told yet.
  notice_owed_at INTEGER,
  created_at     INTEGER NOT NULL,
  updated_at     INTEGER NOT NULL,
  CHECK (notice_owed_at IS NULL OR status = 'paused'),
  CHECK ((recurrence IS NULL) = (time_zone IS NULL)),
  CHECK ((channel_type IS NULL) = (platform_id IS NULL)),
  CHECK (channel_type IS NOT NULL OR thread_id IS NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX series_live ON series (id) WHERE status IN ('active', 'paused');
CREATE INDEX series_notices ON series (id) WHERE notice_owed_at IS NOT NULL;

-- What came of each request to schedule something, so that taking it in again changes nothing.
CREATE TABLE scheduling (
  -- The outbound row that asked.
  action_id TEXT    PRIMARY KEY,
  at        INTEGER NOT NULL,
  result    TEXT    NOT NULL CHECK (json_valid(result))
) STRICT, WITHOUT ROWID;

-- One row per trouble that keeps this session from running: written when it begins, removed when it is over.
CREATE TABLE trouble (
  -- 'wake': no run can be started. 'outbound': what the container wrote cannot be read.
  kind        TEXT    PRIMARY KEY CHECK (kind IN ('wake', 'outbound')),
  -- How often in a row; 0: it is over, and somebody is still to be told so.
  failures    INTEGER NOT NULL CHECK (failures >= 0),
  -- The run or file state counted last, so that looking at it again counts nothing.
  counted     TEXT    NOT NULL,
  error       TEXT    NOT NULL,
  since       INTEGER NOT NULL,
  retry_at    INTEGER NOT NULL,
  -- What the host has not yet told the chat, and whether it has told it that there is trouble.
  notice_owed TEXT    CHECK (notice_owed IN ('began', 'ended')),
  told        INTEGER NOT NULL CHECK (told IN (0, 1))
) STRICT, WITHOUT ROWID;

-- Where this agent may write to, and under which names. Replaced as a whole.
CREATE TABLE destinations (
  name           TEXT PRIMARY KEY,
  display_name   TEXT NOT NULL,
  type           TEXT NOT NULL CHECK (type IN ('channel', 'agent')),
  channel_type   TEXT,
  platform_id    TEXT,
  agent_group_id TEXT,
  CHECK ((type = 'channel') = (channel_type IS NOT NULL AND platform_id IS NOT NULL)),
  CHECK ((type = 'agent') = (agent_group_id IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- One row: where an answer goes that names no destination.
CREATE TABLE session_routing (
  one                  INTEGER PRIMARY KEY CHECK (one = 1),
  channel_type         TEXT,
  platform_id          TEXT,
  thread_id            TEXT,
  destinations_version INTEGER NOT NULL,
  CHECK ((channel_type IS NULL) = (platform_id IS NULL)),
  CHECK (channel_type IS NOT NULL OR thread_id IS NULL)
) STRICT;

-- One row: what the runner must know of the host, and where the host stands in outbound.db.
CREATE TABLE host_state (
  one                INTEGER PRIMARY KEY CHECK (one = 1),
  protocol_version   INTEGER NOT NULL,
  reader_version_min INTEGER NOT NULL,
  -- The run that may write outbound.db; any other stops when it reads this. NULL: none.
  run_id             TEXT,
  run_started_at     INTEGER,
  -- Every change of an ack up to this number has been taken over into its message.
  acks_settled       INTEGER NOT NULL,
  -- Every outbound message up to this number has been taken in.
  messages_taken     INTEGER NOT NULL,
  -- Every outbound message up to this number has ended: the runner may forget it.
  messages_settled   INTEGER NOT NULL,
  CHECK ((run_id IS NULL) = (run_started_at IS NULL))
) STRICT;

INSERT INTO session_routing (one, destinations_version) VALUES (1, 0);
INSERT INTO host_state (one, protocol_version, reader_version_min, acks_settled, messages_taken, messages_settled)
VALUES (1, 1, 1, 0, 0, 0);
`;

const OUTBOUND_SCHEMA = `
CREATE TABLE messages_out (
  -- Odd: the runner's numbers.
  seq           INTEGER PRIMARY KEY CHECK (seq > 0 AND seq % 2 = 1),
  id            TEXT    NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 300),
  run_id        TEXT    NOT NULL,
  in_reply_to   TEXT,
  -- Epoch milliseconds, UTC, as every time in this file.
  timestamp     INTEGER NOT NULL,
  deliver_after INTEGER,
  kind          TEXT    NOT NULL CHECK (kind IN ('chat', 'chat-sdk', 'task', 'webhook', 'system')),
  -- Where it is meant to go: a request, the host decides.
  channel_type  TEXT,
  platform_id   TEXT,
  thread_id     TEXT,
  content       TEXT    NOT NULL CHECK (json_valid(content) AND json_type(content) = 'object')
) STRICT;

-- One row per attempt at an inbound message: the claim is its insertion, so two runs cannot both have it.
CREATE TABLE processing_ack (
  -- Grows with every change of any row: the host reads on from where it was.
  change         INTEGER PRIMARY KEY,
  message_id     TEXT    NOT NULL,
  attempt        INTEGER NOT NULL CHECK (attempt > 0),
  run_id         TEXT    NOT NULL,
  status         TEXT    NOT NULL CHECK (status IN ('processing', 'completed', 'failed')),
  status_changed INTEGER NOT NULL,
  error          TEXT,
  UNIQUE (message_id, attempt)
) STRICT;

CREATE INDEX processing_ack_open ON processing_ack (change) WHERE status = 'processing';

CREATE TABLE session_state (
  key        TEXT    PRIMARY KEY,
  value      TEXT    NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: the run's handshake and what it is doing.
CREATE TABLE container_state (
  one                INTEGER PRIMARY KEY CHECK (one = 1),
  run_id             TEXT    NOT NULL,
  protocol_version   INTEGER NOT NULL,
  reader_version_min INTEGER NOT NULL,
  runner_version     TEXT    NOT NULL,
  provider           TEXT    NOT NULL,
  started_at         INTEGER NOT NULL,
  progress_at        INTEGER NOT NULL,
  -- JSON: the tools in flight, each with its id, name, start and declared time-out.
  tools              TEXT    NOT NULL CHECK (json_valid(tools) AND json_type(tools) = 'array'),
  updated_at         INTEGER NOT NULL
) STRICT;

CREATE TABLE turns (
  turn              INTEGER PRIMARY KEY,
  run_id            TEXT    NOT NULL,
  started_at        INTEGER NOT NULL,
  ended_at          INTEGER NOT NULL,
  outcome           TEXT    NOT NULL CHECK (outcome IN ('completed', 'failed')),
  reason            TEXT,
  message_count     INTEGER NOT NULL,
  input_tokens      INTEGER,
  output_tokens     INTEGER,
  cache_read_tokens INTEGER,
  cost_usd          REAL,
  CHECK ((reason IS NOT NULL) = (outcome = 'failed'))
) STRICT;
`;

/** The other side wrote a version that this code does not read, or an older copy of this code must not write. */
export class VersionError extends Error {
  /** Names the class, whatever a bundler makes of it. */
  override readonly name = 'VersionError';
}

// Runners of version 1 read none of it, so READER_VERSION_MIN stays. A lane of version 1 is an address as JSON, or a name.
const DELIVERED_HAS_ADDRESSES = `
ALTER TABLE delivered ADD COLUMN channel_type TEXT;
ALTER TABLE delivered ADD COLUMN platform_id TEXT
  -- Where it goes: channel_type, platform_id, thread_id. NULL: to no address, as a request to the host does.
  CHECK ((channel_type IS NULL) = (platform_id IS NULL));
ALTER TABLE delivered ADD COLUMN thread_id TEXT CHECK (channel_type IS NOT NULL OR thread_id IS NULL);

UPDATE delivered SET
  channel_type = json_extract(lane, '$[0]'), platform_id = json_extract(lane, '$[1]'),
  thread_id = json_extract(lane, '$[2]')
WHERE CASE WHEN json_valid(lane) THEN json_type(lane, '$[0]') = 'text' AND json_type(lane, '$[1]') = 'text' END;
`;

// The longest wait of each policy stands for the waits that were not written down.
const WAITS_AND_GENERATION = `
ALTER TABLE messages_in ADD COLUMN wait_ms INTEGER
  -- How long it was to wait when process_after was written, so that a clock that is set right ends what a wrong one began.
  -- NULL: process_after is a time, and no wait.
  CHECK (wait_ms >= 0);
ALTER TABLE delivered ADD COLUMN wait_ms INTEGER
  -- The same for next_attempt_at.
  CHECK (wait_ms >= 0);
ALTER TABLE host_state ADD COLUMN generation INTEGER NOT NULL DEFAULT 0
  -- Raised when numbers that were given may be given again: by a restore, and by an import.
  CHECK (generation >= 0);
ALTER TABLE delivered ADD COLUMN generation INTEGER NOT NULL DEFAULT 0
  -- The session's when the message was accepted: with its number it names the message for good.
  CHECK (generation >= 0);

UPDATE messages_in SET wait_ms = CASE WHEN tries > 0 THEN 300000 WHEN series_id IS NULL THEN 0 END
WHERE status IN ('pending', 'paused');
UPDATE delivered SET wait_ms = CASE WHEN attempts > 0 THEN 3600000 ELSE 0 END WHERE status = 'pending';
UPDATE host_state SET protocol_version = 2;
`;

// A reader of version 1 compares the schema, so it would read none of it: PROTOCOL_VERSION has gone up with it.
const EFFECTS = `
-- What turns have done before their end, for each message that they had in hand: an attempt at one of these that does the
-- same again finds the row.
CREATE TABLE effects (
  message_id TEXT    NOT NULL,
  -- A digest of what was done: effects with the same are equal.
  key        TEXT    NOT NULL,
  -- Its place among the equal effects of the message, from 0.
  nth        INTEGER NOT NULL CHECK (nth >= 0),
  -- The row of messages_out.
  seq        INTEGER NOT NULL,
  PRIMARY KEY (message_id, key, nth)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX effects_row ON effects (seq, message_id);
`;

// An attempt that its model was in the way of raises tries and tries_before alike, and so counts as none.
const DEFERRALS = `
ALTER TABLE messages_in ADD COLUMN deferral TEXT
  -- The model refused, or was away, at the last attempt: it waits for that to be over. NULL: the last attempt had another end.
  CHECK (deferral IN ('refused', 'unavailable'));
ALTER TABLE messages_in ADD COLUMN deferred_since INTEGER
  -- When the first such attempt in a row was settled.
  CHECK ((deferred_since IS NULL) = (deferral IS NULL));
ALTER TABLE messages_in ADD COLUMN deferred_wait_ms INTEGER
  -- How long it was to wait since then, all waits together.
  CHECK ((deferred_wait_ms IS NULL) = (deferral IS NULL) AND deferred_wait_ms >= 0);
ALTER TABLE messages_in ADD COLUMN deferral_notice TEXT
  -- What its chat is told of that: still to be sent, or sent. NULL: it is not told, or of another message.
  CHECK (deferral_notice IN ('owed', 'sent'));

CREATE INDEX messages_in_deferred ON messages_in (seq) WHERE deferral IS NOT NULL AND status IN ('pending', 'paused');
`;

// A CHECK cannot be changed in place.
const DEFERRED_ACKS = `
CREATE TABLE new_processing_ack (
  -- Grows with every change of any row: the host reads on from where it was.
  change         INTEGER PRIMARY KEY,
  message_id     TEXT    NOT NULL,
  attempt        INTEGER NOT NULL CHECK (attempt > 0),
  run_id         TEXT    NOT NULL,
  status         TEXT    NOT NULL CHECK (status IN ('processing', 'completed', 'failed', 'deferred')),
  status_changed INTEGER NOT NULL,
  error          TEXT,
  -- What stood in the way of the model, so that the attempt says nothing about the message.
  deferral       TEXT    CHECK (deferral IN ('refused', 'unavailable')),
  -- How long the model wants to be left alone; NULL: it did not say.
  retry_after_ms INTEGER CHECK (retry_after_ms >= 0),
  UNIQUE (message_id, attempt),
  CHECK ((deferral IS NOT NULL) = (status = 'deferred')),
  CHECK (retry_after_ms IS NULL OR status = 'deferred')
) STRICT;

INSERT INTO new_processing_ack (change, message_id, attempt, run_id, status, status_changed, error)
SELECT change, message_id, attempt, run_id, status, status_changed, error FROM processing_ack;

DROP TABLE processing_ack;
ALTER TABLE new_processing_ack RENAME TO processing_ack;
CREATE INDEX processing_ack_open ON processing_ack (change) WHERE status = 'processing';
`;

/** The version of outbound.db from which on acks may be deferred. */
export const DEFERRED_ACKS_SINCE = 3;

/** Step n (from 1) brings a file from version n − 1 to version n. A released step never changes: a new one follows it. */
export const INBOUND_MIGRATIONS: readonly string[] = [
  INBOUND_SCHEMA,
  DELIVERED_HAS_ADDRESSES,
  WAITS_AND_GENERATION,
  DEFERRALS,
];
export const OUTBOUND_MIGRATIONS: readonly string[] = [OUTBOUND_SCHEMA, EFFECTS, DEFERRED_ACKS];

/** The version of each file's schema that this code writes, in the file's `user_version`. */
export const INBOUND_VERSION = INBOUND_MIGRATIONS.length;
export const OUTBOUND_VERSION = OUTBOUND_MIGRATIONS.length;

/**
 * Brings the file that this process owns to the last version of `migrations`: the steps it lacks, from the first for an
 * empty file, in one transaction, so that a crash leaves it as it was or whole.
 *
 * Throws `VersionError` when newer code wrote the file, because an old process must not write to it, and when it holds
 * tables that are not ours.
 */
export function migrate(db: Sqlite, migrations: readonly string[]): void {
  const version = userVersion(db);
  if (version === migrations.length) return;
  if (version > migrations.length) {
    throw new VersionError(
      `This file has schema version ${version} and this program writes version ${migrations.length}; nothing was ` +
        'changed. Install the newer version again, or restore the session from a backup made before the upgrade.',
    );
  }
  inTransaction(db, () => {
    if (version === 0 && schemaText(db) !== '') {
      throw new VersionError(
        'This file has tables and no schema version, so another program made it; nothing was changed. Move it away, ' +
          'or import it if it is a session of an older NanoClaw.',
      );
    }
    // So that what a step takes away is gone, and the file has its schema once, for whoever looks at its bytes.
    db.exec('PRAGMA secure_delete = ON');
    for (const step of migrations.slice(version)) db.exec(step);
    db.exec('PRAGMA secure_delete = OFF');
    db.exec(`PRAGMA user_version = ${migrations.length}`);
  });
}

/** A file's schema version; 0 for an empty one. */
export function userVersion(db: Sqlite): number {
  return db.all<{ user_version: number }>('PRAGMA user_version')[0]?.user_version ?? 0;
}

/**
 * The schema of a file as one text, for comparison byte for byte: a container's file that differs in anything, a view,
 * a trigger, a default, is not read.
 */
export function schemaText(db: Sqlite): string {
  return db
    .all<{ type: string; name: string; tbl_name: string; sql: string | null }>(
      'SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name',
    )
    .map((row) => `${row.type} ${row.name} ${row.tbl_name} ${row.sql ?? ''}`)
    .join('\n');
}
