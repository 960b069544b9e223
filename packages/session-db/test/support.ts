/** What the tests of this package share: a session in a temporary folder, and short ways to drive both of its sides. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Claimed,
  createSession,
  HostSession,
  type NewInbound,
  type NewOutbound,
  type OpenSqlite,
  type OutboundContents,
  type OutboundRead,
  type RunId,
  RunnerSession,
  readOutbound,
  runId,
  type SessionFolder,
} from '../src/index.ts';

export const ADDRESS = { channelType: 'terminal', platformId: 'main', threadId: null };
export const LIMITS = { work: 10, control: 10, context: 10 };
export const RUN = runId('run-1');

const MEMORY = '/dev/shm';

/**
 * A temporary folder that goes away with the scope: in memory where Linux has such a place, because no test cuts the power,
 * and syncing each of thousands of commits to a disk would be most of their time. On `disk` a commit takes long enough to
 * be killed in.
 */
export function temporaryFolder(on: 'memory' | 'disk' = 'memory'): Disposable & { readonly path: string } {
  const parent = on === 'memory' && existsSync(MEMORY) ? MEMORY : tmpdir();
  const path = mkdtempSync(join(parent, 'nanoclaw-session-db-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** A session in a temporary folder, and its host. */
export class TestSession implements Disposable {
  readonly #temporary = temporaryFolder();
  readonly #openSqlite: OpenSqlite;
  readonly folder: SessionFolder = createSession(join(this.#temporary.path, 'session'));
  host: HostSession;

  constructor(openSqlite: OpenSqlite) {
    this.#openSqlite = openSqlite;
    this.host = HostSession.open(this.folder, openSqlite);
  }

  [Symbol.dispose](): void {
    this.host[Symbol.dispose]();
    this.#temporary[Symbol.dispose]();
  }

  /** The host's process ends and another one starts. */
  restartHost(): void {
    this.host[Symbol.dispose]();
    this.host = HostSession.open(this.folder, this.#openSqlite);
  }

  /** Names a run live and opens its side. */
  startRun(run: RunId = RUN, now = 1_000): RunnerSession {
    this.host.beginRun(run, now);
    return RunnerSession.open(this.folder, this.#openSqlite, handshake(run), now);
  }

  read(again: readonly number[] = []): OutboundRead {
    return readOutbound(this.folder, this.#openSqlite, { ...this.host.cursor(), again });
  }

  /** As `read`, where nothing but contents will do. */
  contents(again: readonly number[] = []): OutboundContents {
    const read = this.read(again);
    if (read.type !== 'read') throw new Error(`outbound.db was not read: ${JSON.stringify(read)}`);
    return read;
  }
}

export function handshake(run: RunId) {
  return { runId: run, runnerVersion: '0', provider: 'offline' };
}

export function chat(id: string, more: Partial<NewInbound> = {}): NewInbound {
  return {
    id,
    kind: 'chat',
    timestamp: 1_000,
    trigger: 'wakes',
    address: ADDRESS,
    content: { text: `text of ${id}` },
    ...more,
  };
}

export function reply(id: string, to: string): NewOutbound {
  return { id, kind: 'chat', address: ADDRESS, inReplyTo: to, content: { text: `answer to ${to}` } };
}

/** Claims, where nothing but claims will do. */
export function claim(runner: RunnerSession, now: number, limits = LIMITS): readonly Claimed[] {
  const result = runner.claim(now, limits);
  if (result.type !== 'claimed') throw new Error(`no claim: ${JSON.stringify(result)}`);
  return result.claimed;
}

export function idsOf(claimed: readonly Claimed[]): string[] {
  return claimed.map((one) => one.claim.messageId);
}
