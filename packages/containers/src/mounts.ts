/**
 * Extra mounts: what a group asks to see of the host's disk, against what the machine's owner allows. A request is the
 * group's and may come from an agent; the list of what is allowed lies outside the project, where no agent can write.
 *
 * Real paths decide: a link that leads somewhere else is judged by where it leads.
 */
import { lstat, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { inexactness } from '@nanoclaw/session-db/protocol';
import { isName } from '@nanoclaw/session-db/text';
import type { Mount } from './driver.ts';
import { errorCode } from './process-table.ts';

/** What a group asks to see under `/workspace/extra/<name>`. */
export interface MountRequest {
  /** Absolute host path of a folder or file. */
  readonly source: string;
  /** Letters, digits, `_`, `.`, `-`; at most 64 characters. */
  readonly name: string;
  /** Whether the agent is to write there; needs the owner's consent as well. */
  readonly isWritable: boolean;
}

/** A place that the owner allows agents to see, with all beneath it. */
export interface AllowedPlace {
  /** Absolute host path. */
  readonly path: string;
  /** Whether agents may write there, if their group asks for it. */
  readonly isWritable: boolean;
}

/** What came of the requests. */
export interface MountDecisions {
  /** What is granted. */
  readonly mounts: readonly Mount[];
  /** One sentence per request that was not granted. */
  readonly refusals: readonly string[];
}

/**
 * The mounts that a group gets. `allowlistFile` is JSON, a list of `{"path": "/srv/shared", "isWritable": false}`; without
 * the file nothing is allowed. It must not lie in one of `guarded` (the project, the data folder), be a link, or be
 * writable by others than its owner: else it allows nothing, and a refusal says why.
 *
 * Whatever the list says, no agent sees a guarded place or what holds one, writes where the list lies, or gets a part of
 * what it writes as a mount of its own: it could put a link there between this judgement and the start.
 */
export async function extraMounts(
  requests: readonly MountRequest[],
  allowlistFile: string,
  guarded: readonly string[],
): Promise<MountDecisions> {
  if (requests.length === 0) return { mounts: [], refusals: [] };
  const places = await Promise.all(guarded.map(realOrSame));
  const allowed = await allowlist(allowlistFile, places);
  if (allowed.type === 'unusable') return { mounts: [], refusals: [allowed.reason] };
  const granted: Mount[] = [];
  const refusals: string[] = [];
  for (const request of requests) {
    const real = await realPlace(request.source);
    const decision = real === undefined ? 'it does not exist' : extraMount(request, real, allowed.places);
    const reason = typeof decision === 'string' ? decision : conflict(decision, granted, places, allowed.file);
    if (reason !== undefined) refusals.push(`${request.source} is not mounted: ${reason}.`);
    else if (typeof decision !== 'string') granted.push(decision);
  }
  const mounts = granted.filter((mount) => !granted.some((other) => isWrittenAround(mount, other)));
  const parts = granted.filter((mount) => !mounts.includes(mount));
  const nested = parts.map(
    ({ source }) => `${source} is not mounted: it lies in another folder that the agent writes.`,
  );
  return { mounts, refusals: [...refusals, ...nested] };
}

/** What speaks against a mount that the list allows, or `undefined`. */
function conflict(
  { source, target, readonly }: Mount,
  earlier: readonly Mount[],
  guarded: readonly string[],
  listFile: string,
): string | undefined {
  const own = guarded.find((place) => holds(source, place) || holds(place, source));
  if (own !== undefined) return `${own} is NanoClaw's own, and no agent may see it`;
  if (!readonly && holds(source, listFile)) return 'the list of what is allowed lies in it and could be changed';
  const isTaken = earlier.some((mount) => mount.target === target);
  return isTaken ? `another one has the name ${basename(target)}` : undefined;
}

function isWrittenAround(mount: Mount, other: Mount): boolean {
  return !other.readonly && mount.source !== other.source && holds(other.source, mount.source);
}

/** Whether `place` is `folder` or lies beneath it. Both real. */
function holds(folder: string, place: string): boolean {
  return place === folder || place.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
}

/** Where a request really leads: the path without links, and the names of what lies directly in it. */
export interface RealPlace {
  /** Absolute. */
  readonly path: string;
  /** Empty for a file. */
  readonly names: readonly string[];
}

/**
 * The mount for a request, or why there is none. Pure. What is allowed must hold the real path; no part of it, and nothing
 * that lies directly in it, may have a name that secrets go by. Writable only where both sides say so.
 */
export function extraMount(request: MountRequest, real: RealPlace, allowed: readonly AllowedPlace[]): Mount | string {
  const { name } = request;
  if (!isName('mount', name)) return `${JSON.stringify(name)} cannot be its name inside`;
  const secret = [...real.path.split('/'), ...real.names].find(isSensitive);
  if (secret !== undefined) return `${secret} is a name that secrets go by`;
  const places = allowed.filter(({ path }) => holds(path, real.path));
  if (places.length === 0) return 'the list of what is allowed does not have it';
  // The closest entry speaks for a place: a read-only folder in a writable one stays read-only.
  const closest = places.reduce((best, place) => (place.path.length > best.path.length ? place : best));
  return {
    source: real.path,
    target: `/workspace/extra/${name}`,
    readonly: !(request.isWritable && closest.isWritable),
  };
}

/** Whether a file or folder of this name usually holds credentials, or a way to take over the host. */
export function isSensitive(name: string): boolean {
  const lower = name.toLowerCase();
  return SENSITIVE_NAMES.includes(lower) || SENSITIVE_PATTERN.test(lower);
}

const SENSITIVE_NAMES: readonly string[] = [
  '.ssh',
  '.gnupg',
  '.aws',
  '.azure',
  '.gcloud',
  '.kube',
  '.docker',
  '.claude',
  '.netrc',
  '.npmrc',
  '.pypirc',
  '.pgpass',
  '.git-credentials',
  '.password-store',
  '.mozilla',
  '.config',
  '.local',
  '.bash_history',
  '.zsh_history',
  'keychains',
  'credentials',
  'secrets',
  'docker.sock',
  'podman.sock',
  'shadow',
];
const SENSITIVE_PATTERN =
  /^\.env(\..*)?$|^id_(rsa|dsa|ecdsa|ed25519)|\.(pem|key|p12|pfx|kdbx|jks)$|private_?key|credentials\.json$/;

type Allowlist =
  | { readonly type: 'usable'; readonly file: string; readonly places: readonly AllowedPlace[] }
  | { readonly type: 'unusable'; readonly reason: string };

async function allowlist(file: string, guarded: readonly string[]): Promise<Allowlist> {
  const unusable = (why: string): Allowlist => ({
    type: 'unusable',
    reason: `No extra folder is mounted: the list of what is allowed, ${file}, ${why}.`,
  });
  try {
    const entry = await lstat(file);
    if (!entry.isFile()) return unusable('is not a plain file');
    if ((entry.mode & 0o022) !== 0) return unusable('can be written by others than its owner (chmod 600 mends it)');
    const real = await realpath(file);
    const folder = guarded.find((place) => holds(place, real));
    if (folder !== undefined) return unusable(`lies in ${folder}, where it could be changed from inside`);
    const places = placesIn(await readFile(file, 'utf8'));
    if (places === undefined) return unusable('is not a list of {"path": absolute path, "isWritable": true or false}');
    return { type: 'usable', file: real, places: await Promise.all(places.map(realAllowed)) };
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    return unusable(code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`);
  }
}

/** The owner may name a place by a link; one that is not there allows nothing. */
async function realAllowed(place: AllowedPlace): Promise<AllowedPlace> {
  return { ...place, path: await realOrSame(place.path) };
}

function placesIn(text: string): AllowedPlace[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // no list, like any other text
  }
  if (!Array.isArray(value) || inexactness(text) !== undefined) return undefined;
  const places: AllowedPlace[] = [];
  for (const entry of value) {
    if (!isPlace(entry)) return undefined;
    places.push({ path: entry.path, isWritable: entry.isWritable });
  }
  return places;
}

function isPlace(value: unknown): value is AllowedPlace {
  return (
    typeof value === 'object' &&
    value !== null &&
    'path' in value &&
    typeof value.path === 'string' &&
    value.path.startsWith('/') &&
    'isWritable' in value &&
    typeof value.isWritable === 'boolean'
  );
}

/** The path without links, as far as it is there. */
async function realOrSame(path: string): Promise<string> {
  return (await realPlace(path))?.path ?? path;
}

async function realPlace(path: string): Promise<RealPlace | undefined> {
  try {
    const real = await realpath(path);
    return { path: real, names: (await stat(real)).isDirectory() ? await readdir(real) : [] };
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES' || code === 'ELOOP') return undefined;
    throw error;
  }
}
