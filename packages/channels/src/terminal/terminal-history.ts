// The memory of the terminal platform: what was said in each chat, in SQLite. It is what makes the terminal durable: a
// message is the same one however often it is sent, and a client that was away gets what it missed.
//
// The open history is also the lock on its folder: SQLite holds the file exclusively until it is closed or the process
// dies, so two hosts can never serve one folder, and a dead one leaves nothing to clean up.
import type Database from 'better-sqlite3';
import { openStore } from '../sqlite.ts';
import type { TerminalDetail } from './protocol.ts';
import type { KeptFile } from './terminal-files.ts';

/** What a person did, as it was first stored. */
export interface Incoming {
  chat: string;
  /** The client's id, unique in its chat. */
  id: string;
  /** Of a choice its wording. */
  text: string;
  timestamp: number;
  files: readonly KeptFile[];
  /** Where the files are, until the host has them. */
  folder: string | null;
  /** Of a choice only. */
  choice: { questionId: string; choice: number } | null;
}

/** A message to a chat. `n` grows over all chats and is never used twice. */
export interface Outgoing {
  n: number;
  chat: string;
  text: string;
  /** The id of the incoming message that it answers, or null. */
  inReplyTo: string | null;
  timestamp: number;
  detail: OutgoingDetail;
  /** Where the files of a text are; null without files, and when they are kept no longer. */
  folder: string | null;
}

/** As clients know it, but for the place of the files. */
export type OutgoingDetail =
  | { kind: 'text'; files: readonly { name: string; bytes: number }[] }
  | Exclude<TerminalDetail, { kind: 'text' }>;

/** What became of something that came in: `received` once `receive` has resolved for it. */
export type Stored =
  | { type: 'pending'; message: Incoming }
  | { type: 'received' }
  /** The id is taken by something else. */
  | { type: 'conflict' };

interface IncomingRow {
  chat: string;
  id: string;
  text: string;
  timestamp: number;
  files: string;
  folder: string | null;
  questionId: string | null;
  choice: number | null;
}

interface OutgoingRow {
  n: number;
  chat: string;
  text: string;
  inReplyTo: string | null;
  timestamp: number;
  detail: string;
  folder: string | null;
}

/** All that was said over a terminal channel. */
export class History implements Disposable {
  readonly #db: Database.Database;
  readonly #insertIncoming;
  readonly #findIncoming;
  readonly #markReceived;
  readonly #unreceived;
  readonly #waiting;
  readonly #lastIncoming;
  readonly #forgetIncoming;
  readonly #insertOutgoing;
  readonly #findOutgoing;
  readonly #outgoingAfter;
  readonly #lastOutgoing;
  readonly #lastNumber;
  readonly #isOfBot;
  readonly #isOfPerson;
  readonly #question;
  readonly #folders;
  readonly #forgetOutgoing;
  readonly #withFiles;
  readonly #forgetFolder;

  /**
   * Opens the history at `path`, or creates it, readable by its owner only. Throws when another process has it open,
   * when a newer version wrote it, and when it is no history; the error says what to do.
   */
  constructor(path: string) {
    const db = openStore(path, { name: 'terminal history', servant: 'the terminal with the history', steps: STEPS });
    try {
      this.#insertIncoming = db.prepare<IncomingRow & { bytes: number }>(
        `INSERT INTO incoming (chat, id, text, timestamp, files, bytes, folder, question_id, choice)
         VALUES (:chat, :id, :text, :timestamp, :files, :bytes, :folder, :questionId, :choice)
         ON CONFLICT (chat, id) DO NOTHING`,
      );
      this.#findIncoming = db.prepare<{ chat: string; id: string }, IncomingRow & { received: 0 | 1 }>(
        `SELECT ${INCOMING}, received FROM incoming WHERE chat = :chat AND id = :id`,
      );
      this.#markReceived = db.prepare<{ chat: string; id: string }>(
        `UPDATE incoming SET received = 1, folder = NULL WHERE chat = :chat AND id = :id AND received = 0`,
      );
      this.#unreceived = db.prepare<[], IncomingRow>(`SELECT ${INCOMING} FROM incoming WHERE received = 0 ORDER BY n`);
      this.#waiting = db.prepare<[], { messages: number; bytes: number }>(
        `SELECT count(*) AS messages, coalesce(sum(bytes), 0) AS bytes FROM incoming WHERE received = 0`,
      );
      this.#lastIncoming = db.prepare<{ chat: string; limit: number }, IncomingRow>(
        `SELECT ${INCOMING} FROM incoming WHERE chat = :chat ORDER BY n DESC LIMIT :limit`,
      );
      this.#forgetIncoming = db.prepare<{ chat: string; keep: number }>(
        `DELETE FROM incoming WHERE chat = :chat AND received = 1 AND n <=
           (SELECT n FROM incoming WHERE chat = :chat ORDER BY n DESC LIMIT 1 OFFSET :keep)`,
      );
      this.#insertOutgoing = db.prepare<
        Omit<OutgoingRow, 'n'> & { key: string; kind: string; questionId: string | null; bytes: number }
      >(
        `INSERT INTO outgoing (key, chat, text, in_reply_to, timestamp, kind, detail, question_id, folder, bytes)
         VALUES (:key, :chat, :text, :inReplyTo, :timestamp, :kind, :detail, :questionId, :folder, :bytes)
         ON CONFLICT (key) DO NOTHING`,
      );
      this.#findOutgoing = db.prepare<{ key: string }, OutgoingRow>(
        `SELECT ${OUTGOING} FROM outgoing WHERE key = :key`,
      );
      this.#outgoingAfter = db.prepare<{ chat: string; n: number; limit: number }, OutgoingRow>(
        `SELECT ${OUTGOING} FROM outgoing WHERE chat = :chat AND n > :n ORDER BY n LIMIT :limit`,
      );
      this.#lastOutgoing = db.prepare<{ chat: string; limit: number }, OutgoingRow>(
        `SELECT ${OUTGOING} FROM outgoing WHERE chat = :chat ORDER BY n DESC LIMIT :limit`,
      );
      this.#lastNumber = db.prepare<[], { n: number }>(`SELECT coalesce(max(n), 0) AS n FROM outgoing`);
      this.#isOfBot = db.prepare<{ chat: string; n: number }, { n: number }>(
        `SELECT n FROM outgoing WHERE n = :n AND chat = :chat AND kind IN ('text', 'question')`,
      );
      this.#isOfPerson = db.prepare<{ chat: string; id: string }, { n: number }>(
        `SELECT n FROM incoming WHERE chat = :chat AND id = :id AND question_id IS NULL`,
      );
      this.#question = db.prepare<{ chat: string; questionId: string }, { detail: string }>(
        `SELECT detail FROM outgoing WHERE chat = :chat AND question_id = :questionId ORDER BY n DESC LIMIT 1`,
      );
      this.#folders = db.prepare<[], { folder: string }>(
        `SELECT folder FROM incoming WHERE folder IS NOT NULL
         UNION ALL SELECT folder FROM outgoing WHERE folder IS NOT NULL`,
      );
      this.#forgetOutgoing = db.prepare<{ chat: string; keep: number }, { folder: string | null }>(
        `DELETE FROM outgoing WHERE chat = :chat AND n <=
           (SELECT n FROM outgoing WHERE chat = :chat ORDER BY n DESC LIMIT 1 OFFSET :keep)
         RETURNING folder`,
      );
      this.#withFiles = db.prepare<[], { n: number; folder: string; bytes: number }>(
        `SELECT n, folder, bytes FROM outgoing WHERE folder IS NOT NULL ORDER BY n DESC`,
      );
      this.#forgetFolder = db.prepare<{ n: number }>(`UPDATE outgoing SET folder = NULL WHERE n = :n`);
    } catch (error) {
      db.close();
      throw error;
    }
    this.#db = db;
  }

  /** What is known of this id already; `undefined` for nothing. */
  knownIncoming(message: Incoming): Stored | undefined {
    const row = this.#findIncoming.get({ chat: message.chat, id: message.id });
    if (row === undefined) return undefined;
    const known = incoming(row);
    if (!isSame(known, message)) return { type: 'conflict' };
    return row.received === 1 ? { type: 'received' } : { type: 'pending', message: known };
  }

  /** Stores what came in under its id, unless it is there; then the first copy is the one that counts. */
  storeIncoming(message: Incoming): Stored {
    const { files, choice, ...row } = message;
    this.#insertIncoming.run({
      ...row,
      files: JSON.stringify(files),
      bytes: files.reduce((sum, file) => sum + file.bytes, Buffer.byteLength(message.text)),
      questionId: choice?.questionId ?? null,
      choice: choice?.choice ?? null,
    });
    const stored = this.knownIncoming(message);
    if (stored === undefined) throw new Error(`The message ${message.id} was stored but cannot be read back.`);
    return stored;
  }

  /** Notes that the host has it, for good. Its files are not named any more. */
  markReceived(chat: string, id: string): void {
    this.#markReceived.run({ chat, id });
  }

  /** What the host was never confirmed to have, oldest first. */
  unreceived(): Incoming[] {
    return this.#unreceived.all().map(incoming);
  }

  /** How much there is that the host was never confirmed to have. */
  waiting(): { messages: number; bytes: number } {
    return this.#waiting.get() ?? { messages: 0, bytes: 0 };
  }

  /** Stores a message under its key, unless it is there. `undefined` when the key belongs to a different message. */
  storeOutgoing(key: string, message: Omit<Outgoing, 'n'>): { n: number; isNew: boolean } | undefined {
    const { detail } = message;
    const { changes } = this.#insertOutgoing.run({
      key,
      ...message,
      kind: detail.kind,
      detail: JSON.stringify(detail),
      questionId: detail.kind === 'question' ? detail.questionId : null,
      bytes: detail.kind === 'text' ? detail.files.reduce((sum, file) => sum + file.bytes, 0) : 0,
    });
    const row = this.outgoing(key);
    if (row === undefined) throw new Error(`The message with the key ${key} was stored but cannot be read back.`);
    return isSameMessage(row, message) ? { n: row.n, isNew: changes === 1 } : undefined;
  }

  /** The message with this key. */
  outgoing(key: string): Outgoing | undefined {
    const row = this.#findOutgoing.get({ key });
    return row === undefined ? undefined : outgoing(row);
  }

  /** What was sent to a chat after number `n`, in order, at most `limit` messages. */
  outgoingAfter(chat: string, n: number, limit: number): Outgoing[] {
    return this.#outgoingAfter.all({ chat, n, limit }).map(outgoing);
  }

  /** The last of what was said in a chat, from either side, oldest first. */
  past(chat: string, limit: number): (Incoming | Outgoing)[] {
    const ofPeople: (Incoming | Outgoing)[] = this.#lastIncoming.all({ chat, limit }).map(incoming).toReversed();
    const ofBot = this.#lastOutgoing.all({ chat, limit }).map(outgoing).toReversed();
    // The sort is stable: of the same millisecond, what a person said comes before its answer.
    const all = [...ofPeople, ...ofBot].toSorted((a, b) => a.timestamp - b.timestamp);
    return all.slice(Math.max(0, all.length - limit));
  }

  /** The number of the newest message to any chat; 0 when there is none. */
  lastNumber(): number {
    return this.#lastNumber.get()?.n ?? 0;
  }

  /** Whether a message of the bot has this number in this chat, and can be changed. */
  isOfBot(chat: string, n: number): boolean {
    return this.#isOfBot.get({ chat, n }) !== undefined;
  }

  /** Whether a person's message has this id in this chat. */
  isOfPerson(chat: string, id: string): boolean {
    return this.#isOfPerson.get({ chat, id }) !== undefined;
  }

  /** The choices of a question that was asked in this chat. */
  choices(chat: string, questionId: string): readonly string[] | undefined {
    const row = this.#question.get({ chat, questionId });
    const detail = row === undefined ? undefined : (JSON.parse(row.detail) as OutgoingDetail);
    return detail?.kind === 'question' ? detail.choices : undefined;
  }

  /** The folders that hold files of messages. */
  folders(): Set<string> {
    return new Set(this.#folders.all().map(({ folder }) => folder));
  }

  /** Forgets what is older than the newest `keep` messages of either side of a chat. Gives the folders that are no longer needed. */
  forgetOlder(chat: string, keep: number): string[] {
    this.#forgetIncoming.run({ chat, keep });
    return this.#forgetOutgoing.all({ chat, keep }).flatMap(({ folder }) => (folder === null ? [] : [folder]));
  }

  /** Lets go of the files of the oldest messages to people, until at most so many bytes are left. Gives their folders. */
  forgetFiles(bytesMax: number): string[] {
    let bytes = 0;
    const old = this.#withFiles.all().filter((row) => {
      bytes += row.bytes;
      return bytes > bytesMax;
    });
    for (const { n } of old) this.#forgetFolder.run({ n });
    return old.map(({ folder }) => folder);
  }

  /** Closes the file and lets go of the lock. */
  [Symbol.dispose](): void {
    this.#db.close();
  }
}

function incoming(row: IncomingRow): Incoming {
  const { chat, id, text, timestamp, folder, questionId, choice } = row;
  return {
    chat,
    id,
    text,
    timestamp,
    folder,
    files: JSON.parse(row.files) as KeptFile[],
    choice: questionId === null || choice === null ? null : { questionId, choice },
  };
}

function outgoing({ detail, ...row }: OutgoingRow): Outgoing {
  return { ...row, detail: JSON.parse(detail) as OutgoingDetail };
}

function isSame(a: Incoming, b: Incoming): boolean {
  return a.text === b.text && JSON.stringify([a.files, a.choice]) === JSON.stringify([b.files, b.choice]);
}

function isSameMessage(a: Outgoing, b: Omit<Outgoing, 'n'>): boolean {
  const isSamePlace = a.chat === b.chat && a.inReplyTo === b.inReplyTo;
  return isSamePlace && a.text === b.text && JSON.stringify(a.detail) === JSON.stringify(b.detail);
}

const INCOMING = 'chat, id, text, timestamp, files, folder, question_id AS questionId, choice';
const OUTGOING = 'n, chat, text, in_reply_to AS inReplyTo, timestamp, detail, folder';

/** One step from each version of the file to the next. What was published is never changed, only added to. */
const STEPS: readonly string[] = [
  `
  -- What people did. A row with received = 0 is handed to the host again at its next start.
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
`,
  `
  ALTER TABLE incoming ADD COLUMN files TEXT NOT NULL DEFAULT '[]'; -- JSON: name, bytes, sha256 of each
  ALTER TABLE incoming ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0; -- of text and files
  ALTER TABLE incoming ADD COLUMN folder TEXT;                      -- of the files, until the host has them
  ALTER TABLE incoming ADD COLUMN question_id TEXT;                 -- of a choice
  ALTER TABLE incoming ADD COLUMN choice INTEGER CHECK ((choice IS NULL) = (question_id IS NULL));
  CREATE INDEX incoming_of_chat ON incoming (chat, n);

  ALTER TABLE outgoing ADD COLUMN kind TEXT NOT NULL DEFAULT 'text'
    CHECK (kind IN ('text', 'edit', 'reaction', 'question'));
  ALTER TABLE outgoing ADD COLUMN detail TEXT NOT NULL DEFAULT '{"kind":"text","files":[]}'; -- JSON, by kind
  ALTER TABLE outgoing ADD COLUMN question_id TEXT;
  ALTER TABLE outgoing ADD COLUMN folder TEXT;                      -- of the files, as long as they are kept
  ALTER TABLE outgoing ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0; -- of the files
  CREATE INDEX outgoing_questions ON outgoing (chat, question_id) WHERE question_id IS NOT NULL;
  CREATE INDEX outgoing_with_files ON outgoing (n) WHERE folder IS NOT NULL;
  CREATE INDEX incoming_with_files ON incoming (n) WHERE folder IS NOT NULL;
`,
];
