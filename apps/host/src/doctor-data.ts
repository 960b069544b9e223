/**
 * The doctor's look at a data folder: its mode, its disk, and every file that the host keeps in it, each opened and checked. It
 * works on private copies, whether a host runs or not, and changes nothing.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { OPEN_FILES_MIN } from '@nanoclaw/host';
import {
  copyAsOfOneMoment,
  type DataFolder,
  databaseDamage,
  isOpenToOthers,
  knownInstallId,
} from '@nanoclaw/host/data';
import { isSessionTrouble, messageOf, Problem } from '@nanoclaw/host/errors';
import { readEndpoints } from '@nanoclaw/host/operator';
import { type AgentGroup, openRegistry, RegistryError } from '@nanoclaw/registry';
import {
  createSession,
  HostSession,
  isBusy,
  type OutboundReader,
  type SessionFolder,
  sessionFolder,
  VersionError,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import type { Check } from './check.ts';

export interface DataCheckOptions {
  readonly data: DataFolder;
  /** Where private copies are made; each is removed after its use. */
  readonly scratch: string;
  readonly now: () => number;
  /** Reads what a session's runner wrote. */
  readonly readerFor: (folder: SessionFolder) => OutboundReader;
}

/** What was seen of a data folder. */
export interface DataChecks {
  readonly checks: readonly Check[];
  /** Those that the registry knows; none where it cannot be read. */
  readonly agents: readonly AgentGroup[];
}

/** Looks at everything in a data folder; at nothing where there is none yet. */
export async function examineData(options: DataCheckOptions): Promise<DataChecks> {
  const { data } = options;
  if (!existsSync(data.root)) return { checks: [], agents: [] };
  const { check, agents, sessions } = await examineRegistry(options);
  const checks = [
    folderCheck(data),
    diskCheck(data),
    ...fileChecks(data),
    ...(check === undefined ? [] : [check]),
    ...databaseChecks(options),
    ...(await sessionChecks(sessions ?? sessionsOnDisk(data), options)),
  ];
  return { checks, agents };
}

function folderCheck({ root }: DataFolder): Check {
  const what = 'data folder';
  if (!isOpenToOthers(root)) return { what, verdict: 'ok', finding: `${root} is for its owner only.` };
  const finding = `${root} is open to other users of this machine, who may read what is said. Close it: chmod 700 ${root}`;
  return { what, verdict: 'trouble', finding };
}

/** What this process may have open, which is what a host that is started in the same way may. */
export function openFilesCheck({ max }: { readonly max: number }): Check {
  const what = 'open files';
  if (max === Number.POSITIVE_INFINITY) return { what, verdict: 'ok', finding: 'The system does not say how many.' };
  if (max >= OPEN_FILES_GOOD) return { what, verdict: 'ok', finding: `${max} are allowed.` };
  const finding = `Only ${max} are allowed, and a host needs ${OPEN_FILES_MIN}. With fewer than ${OPEN_FILES_GOOD} fewer agents run at once.`;
  return {
    what,
    verdict: max < OPEN_FILES_MIN ? 'trouble' : 'note',
    finding: `${finding} Raise it: ulimit -n ${OPEN_FILES_GOOD}, or LimitNOFILE= of a service.`,
  };
}

const OPEN_FILES_GOOD = 1_024;

/** Below this nothing more is accepted before long, in bytes. */
const FREE_BYTES_MIN = 64 * 2 ** 20;

function diskCheck({ root }: DataFolder): Check {
  const what = 'disk';
  const { bavail, bsize } = statfsSync(root);
  const free = bavail * bsize;
  const finding = `${Math.floor(free / 2 ** 20)} MiB are free.`;
  if (free >= FREE_BYTES_MIN) return { what, verdict: 'ok', finding };
  return { what, verdict: 'trouble', finding: `${finding} Free some space: a full disk takes no more messages.` };
}

/** The small files whose damage keeps a host from starting. */
function fileChecks(data: DataFolder): readonly Check[] {
  const readings = [() => knownInstallId(data), () => readEndpoints(data)];
  return readings.flatMap((read) => {
    try {
      read();
      return [];
    } catch (error) {
      if (!(error instanceof Problem) && !isSessionTrouble(error)) throw error;
      return [{ what: 'file', verdict: 'trouble', finding: messageOf(error) } as const];
    }
  });
}

interface KnownSession {
  readonly id: string;
  readonly agentGroupId: string;
}

async function examineRegistry({ data, scratch, now }: DataCheckOptions): Promise<{
  readonly check: Check | undefined;
  readonly agents: readonly AgentGroup[];
  /** `undefined`: it cannot say. */
  readonly sessions: readonly KnownSession[] | undefined;
}> {
  const what = 'registry';
  if (!existsSync(data.registry)) return { check: undefined, agents: [], sessions: undefined };
  const copies = mkdtempSync(join(scratch, 'nanoclaw-doctor-'));
  try {
    const damage = damageOf(data.registry, copies);
    if (damage !== undefined) throw new RegistryError('unavailable', `${data.registry} is damaged (${damage}).`);
    const file = join(copies, 'copy.db');
    await using registry = await openRegistry({ file, now, newId: nothingNew });
    const agents = await registry.agentGroups();
    const sessions = (await registry.sessions()).map(({ id, key }) => ({ id, agentGroupId: key.agentGroupId }));
    const finding = `It is sound, with ${agents.length} agents and ${sessions.length} sessions.`;
    return { check: { what, verdict: 'ok', finding }, agents, sessions };
  } catch (error) {
    if (!(error instanceof RegistryError) && !(error instanceof Problem)) throw error;
    const said = error.message.replaceAll(join(copies, 'copy.db'), data.registry);
    const finding =
      error instanceof RegistryError && error.code === 'newer-schema'
        ? said
        : `${said} Make a data folder from a backup, and keep this one: nanoclaw restore BACKUP --data NEW`;
    return { check: { what, verdict: 'trouble', finding }, agents: [], sessions: undefined };
  } finally {
    rmSync(copies, { recursive: true, force: true });
  }
}

function nothingNew(): never {
  throw new Error('A look makes nothing new.');
}

/** The host's other databases: those of its channels, and the one that may be thrown away. */
function databaseChecks({ data, scratch }: DataCheckOptions): readonly Check[] {
  const folders = [data.root, data.terminal, data.webhook, ...foldersIn(dirname(data.channel('any')))];
  const files = folders.flatMap((folder) => databasesIn(folder)).filter((file) => file !== data.registry);
  return files.map((file) => {
    const what = relative(data.root, file);
    const copies = mkdtempSync(join(scratch, 'nanoclaw-doctor-'));
    try {
      const damage = damageOf(file, copies);
      if (damage === undefined) return { what, verdict: 'ok', finding: 'It is sound.' };
      const remedy =
        file === data.rates
          ? 'Nothing is lost with it: the next start makes it anew.'
          : `Stop the host and put it back from a backup (host/${what} in it), or move it away: its channel then begins anew.`;
      return { what, verdict: 'trouble', finding: `It is damaged (${damage}). ${remedy}` };
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return { what, verdict: 'trouble', finding: error.message };
    } finally {
      rmSync(copies, { recursive: true, force: true });
    }
  });
}

/** What is wrong with a database, seen in a copy that is left as `copy.db` in `into`; `undefined`: nothing. */
function damageOf(file: string, into: string): string | undefined {
  const copy = join(into, 'copy.db');
  const sides = ['', '-wal', '-journal'];
  copyAsOfOneMoment(
    sides.map((side) => `${file}${side}`),
    sides.map((side) => `${copy}${side}`),
  );
  return databaseDamage(copy);
}

/** One finding for all that are sound, and one for each that is not. */
async function sessionChecks(sessions: readonly KnownSession[], options: DataCheckOptions): Promise<readonly Check[]> {
  const checks: Check[] = [];
  for (const session of sessions) {
    const finding = await sessionTrouble(session, options);
    if (finding !== undefined) checks.push({ what: 'session', verdict: 'trouble', finding });
  }
  const sound = sessions.length - checks.length;
  const all = checks.length === 0 ? 'all sound' : `${sound} of them sound`;
  checks.unshift({ what: 'sessions', verdict: 'ok', finding: `${sessions.length} were opened and checked, ${all}.` });
  return checks;
}

/** What is wrong with one session, and what to do; `undefined`: nothing. */
async function sessionTrouble(
  { id, agentGroupId }: KnownSession,
  options: DataCheckOptions,
): Promise<string | undefined> {
  const { data, scratch, readerFor } = options;
  const root = data.session(agentGroupId, id);
  // One that was only named has no files until its first message.
  if (!existsSync(root)) return undefined;
  const remedy = `Stop the host and put it back from a backup: nanoclaw restore BACKUP --session ${id}`;
  const copies = mkdtempSync(join(scratch, 'nanoclaw-doctor-'));
  try {
    const folder = createSession(join(copies, 'session'));
    const own = join(root, 'inbound', 'inbound.db');
    if (!existsSync(own)) return undefined;
    copyAsOfOneMoment([own, `${own}-journal`], [folder.inbound.database, `${folder.inbound.database}-journal`]);
    const damage = databaseDamage(folder.inbound.database);
    if (damage !== undefined) return `${id}: the host's file is damaged (${damage}). ${remedy}`;
    using files = HostSession.open(folder, openSqlite);
    const reader = readerFor({ ...sessionFolder(root), host: join(copies, 'host') });
    const read = await reader.read({ ...files.cursor(), again: [], runEnded: files.liveRun() === undefined });
    if (!('detail' in read) && read.type !== 'too-big') return undefined;
    const seen = 'detail' in read ? read.detail : `It has ${read.bytes} bytes, and may have ${read.bytesMax}.`;
    return (
      `${id}: what its agent wrote cannot be read (${seen.replace(/\.$/, '')}). Nothing of it is delivered until it can. ` +
      `${remedy}. Without a backup \`nanoclaw sessions delete ${id}\` lets it begin anew.`
    );
  } catch (error) {
    if (error instanceof VersionError) return `${id}: ${messageOf(error)}`;
    if (isBusy(error)) return undefined;
    if (!(error instanceof Problem) && !isSessionTrouble(error)) throw error;
    return `${id}: it cannot be opened (${messageOf(error)}). ${remedy}`;
  } finally {
    rmSync(copies, { recursive: true, force: true });
  }
}

/** The sessions that have a folder, for where the registry cannot say. */
function sessionsOnDisk(data: DataFolder): readonly KnownSession[] {
  const agents = foldersIn(dirname(dirname(data.session('any', 'any'))));
  return agents.flatMap((agent) =>
    foldersIn(agent).map((folder) => ({ id: basename(folder), agentGroupId: basename(agent) })),
  );
}

function foldersIn(folder: string): readonly string[] {
  return entriesIn(folder)
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(folder, name));
}

function databasesIn(folder: string): readonly string[] {
  return entriesIn(folder)
    .filter((entry) => entry.isFile() && entry.name.endsWith('.db'))
    .map(({ name }) => join(folder, name));
}

function entriesIn(folder: string) {
  return existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : [];
}
