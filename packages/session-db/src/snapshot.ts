/**
 * A session as of one moment, in a folder of its own: both databases and the attachments, under one manifest with sizes
 * and hashes; and a session made from it again, which goes on where the snapshot was taken.
 *
 * The databases are copied byte for byte while both are held for reading, so that neither writer can commit: one cut
 * through both files. (`VACUUM INTO` would need no more rights, but it executes what it reads, and the runner's schema
 * and pages are untrusted; and it is some ten times slower, with the writers kept waiting.)
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ATTACHMENT_LIMITS, isFileName } from './attachments.ts';
import { Directory } from './beneath.ts';
import { createSession, type SessionFolder, sessionFolder } from './folder.ts';
import type { Json } from './messages.ts';
import { openOwnFile, openPeerFile } from './open.ts';
import {
  copyFile,
  type FileProblem,
  type OpenedFile,
  openPlainFile,
  readBytes,
  syncDirectory,
  writeAll,
} from './plain-file.ts';
import { recoveredCopy } from './recovery.ts';
import { INBOUND_MIGRATIONS, INBOUND_VERSION, migrate, userVersion } from './schema.ts';
import { isBusy, type OpenSqlite, type Sqlite } from './sqlite/index.ts';
import type { Millis } from './time.ts';
import { OUTBOUND_LIMITS, type OutboundFinding, outboundSchema, readUntrusted } from './untrusted.ts';

/** What a snapshot holds. */
export interface Manifest {
  /** The schema version of its `inbound.db`. */
  readonly protocolVersion: number;
  readonly takenAt: Millis;
  /** Every file beside the manifest, in the order of the paths. */
  readonly files: readonly ManifestFile[];
}

export interface ManifestFile {
  /** From the snapshot's folder, with `/`. */
  readonly path: string;
  readonly bytes: number;
  /** In hexadecimal. */
  readonly sha256: string;
}

export type SnapshotResult =
  | {
      readonly type: 'taken';
      readonly manifest: Manifest;
      /** What the container left in a state in which it is not copied. */
      readonly leftOut: readonly { readonly path: string; readonly reason: string }[];
    }
  /** Nothing was written. `busy`, `hot-journal`: again in a moment. */
  | { readonly type: 'not-taken'; readonly why: 'busy' | 'hot-journal' | 'exists' };

/**
 * Takes a snapshot of a session into the new folder `into`, whatever host and runner are doing. The folder appears whole
 * or not at all. Synchronous, and both writers wait for as long as the copying of the databases takes.
 *
 * `runEnded`: no run is live, so that a commit which one did not live to end is rolled back in the copy. A container's
 * file that cannot be trusted is left out and does not keep the rest from being saved.
 *
 * Throws `SqliteError` when `inbound.db` is damaged, and the file system's error when `into` cannot be written.
 */
export function snapshotSession(
  folder: SessionFolder,
  into: string,
  openSqlite: OpenSqlite,
  taken: { readonly takenAt: Millis; readonly runEnded: boolean },
): SnapshotResult {
  if (existsSync(into)) return { type: 'not-taken', why: 'exists' };
  const partial = `${into}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true, mode: 0o700 });
  try {
    const copy = new Copy(partial);
    // Before the databases, for those that are removed meanwhile, and after, for those that have come.
    copyAttachments(folder, copy);
    const protocolVersion = copyDatabases(folder, openSqlite, copy, taken.runEnded);
    if (typeof protocolVersion === 'string') return { type: 'not-taken', why: protocolVersion };
    copyAttachments(folder, copy);

    const manifest: Manifest = { protocolVersion, takenAt: taken.takenAt, files: copy.files() };
    writeSynced(join(partial, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
    copy.sync();
    renameSync(partial, into);
    syncDirectory(dirname(into));
    return { type: 'taken', manifest, leftOut: copy.leftOut() };
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

const MANIFEST = 'manifest.json';
const INBOUND = 'inbound/inbound.db';
const OUTBOUND = 'outbound/outbound.db';
const TREES = ['inbound/files', 'outbound/files', 'host/spool'] as const;

/** Gives the schema version of `inbound.db`, or why not now. */
function copyDatabases(
  folder: SessionFolder,
  openSqlite: OpenSqlite,
  copy: Copy,
  runEnded: boolean,
): number | 'busy' | 'hot-journal' {
  const opened = openPlainFile(folder.inbound.database, Number.MAX_SAFE_INTEGER);
  if (opened.type !== 'opened') throw new Error(`${folder.inbound.database} is ${opened.type}. Nothing was written.`);
  // Closed after the database: closing any descriptor of a file drops SQLite's locks on it.
  using file = opened;
  let db: Sqlite | undefined;
  try {
    db = openPeerFile(openSqlite, folder.inbound.database);
    db.exec('BEGIN');
    const version = userVersion(db);
    // The host cannot commit from here on; when the runner cannot either, this is the moment of the snapshot.
    const finding = copyOutbound(folder, openSqlite, copy, runEnded);
    if (finding?.type === 'busy' || finding?.type === 'hot-journal') return finding.type;
    if (finding && finding.type !== 'absent') copy.leave(OUTBOUND, reasonOf(finding));
    copy.add(INBOUND, file);
    return version;
  } catch (error) {
    if (isBusy(error)) return 'busy';
    throw error;
  } finally {
    db?.close();
  }
}

function copyOutbound(
  folder: SessionFolder,
  openSqlite: OpenSqlite,
  copy: Copy,
  runEnded: boolean,
): OutboundFinding | undefined {
  const copyOf = (path: string): OutboundFinding | undefined =>
    readUntrusted(
      { path, bytesMax: OUTBOUND_LIMITS.fileBytesMax, schema: outboundSchema(openSqlite) },
      openSqlite,
      (_, { file }) => copy.add(OUTBOUND, file),
    );
  const finding = copyOf(folder.outbound.database);
  if (finding?.type !== 'hot-journal' || !runEnded) return finding;

  const into = join(copy.root, 'recovery');
  try {
    const recovered = recoveredCopy(folder.outbound.database, into, openSqlite, OUTBOUND_LIMITS.fileBytesMax);
    return recovered.type === 'recovered' ? copyOf(recovered.path) : recovered;
  } finally {
    rmSync(into, { recursive: true, force: true });
  }
}

function reasonOf(finding: OutboundFinding): string {
  return 'detail' in finding ? finding.detail : `It is ${finding.type}.`;
}

function copyAttachments(folder: SessionFolder, copy: Copy): void {
  using session = Directory.open(folder.root);
  for (const tree of TREES) {
    const [side, name] = tree.split('/');
    if (side === undefined || name === undefined) continue;
    using owner = session?.directory(side);
    using files = owner?.directory(name);
    for (const message of files?.names(ENTRIES_MAX) ?? []) {
      using directory = files?.directory(message);
      if (!directory || !isFileName(message)) copy.leave(`${tree}/${message}`, 'It is not the directory of a message.');
      else copyMessageFiles(directory, `${tree}/${message}`, copy);
    }
  }
}

function copyMessageFiles(directory: Directory, path: string, copy: Copy): void {
  for (const name of directory.names(ATTACHMENT_LIMITS.countMax)) {
    if (!isFileName(name) || copy.has(`${path}/${name}`)) continue;
    const file = directory.file(name, Math.min(ATTACHMENT_LIMITS.bytesMax, copy.attachmentBytesLeft));
    if (file.type === 'opened') {
      using source = file;
      copy.add(`${path}/${name}`, source);
      copy.attachmentBytesLeft -= source.bytes;
    } else if (file.type !== 'absent') copy.leave(`${path}/${name}`, reasonOf(file));
  }
}

/** Messages with files in one tree: more than any session has at once that its own runner wrote. */
const ENTRIES_MAX = 10_000;

/** The folder of a snapshot while it is made. */
class Copy {
  readonly root: string;
  /** What attachments may still take: the container can fill its folder, and this is not to fill the host's disk. */
  attachmentBytesLeft = 2 ** 31;
  readonly #files = new Map<string, ManifestFile>();
  readonly #leftOut = new Map<string, string>();

  constructor(root: string) {
    this.root = root;
  }

  has(path: string): boolean {
    return this.#files.has(path);
  }

  add(path: string, file: OpenedFile): undefined {
    const to = join(this.root, path);
    mkdirSync(dirname(to), { recursive: true });
    this.#files.set(path, { path, ...hashedCopy(file, to, 0o600) });
    this.#leftOut.delete(path);
  }

  leave(path: string, reason: string): void {
    this.#leftOut.set(path, reason);
  }

  files(): ManifestFile[] {
    return [...this.#files.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }

  leftOut(): { path: string; reason: string }[] {
    return [...this.#leftOut].map(([path, reason]) => ({ path, reason }));
  }

  /** Syncs the directories to disk; the files are. */
  sync(): void {
    const directories = new Set<string>([this.root]);
    for (const path of this.#files.keys()) {
      for (let at = dirname(path); at !== '.'; at = dirname(at)) directories.add(join(this.root, at));
    }
    for (const directory of directories) syncDirectory(directory);
  }
}

function hashedCopy(file: OpenedFile, to: string, mode: number): { readonly bytes: number; readonly sha256: string } {
  const hash = createHash('sha256');
  const bytes = copyFile(file, to, mode, (piece) => void hash.update(piece));
  return { bytes, sha256: hash.digest('hex') };
}

function writeSynced(path: string, text: string): void {
  const descriptor = openSync(path, 'wx', 0o600);
  try {
    writeAll(descriptor, Buffer.from(text));
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

export type RestoreResult =
  | { readonly type: 'restored'; readonly folder: SessionFolder; readonly manifest: Manifest }
  /** Nothing was written. `detail` says what is wrong and what to do. */
  | { readonly type: 'not-restored'; readonly why: 'exists' | 'damaged' | 'too-new'; readonly detail: string };

/**
 * Makes the session `root` from the snapshot in `from`, every file verified against the manifest. The session appears
 * whole or not at all, and only where there is none: nothing is ever overwritten. It has no live run, whatever was live
 * when the snapshot was taken.
 *
 * What was sent after the snapshot was taken is sent again, because nothing in it says otherwise. Numbers that were given
 * after it are given again, so its generation is one that was never there before (`now`, or one more than in the snapshot). The files belong to
 * this user; the runner's must be able to write `outbound/`.
 *
 * Throws the file system's error when `root` cannot be written.
 */
export function restoreSession(from: string, root: string, openSqlite: OpenSqlite, now: Millis): RestoreResult {
  if (existsSync(root)) {
    return notRestored('exists', `${root} is there already: move it away first, or restore to another place.`);
  }
  using snapshot = Directory.open(from);
  const manifest = snapshot && manifestIn(snapshot);
  if (!snapshot || !manifest)
    return notRestored('damaged', `${from} is no snapshot: it has no manifest that can be read.`);
  if (manifest.protocolVersion > INBOUND_VERSION) {
    return notRestored(
      'too-new',
      `The snapshot has schema version ${manifest.protocolVersion} and this program reads up to ${INBOUND_VERSION}: ` +
        'restore it with the newer version.',
    );
  }
  const partial = `${root}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  try {
    const damage = copyBack(snapshot, manifest, partial) ?? takenOver(partial, openSqlite, now);
    if (damage !== undefined)
      return notRestored('damaged', `The snapshot in ${from} is damaged: ${damage} Use another.`);
    renameSync(partial, root);
    syncDirectory(dirname(root));
    return { type: 'restored', folder: sessionFolder(root), manifest };
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

function notRestored(why: 'exists' | 'damaged' | 'too-new', detail: string): RestoreResult {
  return { type: 'not-restored', why, detail: `${detail} Nothing was written.` };
}

/** What is damaged, as a sentence; `undefined`: nothing. */
function copyBack(snapshot: Directory, manifest: Manifest, to: string): string | undefined {
  for (const wanted of manifest.files) {
    const opened = fileIn(snapshot, wanted.path);
    if (opened.type !== 'opened') return `${wanted.path} is ${opened.type}.`;
    using file = opened;
    const path = join(to, wanted.path);
    mkdirSync(dirname(path), { recursive: true });
    // As a session has them: the runner reads what is in `inbound/`, mostly as another user.
    const { bytes, sha256 } = hashedCopy(file, path, 0o644);
    if (bytes !== wanted.bytes || sha256 !== wanted.sha256) return `${wanted.path} is not what was saved.`;
  }
  return undefined;
}

function fileIn(directory: Directory, path: string): OpenedFile | FileProblem {
  const [first = '', ...rest] = path.split('/');
  if (rest.length === 0) return directory.file(first, Number.MAX_SAFE_INTEGER);
  using next = directory.directory(first);
  return next ? fileIn(next, rest.join('/')) : { type: 'absent' };
}

/** Makes the copied files this host's: what is damaged, as a sentence, or `undefined`. */
function takenOver(root: string, openSqlite: OpenSqlite, now: Millis): string | undefined {
  const folder = createSession(root);
  const db = openOwnFile(openSqlite, folder.inbound.database);
  try {
    const check = db.all<{ quick_check: string }>('PRAGMA quick_check(1)')[0]?.quick_check;
    if (check !== 'ok') return `${INBOUND}: ${check}.`;
    migrate(db, INBOUND_MIGRATIONS);
    db.run(`UPDATE host_state SET run_id = NULL, run_started_at = NULL, generation = max(generation + 1, :now)`, {
      now,
    });
    return undefined;
  } finally {
    db.close();
  }
}

function manifestIn(snapshot: Directory): Manifest | undefined {
  const opened = snapshot.file(MANIFEST, 2 ** 24);
  if (opened.type !== 'opened') return undefined;
  using file = opened;
  return manifestOf(parsed(readBytes(file, 0, file.bytes).toString()));
}

function manifestOf(value: Json | undefined): Manifest | undefined {
  if (typeof value !== 'object' || value === null || !('files' in value)) return undefined;
  const { protocolVersion, takenAt, files } = value;
  if (!isCount(protocolVersion) || !isCount(takenAt) || !Array.isArray(files)) return undefined;
  const known = files.map(manifestFileOf).filter((file) => file !== undefined);
  const paths = new Set(known.map((file) => file.path));
  if (known.length !== files.length || paths.size !== files.length || !paths.has(INBOUND)) return undefined;
  return { protocolVersion, takenAt, files: known };
}

function manifestFileOf(value: Json): ManifestFile | undefined {
  if (typeof value !== 'object' || value === null || !('path' in value)) return undefined;
  const { path, bytes, sha256 } = value;
  if (typeof path !== 'string' || !isSnapshotPath(path) || !isCount(bytes) || typeof sha256 !== 'string')
    return undefined;
  return { path, bytes, sha256 };
}

/** A manifest from elsewhere may name any path: only those that a snapshot has are written. */
function isSnapshotPath(path: string): boolean {
  if (path === INBOUND || path === OUTBOUND) return true;
  const [side, files, message = '', name = '', ...rest] = path.split('/');
  const isInTree = TREES.some((tree) => tree === `${side}/${files}`);
  return isInTree && isFileName(message) && isFileName(name) && rest.length === 0;
}

function isCount(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
