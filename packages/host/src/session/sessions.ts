/**
 * The sessions this host knows: their places, their files, their doorbells. A session's file is opened when something
 * touches it and closed when it rests, so that those who rest cost nothing but their name.
 */
import type { AgentGroupId, Registry, Session, SessionId, SessionKey } from '@nanoclaw/registry';
import {
  createSession,
  Doorbell,
  HostSession,
  type OutboundReader,
  type SessionFolder,
  type SetTimer,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import type { DataFolder } from '../data/index.ts';

/** One session of this host. */
export class SessionHandle {
  readonly id: SessionId;
  readonly agentGroupId: AgentGroupId;
  readonly folder: SessionFolder;
  readonly reader: OutboundReader;
  #files: HostSession | undefined;

  constructor(session: Session, folder: SessionFolder, reader: OutboundReader) {
    this.id = session.id;
    this.agentGroupId = session.key.agentGroupId;
    this.folder = folder;
    // A journal left by a run that is confirmed dead is recovered in a private copy; a live one's is its own.
    this.reader = { read: (request) => reader.read({ ...request, runEnded: this.files.liveRun() === undefined }) };
  }

  /** The session's own file, opened when it is closed. To be used within one synchronous block and not kept. */
  get files(): HostSession {
    this.#files ??= HostSession.open(this.folder, openSqlite);
    return this.#files;
  }

  /** Closes the file until somebody touches it again. */
  rest(): void {
    this.#files?.[Symbol.dispose]();
    this.#files = undefined;
  }
}

/** What knowing sessions needs. */
export interface SessionsOptions {
  readonly registry: Registry;
  readonly data: DataFolder;
  readonly setTimer: SetTimer;
  /** Reads what a session's runner wrote. */
  readonly readerFor: (folder: SessionFolder) => OutboundReader;
  /** A session has become known to this host. Must not throw. */
  readonly onKnown: (session: SessionHandle) => void;
  /** The session's runner has committed something. Must not throw. */
  readonly onRing: (sessionId: string) => void;
}

/** All sessions of a host. */
export class Sessions implements Disposable {
  readonly #options: SessionsOptions;
  readonly #known = new Map<string, SessionHandle>();
  readonly #bells = new Map<string, Doorbell>();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** Gets to know every session of the registry. */
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
    this.#known.get(id)?.rest();
    this.#known.delete(id);
  }

  /** Listens for the session's runner while it has one. */
  listen(session: SessionHandle): void {
    if (this.#bells.has(session.id)) return;
    const onRing = () => this.#options.onRing(session.id);
    this.#bells.set(session.id, new Doorbell(session.folder.outbound, onRing, { setTimer: this.#options.setTimer }));
  }

  /** Stops listening: there is nobody who could ring. */
  unlisten(sessionId: string): void {
    this.#bells.get(sessionId)?.[Symbol.dispose]();
    this.#bells.delete(sessionId);
  }

  [Symbol.dispose](): void {
    for (const id of this.#bells.keys()) this.unlisten(id);
    for (const session of this.#known.values()) session.rest();
    this.#known.clear();
  }

  #handle(session: Session): SessionHandle {
    const known = this.#known.get(session.id);
    if (known) return known;
    const folder = createSession(this.#options.data.session(session.key.agentGroupId, session.id));
    const reader = this.#options.readerFor(folder);
    const handle = new SessionHandle(session, folder, reader);
    this.#known.set(session.id, handle);
    this.#options.onKnown(handle);
    return handle;
  }
}
