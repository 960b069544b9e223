/**
 * The sessions this host knows: their folders, their files, their bells. A session's file is opened when it is used and
 * closed when the session is idle, so that an idle session costs no file handle.
 *
 * A container may hold a lock on its `inbound.db` for as long as it likes. So nothing here waits for one within SQLite: a
 * write that finds the file locked is made again a little later, for a limited time, while everything else goes on.
 */
import type { AgentGroupId, Registry, Session, SessionId, SessionKey } from '@nanoclaw/registry';
import {
  createSession,
  Doorbell,
  HostSession,
  isBusy,
  type Millis,
  type OutboundReader,
  type SessionFolder,
  type SessionView,
  type SetTimer,
  SqliteError,
  sessionFolder,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import type { DataFolder } from '../data/index.ts';
import { isSessionTrouble } from '../errors/index.ts';
import { Turns, type TurnUse } from './turns.ts';

/**
 * For how long the writes of a session are tried while its file is locked: an honest reader is done in a millisecond. Those that
 * come later find it locked without waiting, since a channel may wait for them with the messages of others in its hand.
 */
const LOCKED_MAX_MS: Millis = 1_000;
/** When a file has been locked for so long, and that was found so often, it is told: nothing honest takes so long. */
const TOLD_AFTER_MS: Millis = 5_000;
const TOLD_AFTER_TRIES = 8;
/** The wait before the second try; doubled each time. */
const NAP_MIN_MS: Millis = 2;
const NAP_MAX_MS: Millis = 250;

/** What the handles of all sessions share. */
interface HandlePorts extends Pick<SessionsOptions, 'setTimer' | 'monotonic' | 'onLocked'> {
  readonly turns: Turns;
  /** Called at each use of a session's file. */
  readonly onUse: (handle: SessionHandle) => void;
}

/** One session of this host. */
export class SessionHandle {
  /** Its id in the registry. */
  readonly id: SessionId;
  /** The agent that it belongs to. */
  readonly agentGroupId: AgentGroupId;
  /** Which conversation of the agent it is. */
  readonly key: SessionKey;
  /** Names the chat that it is in: sessions of one chat have the same, an agent's own for all its chats has none of theirs. */
  readonly chat: string;
  /** Where its files are. */
  readonly folder: SessionFolder;
  /** Reads what the session's runner wrote. */
  readonly reader: OutboundReader;
  readonly #ports: HandlePorts;
  #files: HostSession | undefined;
  /** The session's own file, and the runner's. */
  readonly #locked: Readonly<Record<LockedFile, LockRecord>>;

  constructor(session: Session, folder: SessionFolder, reader: OutboundReader, ports: HandlePorts) {
    this.#ports = ports;
    this.id = session.id;
    this.agentGroupId = session.key.agentGroupId;
    this.key = session.key;
    this.folder = folder;
    const record = (file: LockedFile) =>
      new LockRecord(ports.monotonic, (lockedMs) => ports.onLocked(this, file, lockedMs));
    this.#locked = { inbound: record('inbound'), outbound: record('outbound') };
    // A journal left by a run that is confirmed dead is recovered in a private copy; a live one's is its own.
    const hasEnded = () => this.files.liveRun() === undefined;
    this.reader = {
      read: async (request) => {
        const read = await reader.read({ ...request, runEnded: request.runEnded === true || hasEnded() });
        if (read.type === 'busy') this.#locked.outbound.note();
        else this.#locked.outbound.end();
        return read;
      },
    };
    this.chat = chatOf(session.key);
  }

  /**
   * The session's own file for looking at it, opened when it is closed. To be used within one synchronous block and not kept.
   * Throws `SqliteError` when it cannot be opened.
   */
  get files(): SessionView {
    return this.#open();
  }

  /**
   * Lends the session's own file to `use`, which may write and is done with it when it returns: in the session's turn, and
   * from its beginning again while another process has the file locked, for about a second. So `use` begins anew what it has
   * begun, and its last commit is the one whose outcome it gives. Rejects with what it throws: a `SqliteError` that says so
   * when the file stays locked (`isBusy`).
   */
  async write<T>(use: (files: HostSession) => T): Promise<T> {
    for (let napMs = NAP_MIN_MS; ; napMs = Math.min(napMs * 2, NAP_MAX_MS)) {
      try {
        return await this.#ports.turns.run(this.id, () => this.#use(use));
      } catch (error) {
        if (!(error instanceof SqliteError && isBusy(error))) throw error;
        const lockedMs = this.#locked.inbound.note();
        if (lockedMs >= LOCKED_MAX_MS) {
          const seconds = Math.round(lockedMs / 1_000);
          const what = `The session's inbound.db has been locked for ${seconds} s, by its agent as a rule; nothing was written.`;
          throw new SqliteError(error.code, what, { cause: error });
        }
      }
      await new Promise<void>((resolve) => this.#ports.setTimer(napMs, resolve));
    }
  }

  #use<T>(use: (files: HostSession) => T): TurnUse<T> {
    const files = this.#open();
    const before = files.rowsWritten();
    const value = use(files);
    const hasWritten = files.rowsWritten() !== before;
    if (hasWritten) this.#locked.inbound.end();
    return { value, hasWritten };
  }

  #open(): HostSession {
    this.#files ??= HostSession.open(this.folder, openSqlite);
    this.#ports.onUse(this);
    return this.#files;
  }

  /** Closes the file until it is used again. */
  closeFile(): void {
    this.#files?.[Symbol.dispose]();
    this.#files = undefined;
  }
}

/** Which file of a session is locked: the host's, by a reader that does not end; the runner's, by a writer that does not. */
export type LockedFile = 'inbound' | 'outbound';

/** Since when a file was found locked and how often, without having been free in between. */
class LockRecord {
  readonly #monotonic: () => number;
  readonly #onLong: (lockedMs: Millis) => void;
  #found: { readonly since: number; tries: number } | undefined;

  constructor(monotonic: () => number, onLong: (lockedMs: Millis) => void) {
    this.#monotonic = monotonic;
    this.#onLong = onLong;
  }

  /** It is locked. Gives for how long it has been, in milliseconds, and tells it when that is too long; then from anew. */
  note(): Millis {
    const now = this.#monotonic();
    const found = this.#found ?? { since: now, tries: 0 };
    found.tries += 1;
    this.#found = found;
    const lockedMs = now - found.since;
    if (lockedMs >= TOLD_AFTER_MS && found.tries >= TOLD_AFTER_TRIES) {
      this.#found = { since: now, tries: 0 };
      this.#onLong(lockedMs);
    }
    return lockedMs;
  }

  /** It was free. */
  end(): void {
    this.#found = undefined;
  }
}

function chatOf(key: SessionKey): string {
  return key.scope === 'agent' ? key.agentGroupId : key.messagingGroupId;
}

/** What `Sessions` needs. */
export interface SessionsOptions {
  /** Keeps which sessions there are. */
  readonly registry: Registry;
  /** Where their folders are. */
  readonly data: DataFolder;
  /** For the polls of the bells, turns, and naps before a locked file. */
  readonly setTimer: SetTimer;
  /** A clock that is never set, in milliseconds from anywhere. */
  readonly monotonic: () => number;
  /** Reads what a session's runner wrote. */
  readonly readerFor: (folder: SessionFolder) => OutboundReader;
  /** How many of their files are open at once, at least 2: beyond that the one unused for longest is closed until it is used. */
  readonly openMax: number;
  /** Called once for each session that becomes known to this host. Must not throw. */
  readonly onKnown: (session: SessionHandle) => void;
  /** Called when the session's runner has committed something. Must not throw. */
  readonly onRing: (sessionId: string) => void;
  /** The session's runner rings its bell without end. Must not throw. */
  readonly onFlood: (session: SessionHandle) => void;
  /** A file of the session has stayed locked for long: the host's cannot be written, the runner's not read. Must not throw. */
  readonly onLocked: (session: SessionHandle, file: LockedFile, lockedMs: Millis) => void;
}

/** All sessions of a host. */
export class Sessions implements Disposable {
  readonly #options: SessionsOptions;
  readonly #known = new Map<string, SessionHandle>();
  readonly #bells = new Map<string, Doorbell>();
  /** Whose files may be open, the one used last at the end. */
  readonly #used = new Set<SessionHandle>();
  /** How many sessions each agent and each chat has. */
  readonly #agents = new Map<string, number>();
  readonly #chats = new Map<string, number>();
  readonly #turns: Turns;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#turns = new Turns(options.setTimer);
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

  /** How many agents and how many chats have sessions. */
  get counts(): { readonly agents: number; readonly chats: number } {
    return { agents: this.#agents.size, chats: this.#chats.size };
  }

  /** Closes a session that is removed. Its run must be gone. */
  forget(id: string): void {
    this.unlisten(id);
    const session = this.#known.get(id);
    if (session === undefined) return;
    this.#used.delete(session);
    session.closeFile();
    this.#known.delete(id);
    countDown(this.#agents, session.agentGroupId);
    countDown(this.#chats, session.chat);
  }

  /** Listens for the session's runner while it has one. */
  listen(session: SessionHandle): void {
    if (this.#bells.has(session.id)) return;
    const { setTimer, onRing, onFlood } = this.#options;
    const options = { setTimer, onFlood: () => onFlood(session) };
    this.#bells.set(session.id, new Doorbell(session.folder.outbound, () => onRing(session.id), options));
  }

  /** Stops listening: the session has no runner. */
  unlisten(sessionId: string): void {
    this.#bells.get(sessionId)?.[Symbol.dispose]();
    this.#bells.delete(sessionId);
  }

  /** Closes all bells and files. Nothing is written from then on. */
  [Symbol.dispose](): void {
    this.#turns[Symbol.dispose]();
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
    const { setTimer, monotonic, onLocked } = this.#options;
    const ports = {
      turns: this.#turns,
      setTimer,
      monotonic,
      onLocked,
      onUse: (used: SessionHandle) => this.#noteUse(used),
    };
    const handle = new SessionHandle(session, folder, reader, ports);
    this.#known.set(session.id, handle);
    countUp(this.#agents, handle.agentGroupId);
    countUp(this.#chats, handle.chat);
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

function countUp(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function countDown(counts: Map<string, number>, name: string): void {
  const left = (counts.get(name) ?? 0) - 1;
  if (left > 0) counts.set(name, left);
  else counts.delete(name);
}
