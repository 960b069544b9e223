/**
 * What is on the disk while a history is recorded: as its processes see it, and what of it a power cut may take back,
 * because it was not synced. Contents are kept by their paths below the history's folder.
 */
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { type Committed, cutOff, type Image, type Synchronous, tornBetween } from './sqlite/commits.ts';

/** What a machine finds when it starts again. */
export interface DiskImage {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly directories: ReadonlySet<string>;
}

/** A change of a directory that is not synced, and how a power cut undoes it. */
interface Entry {
  readonly directory: string;
  readonly undo: (files: Map<string, Buffer>, directories: Set<string>) => void;
}

export class Disk {
  readonly #root: string;
  readonly #files = new Map<string, Buffer>();
  readonly #directories = new Set<string>();
  /** Files whose contents are not synced, with what was: nothing yet for a new one. */
  readonly #unsynced = new Map<string, Buffer | undefined>();
  /** In their order: a journaling file system keeps a first part of them. */
  #entries: Entry[] = [];

  /** Takes what is in `root` as synced. */
  constructor(root: string) {
    this.#root = root;
    for (const entry of readdirSync(root, { withFileTypes: true, recursive: true })) {
      const path = relative(root, join(entry.parentPath, entry.name));
      if (entry.isDirectory()) this.#directories.add(path);
      else if (!path.endsWith('-shm')) this.#files.set(path, readFileSync(join(root, path)));
    }
  }

  /** As a kill of everybody leaves it. */
  image(): DiskImage {
    return { files: new Map(this.#files), directories: new Set(this.#directories) };
  }

  /** As a kill of everybody leaves it with one database in the middle of a commit. */
  imageWith(path: string, { database, journal }: Image): DiskImage {
    const files = new Map(this.#files);
    put(files, this.#place(path), database);
    put(files, `${this.#place(path)}-journal`, journal);
    return { files, directories: new Set(this.#directories) };
  }

  /** As a power cut may leave it: of what is not synced, `share` (from 0 up to 1) draws what stays. */
  powerCut(share: () => number, within?: Committed): DiskImage[] {
    const middles = within === undefined ? [undefined] : cutOff(within, share);
    return middles.map((middle) => {
      const { files, directories } =
        within === undefined || middle === undefined ? this.image() : this.imageWith(within.path, middle);
      const left = new Map(files);
      const places = new Set(directories);
      for (const [path, synced] of this.#unsynced) {
        const now = left.get(path);
        if (now !== undefined) put(left, path, survivor(path, synced, now, share));
      }
      const kept = Math.floor(share() * (this.#entries.length + 1));
      for (const entry of this.#entries.slice(kept).toReversed()) entry.undo(left, places);
      return { files: left, directories: places };
    });
  }

  /** Whether a power cut would leave anything else than a kill. */
  get isSynced(): boolean {
    return this.#unsynced.size === 0 && this.#entries.length === 0;
  }

  /** Something was made, written, removed or given another name at a path: looks at what is there now. */
  changed(path: string): void {
    const place = this.#place(path);
    if (place.startsWith('..') || place === '') return;
    const stats = existsSync(path) ? lstatSync(path) : undefined;
    if (stats?.isDirectory() === true) this.#madeDirectory(place);
    else if (stats?.isFile() === true) this.#wrote(place, readFileSync(path));
    else this.#removed(place);
  }

  /** A file has got another name: what of it is synced stays so, and the name is not. */
  renamed(from: string, to: string): void {
    const [source, target] = [this.#place(from), this.#place(to)];
    const contents = this.#files.get(source);
    // Directories are made in their places and never moved.
    if (contents === undefined) return this.changed(to);
    const before = this.#files.get(target);
    this.#files.delete(source);
    this.#files.set(target, contents);
    const isSynced = !this.#unsynced.has(source);
    const synced = this.#unsynced.get(source);
    this.#unsynced.delete(source);
    if (isSynced) this.#unsynced.delete(target);
    else this.#unsynced.set(target, synced);
    const undo: Entry['undo'] = (files) => {
      put(files, target, before);
      files.set(source, contents);
    };
    this.#entries.push({ directory: directoryOf(target), undo });
  }

  /** A file's contents, or a directory's entries, are on disk from now on. */
  synced(path: string): void {
    const place = this.#place(path);
    if (this.#directories.has(place) || place === '')
      this.#entries = this.#entries.filter((one) => one.directory !== place);
    else {
      this.changed(path);
      this.#unsynced.delete(place);
    }
  }

  /** A session's file has committed. */
  committed({ path, images, synchronous }: Committed): void {
    const place = this.#place(path);
    const after = images.at(-1)?.database;
    if (after === undefined || images.length === 1) return;
    this.#wrote(place, after);
    if (synchronous === 0) return;
    this.#unsynced.delete(place);
    // The sync of a new journal syncs its directory, with all that was made there before.
    this.#entries = this.#entries.filter((one) => one.directory !== dirname(place));
    const journal = images.at(-2)?.journal;
    if (synchronous === 3 || journal === undefined) return;
    // Only EXTRA syncs the directory after the journal's removal: until the next commit it may come back.
    this.#entries.push({ directory: dirname(place), undo: (files) => void files.set(`${place}-journal`, journal) });
  }

  /** Another database has committed; in WAL mode into a log beside it, which is synced before the file is written to. */
  committedElsewhere(path: string, synchronous: Synchronous): void {
    const log = `${path}-wal`;
    const before = this.#files.get(this.#place(path));
    this.changed(path);
    this.changed(log);
    const hasLog = this.#files.has(this.#place(log));
    const isCheckpoint = before?.equals(this.#files.get(this.#place(path)) ?? Buffer.alloc(0)) !== true;
    if (synchronous >= (hasLog ? 1 : 2)) this.#unsynced.delete(this.#place(path));
    if (synchronous >= 2 || (synchronous === 1 && isCheckpoint)) this.#unsynced.delete(this.#place(log));
    if (synchronous >= 1)
      this.#entries = this.#entries.filter((entry) => entry.directory !== directoryOf(this.#place(path)));
  }

  #wrote(place: string, now: Buffer): void {
    const before = this.#files.get(place);
    this.#files.set(place, now);
    if (before?.equals(now) === true) return;
    if (!this.#unsynced.has(place)) this.#unsynced.set(place, before);
    if (before === undefined) this.#made(place);
  }

  #madeDirectory(place: string): void {
    if (place === '.' || place === '' || this.#directories.has(place)) return;
    this.#madeDirectory(dirname(place));
    this.#directories.add(place);
    this.#made(place);
  }

  #made(place: string): void {
    const undo: Entry['undo'] = (files, directories) => {
      files.delete(place);
      directories.delete(place);
      for (const file of files.keys()) if (file.startsWith(`${place}/`)) files.delete(file);
      for (const directory of directories) if (directory.startsWith(`${place}/`)) directories.delete(directory);
    };
    this.#entries.push({ directory: directoryOf(place), undo });
  }

  #removed(place: string): void {
    for (const file of this.#files.keys()) {
      if (file !== place && !file.startsWith(`${place}/`)) continue;
      const was = this.#unsynced.has(file) ? this.#unsynced.get(file) : this.#files.get(file);
      this.#files.delete(file);
      this.#unsynced.delete(file);
      this.#entries.push({ directory: directoryOf(file), undo: (files) => void put(files, file, was) });
    }
    for (const directory of this.#directories) {
      if (directory !== place && !directory.startsWith(`${place}/`)) continue;
      this.#directories.delete(directory);
      this.#entries.push({ directory: directoryOf(directory), undo: (_, places) => void places.add(directory) });
    }
  }

  #place(path: string): string {
    return relative(this.#root, path);
  }
}

/** As `relative` names it: the history's own folder is the empty one. */
function directoryOf(place: string): string {
  const directory = dirname(place);
  return directory === '.' ? '' : directory;
}

function put(files: Map<string, Buffer>, path: string, contents: Buffer | undefined): void {
  if (contents === undefined) files.delete(path);
  else files.set(path, contents);
}

/** What is left of a file that was not synced: what it was, what it is, or, of a database, a bit of both. */
function survivor(path: string, synced: Buffer | undefined, now: Buffer, share: () => number): Buffer {
  const which = share();
  if (which < 0.4) return now;
  if (which < 0.7) return synced ?? Buffer.alloc(0);
  return path.endsWith('.db') ? tornBetween(synced ?? Buffer.alloc(0), now, PAGE, share) : Buffer.alloc(now.length);
}

/** SQLite's page unless it is told otherwise. */
const PAGE = 4_096;
