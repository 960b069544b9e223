/**
 * Whether the mount works: host writes n, the runner must see n, and back. Asked at a start, before a session is
 * trusted to a way of mounting that may serve old pages, lose locks, or be mounted the wrong way round.
 *
 * Each side writes a `probe.db` of its own beside its database, opened as that is, so that the session is not touched.
 * At least two rounds: the first may succeed on a mount that freezes after it.
 */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import type { InboundFolder, OutboundFolder, SessionFolder } from './folder.ts';
import { inTransaction, openOwnFile } from './open.ts';
import { errorCode } from './plain-file.ts';
import { schemaText } from './schema.ts';
import { type OpenSqlite, type Sqlite, SqliteError } from './sqlite/index.ts';
import { type OutboundFinding, readUntrusted } from './untrusted.ts';

/** The host's half: writes `n`, a whole number above all it has written before. Throws `SqliteError` when it cannot. */
export function askProbe(folder: SessionFolder, openSqlite: OpenSqlite, n: number): void {
  writeProbe(openSqlite, join(folder.inbound.root, PROBE), { n, peerWritable: null });
}

/** What the runner's half did. */
export type ProbeEcho =
  | { readonly type: 'echoed'; readonly n: number }
  /** The host's file is not there, or not readable just now: again in a moment, in vain for ever on a broken mount. */
  | { readonly type: 'unseen'; readonly finding: OutboundFinding }
  /** The runner's own directory cannot be written: the mount is read-only, or of another user. */
  | { readonly type: 'unwritable'; readonly reason: string };

/** The runner's half: writes back the number that it sees, and whether it could write where it may only read. */
export function echoProbe(
  folders: { readonly inbound: InboundFolder; readonly outbound: OutboundFolder },
  openSqlite: OpenSqlite,
): ProbeEcho {
  const seen = readProbe(openSqlite, join(folders.inbound.root, PROBE));
  if (seen.type !== 'probe') return { type: 'unseen', finding: seen };
  const peerWritable = mayWrite(folders.inbound.root) ? 1 : 0;
  try {
    writeProbe(openSqlite, join(folders.outbound.root, PROBE), { n: seen.n, peerWritable });
    return { type: 'echoed', n: seen.n };
  } catch (error) {
    if (error instanceof SqliteError) return { type: 'unwritable', reason: `${error.code}: ${error.message}` };
    throw error;
  }
}

export type ProbeVerdict =
  /** Seen and answered. `inboundWritable`: the runner could write the host's directory, so it is no sandbox. */
  | { readonly type: 'works'; readonly inboundWritable: boolean }
  /** No answer yet. `seen` is the last number that came back; `undefined`: none ever did. */
  | { readonly type: 'unanswered'; readonly seen: number | undefined }
  /** The runner's file cannot be read. */
  | { readonly type: 'unreadable'; readonly finding: OutboundFinding };

/** The host's verdict on `n`, for as often as it has the patience to look. */
export function probeVerdict(folder: SessionFolder, openSqlite: OpenSqlite, n: number): ProbeVerdict {
  const answer = readProbe(openSqlite, join(folder.outbound.root, PROBE));
  switch (answer.type) {
    case 'probe':
      return answer.n === n
        ? { type: 'works', inboundWritable: answer.peerWritable === 1 }
        : { type: 'unanswered', seen: answer.n };
    case 'absent':
    case 'busy':
      return { type: 'unanswered', seen: undefined };
    default:
      return { type: 'unreadable', finding: answer };
  }
}

const PROBE = 'probe.db';

interface Probe {
  readonly n: number;
  /** Of the runner: 1 when it may write the host's directory. */
  readonly peerWritable: 0 | 1 | null;
}

const PROBE_SCHEMA =
  'CREATE TABLE probe (one INTEGER PRIMARY KEY CHECK (one = 1), n INTEGER NOT NULL, peer_writable INTEGER) STRICT';

function writeProbe(openSqlite: OpenSqlite, path: string, { n, peerWritable }: Probe): void {
  const db = openOwnFile(openSqlite, path);
  try {
    inTransaction(db, () => {
      if (schemaText(db) === '') db.exec(PROBE_SCHEMA);
      db.run(
        `INSERT INTO probe (one, n, peer_writable) VALUES (1, :n, :peerWritable)
         ON CONFLICT (one) DO UPDATE SET n = excluded.n, peer_writable = excluded.peer_writable`,
        { n, peerWritable },
      );
    });
  } finally {
    db.close();
  }
}

function readProbe(openSqlite: OpenSqlite, path: string): (Probe & { readonly type: 'probe' }) | OutboundFinding {
  return readUntrusted({ path, bytesMax: 2 ** 20, schema: probeSchema }, openSqlite, (db) => {
    const row = db.all<Probe>('SELECT n, peer_writable AS peerWritable FROM probe')[0];
    return row ? { type: 'probe', ...row } : { type: 'absent' };
  });
}

function probeSchema(db: Sqlite): OutboundFinding | undefined {
  const text = schemaText(db);
  // Made, and its first transaction not committed.
  if (text === '') return { type: 'absent' };
  return text === `table probe probe ${PROBE_SCHEMA}`
    ? undefined
    : { type: 'foreign-schema', detail: 'The schema of probe.db is not ours.' };
}

function mayWrite(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch (error) {
    if (errorCode(error) !== undefined) return false;
    throw error;
  }
}
