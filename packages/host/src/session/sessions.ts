/**
 * The sessions this host knows: their folders, their files, their bells. A session's file is opened when it is used and
 * closed when the session is idle, so that an idle session costs no file handle.
 */
import type { AgentGroupId, Registry, Session, SessionId, SessionKey } from '@nanoclaw/registry';
import {
  createSession,
  Doorbell,
  HostSession,
  type OutboundReader,
  type SessionFolder,
  type SetTimer,
  sessionFolder,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import type { DataFolder } from '../data/index.ts';
import { isSessionTrouble } from '../errors/index.ts';

/** One session of this host. */
export class SessionHandle {
  /** Its id in the registry. */
  readonly id: SessionId;
  /** The agent that it belongs to. */
  readonly agentGroupId: AgentGroupId;
  /** Which conversation of the agent it is. */
  readonly key: SessionKey;
  /** Where its files are. */
  readonly folder: SessionFolder;
  /** Reads what the session's runner wrote. */
  readonly reader: OutboundReader;
  readonly #onUse: (handle: SessionHandle) => void;
  #files: HostSession | undefined;

  /** `onUse` is called at each use of its file. */
  constructor(session: Session, folder: SessionFolder, reader: OutboundReader, onUse: (handle: SessionHandle) => void) {
    this.#onUse = onUse;
    this.id = session.id;
    this.agentGroupId = session.key.agentGroupId;
    this.key = session.key;
    this.folder = folder;
    // A journal left by a run that is confirmed dead is recovered in a private copy; a live one's is its own.
    this.reader = { read: (request) => reader.read({ ...request, runEnded: this.files.liveRun() === undefined }) };
  }

  /**
   * The session's own file, opened when it is closed. To be used within one synchronous block and not kept. Throws
   * `SqliteError` when it cannot be opened.
   */
  get files(): HostSession {
    this.#files ??= HostSession.open(this.folder, openSqlite);
    this.#onUse(this);
    return this.#files;
  }

  /** Closes the file until it is used again. */
  closeFile(): void {
    this.#files?.[Symbol.dispose]();
    this.#files = undefined;
  }
}

/** What `Sessions` needs. */
export interface SessionsOptions {
  /** Keeps which sessions there are. */
  readonly registry: Registry;
  /** Where their folders are. */
  readonly data: DataFolder;
  /** For the fallback polls of the bells. */
  readonly setTimer: SetTimer;
  /** Reads what a session's runner wrote. */
  readonly readerFor: (folder: SessionFolder) => OutboundReader;
  /** How many of their files are open at once, at least 2: beyond that the one unused for longest is closed until it is used. */
  readonly openMax: number;
  /** Called once for each session that becomes known to this host. Must not throw. */
  readonly onKnown: (session: SessionHandle) => void;
  /** Called when the session's runner has committed something. Must not throw. */
  readonly onRing: (sessionId: string) => void;
}

/** All sessions of a host. */
export class Sessions implements Disposable {
  readonly #options: SessionsOptions;
  readonly #known = new Map<string, SessionHandle>();
  readonly #bells = new Map<string, Doorbell>();
  /** Whose files may be open, the one used last at the end. */
  readonly #used = new Set<SessionHandle>();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** Makes every session of the registry known. */
  async loadAll(): Promise<readonly SessionHandle[]> {
    return (await this.#options.registry.sessions()).map((session) => this.#handle(session));
  }

  /** The session of a key, made where there is none. */
  async forKey(key: SessionKey): Promise<SessionHandle> {
    return this.#handle(await this.#options.registry.sessionFor(key));
  }

  /** The session; `undefined` when this host does not know it. */
  known(id: string): SessionHandle | undefined {
    return this.#known.get(id);
  }

  /** Every session that this host knows. */
  all(): readonly SessionHandle[] {
    return [...this.#known.values()];
  }

  /** The known sessions of an agent group. */
  of(agentGroupId: AgentGroupId): readonly SessionHandle[] {
    return this.all().filter((session) => session.agentGroupId === agentGroupId);
  }

  /** Closes a session that is removed. Its run must be gone. */
  forget(id: string): void {
    this.unlisten(id);
    const handle = this.#known.get(id);
    if (handle !== undefined) this.#used.delete(handle);
    handle?.closeFile();
    this.#known.delete(id);
  }

  /** Listens for the session's runner while it has one. */
  listen(session: SessionHandle): void {
    if (this.#bells.has(session.id)) return;
    const onRing = () => this.#options.onRing(session.id);
    this.#bells.set(session.id, new Doorbell(session.folder.outbound, onRing, { setTimer: this.#options.setTimer }));
  }

  /** Stops listening: the session has no runner. */
  unlisten(sessionId: string): void {
    this.#bells.get(sessionId)?.[Symbol.dispose]();
    this.#bells.delete(sessionId);
  }

  /** Closes all bells and files. */
  [Symbol.dispose](): void {
    for (const id of this.#bells.keys()) this.unlisten(id);
    for (const session of this.#known.values()) session.closeFile();
    this.#known.clear();
  }

  #noteUse(handle: SessionHandle): void {
    this.#used.delete(handle);
    this.#used.add(handle);
    if (this.#used.size <= this.#options.openMax) return;
    const [oldest] = this.#used;
    if (oldest === undefined) return;
    this.#used.delete(oldest);
    oldest.closeFile();
  }

  #handle(session: Session): SessionHandle {
    const known = this.#known.get(session.id);
    if (known) return known;
    const folder = folderAt(this.#options.data.session(session.key.agentGroupId, session.id));
    const reader = this.#options.readerFor(folder);
    const handle = new SessionHandle(session, folder, reader, (used) => this.#noteUse(used));
    this.#known.set(session.id, handle);
    this.#options.onKnown(handle);
    return handle;
  }
}

/** The folder of a session. One that cannot be made is in trouble at its first use, and keeps no other from being known. */
function folderAt(root: string): SessionFolder {
  try {
    return createSession(root);
  } catch (error) {
    if (!isSessionTrouble(error)) throw error;
    return sessionFolder(root);
  }
}
