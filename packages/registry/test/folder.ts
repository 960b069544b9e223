import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { Kysely, PGliteDialect } from 'kysely';
import { afterAll, afterEach, inject } from 'vitest';
import type { Engine } from '../src/dialect.ts';
import type { AgentGroup, MessagingGroup, Session, Tables, UserId, Wiring } from '../src/index.ts';
import { migrate, openRegistry, Registry, userId } from '../src/index.ts';
import type { RegistryOptions } from '../src/registry.ts';

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'registry-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** What the registry runs on. */
export const ENGINES: readonly Engine[] = ['sqlite', 'postgres'];

const postgres: { server?: PGlite; isMigrated?: boolean } = {};

afterAll(() => postgres.server?.close());

/** An empty PostgreSQL database, until the next call; one server for all tests of a file, because it starts slowly. */
export async function emptyPostgres(): Promise<Kysely<Tables>> {
  const server = await postgresServer();
  await server.exec('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
  postgres.isMigrated = false;
  return kyselyOver(server);
}

/** A PostgreSQL database of this schema without a row, until the next call: emptied, which is faster than made anew. */
async function migratedPostgres(): Promise<Kysely<Tables>> {
  if (postgres.isMigrated !== true) {
    await migrate(await emptyPostgres(), 'postgres');
    postgres.isMigrated = true;
  }
  const server = await postgresServer();
  const { rows } = await server.query<{ tables: string }>(
    "SELECT string_agg(tablename, ', ') AS tables FROM pg_tables WHERE schemaname = 'public' AND tablename !~ '^kysely'",
  );
  await server.exec(`TRUNCATE ${rows[0]?.tables} RESTART IDENTITY`);
  return kyselyOver(server);
}

/** From the files of a new server, which `postgres-files.ts` has made once: to make them is most of its start. */
async function postgresServer(): Promise<PGlite> {
  postgres.server ??= await PGlite.create({ loadDataDir: new Blob([readFileSync(inject('postgresFiles'))]) });
  return postgres.server;
}

function kyselyOver(pglite: PGlite): Kysely<Tables> {
  return new Kysely<Tables>({ dialect: new PGliteDialect({ pglite }) });
}

/** An open registry on an engine whose clock is what `clock.now` says and whose ids count up. */
export async function registryOn(engine: Engine, clock?: { now: number }): Promise<Registry> {
  let made = 0;
  let looked = 0;
  const options: RegistryOptions = {
    now: () => clock?.now ?? (looked += 1),
    newId: () => `id-${String((made += 1)).padStart(6, '0')}`,
  };
  if (engine === 'postgres') {
    return new Registry(await migratedPostgres(), options);
  }
  const registry = await openRegistry({ ...options, file: join(temporaryFolder(), 'registry.db') });
  cleanups.push(() => registry.close());
  return registry;
}

/** An open registry whose clock ticks at each look and whose ids count up; closed after the test. */
export async function temporaryRegistry(file = join(temporaryFolder(), 'registry.db')): Promise<Registry> {
  let made = 0;
  let looked = 0;
  const registry = await openRegistry({ file, now: () => (looked += 1), newId: () => `id-${(made += 1)}` });
  cleanups.push(() => registry.close());
  return registry;
}

export const anAgent = {
  folder: 'andy',
  name: 'Andy',
  provider: 'claude',
  model: null,
  effort: null,
  assistantName: null,
  messagesPerPrompt: 10,
} satisfies Parameters<Registry['createAgentGroup']>[0];

/** What an agent has of which nothing was said. */
export const plainSettings = {
  skills: 'all',
  mcpServers: [],
  packages: { apt: [], npm: [] },
  mounts: [],
  image: null,
  network: null,
  commandScope: 'none',
} as const;

export const aChat = {
  channelType: 'telegram',
  platformId: '-100200',
  name: 'Family',
  kind: 'group',
  strangers: 'strict',
  denied: false,
} satisfies Parameters<Registry['createMessagingGroup']>[0];

export const aWiring = {
  engage: { mode: 'mention' },
  senderScope: 'all',
  otherwise: 'drop',
  sessionMode: 'shared',
  priority: 0,
} as const;

/** One agent wired to one chat. */
export async function wiredPair(
  registry: Registry,
): Promise<{ agent: AgentGroup; chat: MessagingGroup; wiring: Wiring }> {
  const agent = await registry.createAgentGroup(anAgent);
  const chat = await registry.createMessagingGroup(aChat);
  const wiring = await registry.createWiring({ ...aWiring, agentGroupId: agent.id, messagingGroupId: chat.id });
  return { agent, chat, wiring };
}

/** One agent with its one session. */
export async function agentWithSession(registry: Registry): Promise<{ agent: AgentGroup; session: Session }> {
  const agent = await registry.createAgentGroup(anAgent);
  return { agent, session: await registry.sessionFor({ scope: 'agent', agentGroupId: agent.id }) };
}

/** A user of Telegram. */
export function user(handle: string): UserId {
  const id = userId('telegram', handle);
  if (id === undefined) throw new Error(`${handle} is not a handle`);
  return id;
}
