// The memory of the terminal platform: what was said in each chat, in SQLite. It is what makes the terminal durable: a
// message is the same one however often it is sent, and a client that was away gets what it missed.
//
// The open history is also the lock on its folder: SQLite holds the file exclusively until it is closed or the process
// dies, so two hosts can never serve one folder, and a dead one leaves nothing to clean up.
import { closeSync, openSync } from 'node:fs';
import Database from 'better-sqlite3';

/** A message of a person, as it was first stored. */
export interface Incoming {
  chat: string;
  /** The client's id, unique in its chat. */
  id: string;
  text: string;
  timestamp: number;
}

/** A message to a chat. `n` grows over all chats and is never used twice. */
export interface Outgoing {
  n: number;
  chat: string;
  text: string;
  /** The id of the incoming message that it answers, or null. */
  inReplyTo: string | null;
  timestamp: number;
}

/** What became of a message that came in: `received` once `receive` has resolved for it. */
export type Stored =
  | { type: 'pending'; message: Incoming }
  | { type: 'received' }
  /** The id is taken by a message with another text. */
  | { type: 'conflict' };

export class History implements Disposable {
  readonly #db: Database.Database;
  readonly #insertIncoming;
  readonly #findIncoming;
  readonly #markReceived;
  readonly #unreceived;
  readonly #insertOutgoing;
  readonly #findOutgoing;
  readonly #outgoingAfter;
  readonly #lastNumber;

  /**
   * Opens the history at `path`, or creates it, readable by its owner only. Throws when another process has it open,
   * when a newer version wrote it, and when it is no history; the error says what to do.
   */
  constructor(path: string) {
    createPrivate(path);
    const db = new Database(path, { timeout: 0 });
    try {
      prepareFile(db, path);
      this.#insertIncoming = db.prepare<Incoming>(
        `INSERT INTO incoming (chat, id, text, timestamp) VALUES (:chat, :id, :text, :timestamp)
         ON CONFLICT (chat, id) DO NOTHING`,
      );
      this.#findIncoming = db.prepare<{ chat: string; id: string }, Incoming & { received: 0 | 1 }>(
        `SELECT chat, id, text, timestamp, received FROM incoming WHERE chat = :chat AND id = :id`,
      );
      this.#markReceived = db.prepare<{ chat: string; id: string }>(
        `UPDATE incoming SET received = 1 WHERE chat = :chat AND id = :id AND received = 0`,
      );
      this.#unreceived = db.prepare<[], Incoming>(
        `SELECT chat, id, text, timestamp FROM incoming WHERE received = 0 ORDER BY n`,
      );
      this.#insertOutgoing = db.prepare<Omit<Outgoing, 'n'> & { key: string }>(
        `INSERT INTO outgoing (key, chat, text, in_reply_to, timestamp)
         VALUES (:key, :chat, :text, :inReplyTo, :timestamp)
         ON CONFLICT (key) DO NOTHING`,
      );
      this.#findOutgoing = db.prepare<{ key: string }, Outgoing>(
        `SELECT n, chat, text, in_reply_to AS inReplyTo, timestamp FROM outgoing WHERE key = :key`,
      );
      this.#outgoingAfter = db.prepare<{ chat: string; n: number; limit: number }, Outgoing>(
        `SELECT n, chat, text, in_reply_to AS inReplyTo, timestamp FROM outgoing
         WHERE chat = :chat AND n > :n ORDER BY n LIMIT :limit`,
      );
      this.#lastNumber = db.prepare<[], { n: number }>(`SELECT coalesce(max(n), 0) AS n FROM outgoing`);
    } catch (error) {
      db.close();
      throw error;
    }
    this.#db = db;
  }

  /** Stores a message under its id, unless it is there; then the first copy is the one that counts. */
  storeIncoming(message: Incoming): Stored {
    this.#insertIncoming.run(message);
    const row = this.#findIncoming.get({ chat: message.chat, id: message.id });
    if (row === undefined) throw new Error(`The message ${message.id} was stored but cannot be read back.`);
    if (row.text !== message.text) return { type: 'conflict' };
    if (row.received === 1) return { type: 'received' };
    return { type: 'pending', message: { chat: row.chat, id: row.id, text: row.text, timestamp: row.timestamp } };
  }

  /** Notes that the host has the message, for good. */
  markReceived(chat: string, id: string): void {
    this.#markReceived.run({ chat, id });
  }

  /** What the host was never confirmed to have, oldest first. */
  unreceived(): Incoming[] {
    return this.#unreceived.all();
  }

  /** Stores a message under its key, unless it is there. `undefined` when the key belongs to a different message. */
  storeOutgoing(key: string, message: Omit<Outgoing, 'n'>): { n: number; isNew: boolean } | undefined {
    const isNew = this.#insertOutgoing.run({ key, ...message }).changes === 1;
    const row = this.#findOutgoing.get({ key });
    if (row === undefined) throw new Error(`The message with the key ${key} was stored but cannot be read back.`);
    const isSame = row.chat === message.chat && row.text === message.text && row.inReplyTo === message.inReplyTo;
    return isSame ? { n: row.n, isNew } : undefined;
  }

  /** What was sent to a chat after number `n`, in order, at most `limit` messages. */
  outgoingAfter(chat: string, n: number, limit: number): Outgoing[] {
    return this.#outgoingAfter.all({ chat, n, limit });
  }

  /** The number of the newest message to any chat; 0 when there is none. */
  lastNumber(): number {
    return this.#lastNumber.get()?.n ?? 0;
  }

  /** Closes the file and lets go of the lock. */
  [Symbol.dispose](): void {
    this.#db.close();
  }
}

const VERSION = 1;

const SCHEMA = `
  -- Messages of people. A row with received = 0 is handed to the host again at its next start.
  CREATE TABLE incoming (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    chat TEXT NOT NULL,
    id TEXT NOT NULL,           -- the client's: the same message however often it is sent
    text TEXT NOT NULL,
    timestamp INTEGER NOT NULL, -- epoch milliseconds of the first copy
    received INTEGER NOT NULL DEFAULT 0 CHECK (received IN (0, 1)),
    UNIQUE (chat, id)
  ) STRICT;
  CREATE INDEX incoming_unreceived ON incoming (n) WHERE received = 0;

  -- Messages to people.
  CREATE TABLE outgoing (
    n INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: clients remember the last one they have seen
    key TEXT NOT NULL UNIQUE,            -- the host's: a repeated attempt finds its first one
    chat TEXT NOT NULL,
    text TEXT NOT NULL,
    in_reply_to TEXT,
    timestamp INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX outgoing_of_chat ON outgoing (chat, n);
`;

/**
 * Makes an empty file that only its owner can read; SQLite gives its side files the same mode. A file that is there is
 * not touched: opening and closing it would drop the locks that another history in this process holds on it.
 */
function createPrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

function prepareFile(db: Database.Database, path: string): void {
  try {
    // Before anything is read, so that the write-ahead log needs no shared memory and the lock is held from the start.
    db.pragma('locking_mode = EXCLUSIVE');
    db.pragma('journal_mode = WAL');
    // With a write-ahead log FULL syncs every commit; NORMAL would lose acknowledged messages in a power cut.
    db.pragma('synchronous = FULL');
    const version = db.pragma('user_version', { simple: true });
    if (version === 0) {
      db.transaction(() => {
        db.exec(SCHEMA);
        db.pragma(`user_version = ${VERSION}`);
      })();
    } else if (version !== VERSION) {
      throw new Error(
        `The terminal history ${path} has version ${String(version)}, and this program knows version ${VERSION}. ` +
          'Nothing was changed; start the version of the program that wrote it.',
      );
    }
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
    throw new Error(
      error.code.startsWith('SQLITE_BUSY')
        ? `Another process is serving the terminal with the history ${path}. It keeps running; stop it first.`
        : `The terminal history ${path} cannot be opened (${error.message}). Nothing was changed; ` +
            'restore it from a backup, or move it away to begin with an empty one.',
      { cause: error },
    );
  }
}
