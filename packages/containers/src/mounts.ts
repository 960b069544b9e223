/**
 * Extra mounts: what a group wishes to see of the host's disk, against what the machine's owner allows. A wish is the
 * group's and may come from an agent; the list of what is allowed lies outside the project, where no agent can write.
 *
 * Real paths decide: a link that leads somewhere else is judged by where it leads.
 */
import { lstat, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Mount } from './driver.js';
import { errorCode } from './process-table.js';

/** What a group wishes to see under `/workspace/extra/<name>`. */
export interface MountWish {
  /** Absolute host path of a folder or file. */
  readonly source: string;
  /** Letters, digits, `_`, `.`, `-`; at most 64 characters. Default: the last part of `source`. */
  readonly name?: string;
  /** Whether the agent is to write there; needs the owner's consent as well. */
  readonly isWritable: boolean;
}

/** A place that the owner allows agents to see, with all beneath it. */
export interface AllowedPlace {
  /** Absolute host path. */
  readonly path: string;
  readonly isWritable: boolean;
}

/** What came of the wishes. */
export interface MountVerdicts {
  readonly mounts: readonly Mount[];
  /** One sentence per wish that was not granted; the others are. */
  readonly refusals: readonly string[];
}

/**
 * The mounts that a group gets. `allowlistFile` is JSON, a list of `{"path": "/srv/shared", "isWritable": false}`; without
 * the file nothing is allowed. It must not lie in one of `untrusted` (the project, the data folder), be a link, or be
 * writable by others than its owner: else it allows nothing, and a refusal says why.
 */
export async function extraMounts(
  wishes: readonly MountWish[],
  allowlistFile: string,
  untrusted: readonly string[],
): Promise<MountVerdicts> {
  if (wishes.length === 0) return { mounts: [], refusals: [] };
  const allowed = await allowlist(allowlistFile, untrusted);
  if (allowed.type === 'unusable') return { mounts: [], refusals: [allowed.reason] };
  const mounts: Mount[] = [];
  const refusals: string[] = [];
  for (const wish of wishes) {
    const real = await realPlace(wish.source);
    const verdict = real === undefined ? 'it does not exist' : extraMount(wish, real, allowed.places);
    if (typeof verdict === 'string') refusals.push(`${wish.source} is not mounted: ${verdict}.`);
    else if (mounts.some(({ target }) => target === verdict.target)) {
      refusals.push(`${wish.source} is not mounted: another one has the name ${basename(verdict.target)}.`);
    } else mounts.push(verdict);
  }
  return { mounts, refusals };
}

/** Where a wish really leads: the path without links, and the names of what lies directly in it. */
export interface RealPlace {
  readonly path: string;
  readonly names: readonly string[];
}

/**
 * The mount for a wish, or why there is none. Pure. What is allowed must hold the real path; no part of it, and nothing
 * that lies directly in it, may have a name that secrets go by. Writable only where both sides say so.
 */
export function extraMount(wish: MountWish, real: RealPlace, allowed: readonly AllowedPlace[]): Mount | string {
  const name = wish.name ?? basename(wish.source);
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(name)) return `${JSON.stringify(name)} cannot be its name inside`;
  const secret = [...real.path.split('/'), ...real.names].find(isSensitive);
  if (secret !== undefined) return `${secret} is a name that secrets go by`;
  const places = allowed.filter(
    ({ path }) => real.path === path || real.path.startsWith(path === '/' ? path : `${path}/`),
  );
  if (places.length === 0) return 'the list of what is allowed does not have it';
  // The closest entry speaks for a place: a read-only folder in a writable one stays read-only.
  const closest = places.reduce((best, place) => (place.path.length > best.path.length ? place : best));
  return { source: real.path, target: `/workspace/extra/${name}`, readonly: !(wish.isWritable && closest.isWritable) };
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
  | { readonly type: 'usable'; readonly places: readonly AllowedPlace[] }
  | { readonly type: 'unusable'; readonly reason: string };

async function allowlist(file: string, untrusted: readonly string[]): Promise<Allowlist> {
  const unusable = (why: string): Allowlist => ({
    type: 'unusable',
    reason: `No extra folder is mounted: the list of what is allowed, ${file}, ${why}.`,
  });
  try {
    const entry = await lstat(file);
    if (!entry.isFile()) return unusable('is not a plain file');
    if ((entry.mode & 0o022) !== 0) return unusable('can be written by others than its owner (chmod 600 mends it)');
    const real = await realpath(file);
    for (const folder of untrusted) {
      const base = await realpath(folder);
      if (real.startsWith(`${base}/`)) return unusable(`lies in ${folder}, where it could be changed from inside`);
    }
    const places = placesIn(await readFile(file, 'utf8'));
    if (places === undefined) return unusable('is not a list of {"path": absolute path, "isWritable": true or false}');
    return { type: 'usable', places: await Promise.all(places.map(realAllowed)) };
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    return unusable(code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`);
  }
}

/** The owner may name a place by a link; one that is not there allows nothing. */
async function realAllowed(place: AllowedPlace): Promise<AllowedPlace> {
  const real = await realPlace(place.path);
  return { ...place, path: real?.path ?? place.path };
}

function placesIn(text: string): AllowedPlace[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // no list, like any other text
  }
  if (!Array.isArray(value)) return undefined;
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
