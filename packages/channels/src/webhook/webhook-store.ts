// What the webhook channel keeps, in SQLite: what came in until the host has it, what went out until it was fetched or
// posted, and of both, for a while, under which id or key it was. The open store is also the lock on its folder.
import type Database from 'better-sqlite3';
import { openStore } from '../sqlite.ts';
import type { WebhookMessage } from './protocol.ts';

/** What came in and the host was not confirmed to have. */
export interface Pending {
  n: number;
  endpoint: string;
  message: WebhookMessage;
  /** Epoch milliseconds of the first copy. */
  timestamp: number;
}

/** What became of something that came in. */
export type StoredIncoming = { type: 'pending'; n: number } | { type: 'received' } | { type: 'conflict' };

/** Something that is to go out. `content` is what the program is told of it, as JSON. */
export interface NewOutgoing {
  key: string;
  endpoint: string;
  kind: string;
  /** Of the whole message: the same key for something else is a mistake of the host. */
  digest: string;
  content: string;
  timestamp: number;
  state: 'kept' | 'posting';
}

/** A message of the bot as it is stored. */
export interface StoredOutgoing {
  n: number;
  digest: string;
  timestamp: number;
  /** `kept` for the program to fetch; `posting` until its callback has confirmed it; then `posted`. */
  state: 'kept' | 'posting' | 'posted';
  /** Empty for what was posted. */
  content: string;
}

/** Something that is kept for a program to fetch. */
export interface Kept {
  n: number;
  timestamp: number;
  content: string;
}

/** All that was said over a webhook channel. */
export class WebhookStore implements Disposable {
  readonly #db: Database.Database;
  readonly #insertIncoming;
  readonly #findIncoming;
  readonly #pending;
  readonly #allPending;
  readonly #markReceived;
  readonly #waiting;
  readonly #forgetIncoming;
  readonly #isOfProgram;
  readonly #insertOutgoing;
  readonly #findOutgoing;
  readonly #isOfBot;
  readonly #setState;
  readonly #deleteOutgoing;
  readonly #keptAfter;
  readonly #last;
  readonly #unfetched;
  readonly #setFetched;
  readonly #fetched;
  readonly #forgetFetched;
  readonly #forgetPosted;

  /** Opens the store at `path`, or creates it; see `openStore`. */
  constructor(path: string) {
    const db = openStore(path, { name: 'webhook store', servant: 'webhooks with the store', steps: STEPS });
    this.#db = db;
    this.#insertIncoming = db.prepare<{
      endpoint: string;
      id: string;
      digest: string;
      content: string;
      bytes: number;
      timestamp: number;
    }>(
      `INSERT INTO incoming (endpoint, id, digest, content, bytes, timestamp)
       VALUES (:endpoint, :id, :digest, :content, :bytes, :timestamp)
       ON CONFLICT (endpoint, id) DO NOTHING`,
    );
    this.#findIncoming = db.prepare<{ endpoint: string; id: string }, { n: number; digest: string; isPending: 0 | 1 }>(
      `SELECT n, digest, content IS NOT NULL AS isPending FROM incoming WHERE endpoint = :endpoint AND id = :id`,
    );
    this.#pending = db.prepare<{ n: number }, { endpoint: string; content: string; timestamp: number }>(
      `SELECT endpoint, content, timestamp FROM incoming WHERE n = :n AND content IS NOT NULL`,
    );
    this.#allPending = db.prepare<[], { n: number; endpoint: string }>(
      `SELECT n, endpoint FROM incoming WHERE content IS NOT NULL ORDER BY n`,
    );
    this.#markReceived = db.prepare<{ n: number }>(`UPDATE incoming SET content = NULL WHERE n = :n`);
    // Left to itself SQLite, which knows no numbers of the tables, reads every row that the endpoint ever had.
    this.#waiting = db.prepare<{ endpoint: string }, { count: number; bytes: number }>(
      `SELECT count(*) AS count, coalesce(sum(bytes), 0) AS bytes FROM incoming INDEXED BY incoming_pending
       WHERE endpoint = :endpoint AND content IS NOT NULL`,
    );
    this.#forgetIncoming = db.prepare<{ endpoint: string; keep: number; before: number }>(
      `DELETE FROM incoming WHERE endpoint = :endpoint AND content IS NULL AND timestamp < :before AND n <=
         (SELECT n FROM incoming WHERE endpoint = :endpoint ORDER BY n DESC LIMIT 1 OFFSET :keep)`,
    );
    this.#isOfProgram = db.prepare<{ endpoint: string; id: string }, { n: number }>(
      `SELECT n FROM incoming WHERE endpoint = :endpoint AND id = :id`,
    );
    this.#insertOutgoing = db.prepare<NewOutgoing & { bytes: number }>(
      `INSERT INTO outgoing (key, endpoint, kind, digest, content, bytes, timestamp, state)
       VALUES (:key, :endpoint, :kind, :digest, :content, :bytes, :timestamp, :state)
       ON CONFLICT (key) DO NOTHING`,
    );
    this.#findOutgoing = db.prepare<{ key: string }, StoredOutgoing>(
      `SELECT n, digest, timestamp, state, content FROM outgoing WHERE key = :key`,
    );
    this.#isOfBot = db.prepare<{ endpoint: string; n: number }, { n: number }>(
      `SELECT n FROM outgoing WHERE n = :n AND endpoint = :endpoint AND kind IN ('text', 'question', 'card')`,
    );
    this.#setState = db.prepare<{ n: number; state: 'kept' | 'posted' }>(
      `UPDATE outgoing SET state = :state, content = iif(:state = 'posted', '', content)
       WHERE n = :n AND state = 'posting'`,
    );
    this.#deleteOutgoing = db.prepare<{ n: number }>(`DELETE FROM outgoing WHERE n = :n AND state = 'posting'`);
    this.#keptAfter = db.prepare<{ endpoint: string; after: number; limit: number }, Kept>(
      `SELECT n, timestamp, content FROM outgoing
       WHERE endpoint = :endpoint AND state = 'kept' AND n > :after ORDER BY n LIMIT :limit`,
    );
    this.#last = db.prepare<[], { n: number }>(`SELECT coalesce(max(n), 0) AS n FROM outgoing`);
    this.#unfetched = db.prepare<{ endpoint: string; after: number }, { count: number; bytes: number }>(
      `SELECT count(*) AS count, coalesce(sum(bytes), 0) AS bytes FROM outgoing INDEXED BY outgoing_kept
       WHERE endpoint = :endpoint AND state = 'kept' AND n > :after`,
    );
    this.#setFetched = db.prepare<{ endpoint: string; n: number }>(
      `INSERT INTO fetched (endpoint, n) VALUES (:endpoint, :n)
       ON CONFLICT (endpoint) DO UPDATE SET n = excluded.n WHERE excluded.n > fetched.n`,
    );
    this.#fetched = db.prepare<{ endpoint: string }, { n: number }>(`SELECT n FROM fetched WHERE endpoint = :endpoint`);
    this.#forgetFetched = db.prepare<{ endpoint: string; fetched: number; keep: number }>(
      `DELETE FROM outgoing WHERE endpoint = :endpoint AND state = 'kept' AND n <= :fetched AND n <=
         (SELECT n FROM outgoing WHERE endpoint = :endpoint AND state = 'kept' ORDER BY n DESC LIMIT 1 OFFSET :keep)`,
    );
    this.#forgetPosted = db.prepare<{ endpoint: string; keep: number }>(
      `DELETE FROM outgoing WHERE endpoint = :endpoint AND state <> 'kept' AND n <=
         (SELECT n FROM outgoing WHERE endpoint = :endpoint AND state <> 'kept' ORDER BY n DESC LIMIT 1 OFFSET :keep)`,
    );
  }

  /** Stores what came in under its id, unless it is there; then the first copy is the one that counts. */
  storeIncoming(endpoint: string, message: WebhookMessage, digest: string, timestamp: number): StoredIncoming {
    const content = JSON.stringify(message);
    this.#insertIncoming.run({ endpoint, id: message.id, digest, content, bytes: content.length, timestamp });
    const row = this.#findIncoming.get({ endpoint, id: message.id });
    if (row === undefined) throw new Error(`The message ${message.id} was stored but cannot be read back.`);
    if (row.digest !== digest) return { type: 'conflict' };
    return row.isPending === 1 ? { type: 'pending', n: row.n } : { type: 'received' };
  }

  /** Whether there is anything under this id, whatever became of it. */
  isOfProgram(endpoint: string, id: string): boolean {
    return this.#isOfProgram.get({ endpoint, id }) !== undefined;
  }

  /** `undefined` once the host has it. */
  pending(n: number): Pending | undefined {
    const row = this.#pending.get({ n });
    if (row === undefined) return undefined;
    return { n, endpoint: row.endpoint, timestamp: row.timestamp, message: JSON.parse(row.content) as WebhookMessage };
  }

  /** All that the host was never confirmed to have, oldest first. */
  allPending(): { n: number; endpoint: string }[] {
    return this.#allPending.all();
  }

  /** Notes that the host has it, for good. Only its id stays. */
  markReceived(n: number): void {
    this.#markReceived.run({ n });
  }

  /** How much of an endpoint the host was never confirmed to have. */
  waiting(endpoint: string): { count: number; bytes: number } {
    return this.#waiting.get({ endpoint }) ?? { count: 0, bytes: 0 };
  }

  /** Forgets the ids of what the host has, but for the newest `keep` and for those since `before`. */
  forgetIncoming(endpoint: string, keep: number, before: number): void {
    this.#forgetIncoming.run({ endpoint, keep, before });
  }

  /** Stores what goes out under its key, unless it is there. */
  storeOutgoing(message: NewOutgoing): StoredOutgoing {
    this.#insertOutgoing.run({ ...message, bytes: message.content.length });
    const row = this.outgoing(message.key);
    if (row === undefined)
      throw new Error(`The message with the key ${message.key} was stored but cannot be read back.`);
    return row;
  }

  outgoing(key: string): StoredOutgoing | undefined {
    return this.#findOutgoing.get({ key });
  }

  /** Whether a message of the bot at this endpoint has this number, and can be changed. */
  isOfBot(endpoint: string, n: number): boolean {
    return this.#isOfBot.get({ endpoint, n }) !== undefined;
  }

  /** The callback has it: only its key stays. */
  markPosted(n: number): void {
    this.#setState.run({ n, state: 'posted' });
  }

  /** The endpoint has no callback any more. */
  markKept(n: number): void {
    this.#setState.run({ n, state: 'kept' });
  }

  /** The callback will never take it. */
  forgetPosting(n: number): void {
    this.#deleteOutgoing.run({ n });
  }

  /** What is kept after number `after`, in order. */
  keptAfter(endpoint: string, after: number, limit: number): Kept[] {
    return this.#keptAfter.all({ endpoint, after, limit });
  }

  /** The number of the newest message to any endpoint; 0 when there is none. */
  lastNumber(): number {
    return this.#last.get()?.n ?? 0;
  }

  /** How much is kept that the program was never confirmed to have. */
  unfetched(endpoint: string): { count: number; bytes: number } {
    const after = this.#fetched.get({ endpoint })?.n ?? 0;
    return this.#unfetched.get({ endpoint, after }) ?? { count: 0, bytes: 0 };
  }

  /** The program has everything up to `n`. Of that only the newest `keep` stay. */
  markFetched(endpoint: string, n: number, keep: number): void {
    if (this.#setFetched.run({ endpoint, n }).changes === 1) {
      this.#forgetFetched.run({ endpoint, fetched: n, keep });
    }
  }

  /** Forgets what has gone to a callback, but for the newest `keep`. */
  forgetPosted(endpoint: string, keep: number): void {
    this.#forgetPosted.run({ endpoint, keep });
  }

  /** Closes the file and lets go of the lock. */
  [Symbol.dispose](): void {
    this.#db.close();
  }
}

/** One step from each version of the file to the next. What was published is never changed, only added to. */
const STEPS: readonly string[] = [
  `
  -- What programs said. A row with a content is handed to the host again at its next start.
  CREATE TABLE incoming (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    endpoint TEXT NOT NULL,
    id TEXT NOT NULL,           -- the program's: the same message however often it is sent
    digest TEXT NOT NULL,       -- of the content: the same id for something else is refused
    content TEXT,               -- JSON; null once the host has it
    bytes INTEGER NOT NULL,     -- of the content
    timestamp INTEGER NOT NULL, -- epoch milliseconds of the first copy
    UNIQUE (endpoint, id)
  ) STRICT;
  CREATE INDEX incoming_pending ON incoming (endpoint, n, bytes) WHERE content IS NOT NULL;
  CREATE INDEX incoming_of_endpoint ON incoming (endpoint, n);

  -- Messages to programs.
  CREATE TABLE outgoing (
    n INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: programs remember the last one they have fetched
    key TEXT NOT NULL UNIQUE,            -- the host's: a repeated attempt finds its first one
    endpoint TEXT NOT NULL,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    content TEXT NOT NULL,               -- JSON; empty once posted
    bytes INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('kept', 'posting', 'posted'))
  ) STRICT;
  CREATE INDEX outgoing_kept ON outgoing (endpoint, n, bytes) WHERE state = 'kept';
  CREATE INDEX outgoing_posted ON outgoing (endpoint, n) WHERE state <> 'kept';

  -- How far each program has come.
  CREATE TABLE fetched (
    endpoint TEXT NOT NULL PRIMARY KEY,
    n INTEGER NOT NULL
  ) STRICT;
`,
];
