/**
 * An image of a group's own: ours, with more packages in it. Built by the engine, line by line of its progress.
 */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cut, isName } from '@nanoclaw/session-db/text';
import { LABELS } from './engine-arguments.ts';
import { type EngineClient, EngineError, type Image } from './engine-client.ts';

/** Packages of Debian and of npm; of both, names only, for where a name can stand, an option could. */
export interface Packages {
  /** Names of Debian packages; at most 50. */
  readonly apt: readonly string[];
  /** Names of npm packages, with or without `@version`; at most 50. */
  readonly npm: readonly string[];
}

/** What is built, of what, for whom. */
export interface GroupImageOptions {
  /** The engine that builds it and keeps it. */
  readonly client: EngineClient;
  /** The image that is built upon. */
  readonly base: Image;
  /** What is added to it. */
  readonly packages: Packages;
  /** Whose image it is: by it, an install finds those that it no longer needs. */
  readonly installId: string;
  /** A folder of the host's for this group's recipe: it and nothing else is sent to the engine. Made when needed. */
  readonly folder: string;
  /** Each line that the engine says while it builds. Must not throw. */
  readonly onProgress: (line: string) => void;
  /** Aborted: the build ends, and nothing is kept of it but what the engine caches. */
  readonly signal: AbortSignal;
}

/**
 * Builds the image, or finds the one that was built of the same parts before, and returns it; groups of an install with the
 * same packages share one. One build at a time in a folder. Rejects with a `RangeError` for a name that is none, and with
 * an {@link EngineError} whose message is the engine's last words.
 */
export async function buildGroupImage(options: GroupImageOptions): Promise<Image> {
  const { client, base, packages, installId, folder, onProgress, signal } = options;
  const problem = packagesProblem(packages);
  if (problem !== undefined) throw new RangeError(problem);
  const tag = `nanoclaw-group:${hash(groupRecipe(base.id, base, packages, installId))}`;
  const before = await client.image(tag);
  if (before !== undefined) return before;
  // Some builders look for an id in a registry, so the base gets a name, this folder's own, for as long as it is built upon.
  const from = `nanoclaw-from:${hash(folder)}`;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'Dockerfile'), groupRecipe(from, base, packages, installId));
  await client.asked(['tag', base.id, from]);
  try {
    await client.build({ tag, folder, onProgress, signal });
  } finally {
    await client.ask(['rmi', from]);
  }
  const image = await client.image(tag);
  if (image === undefined) throw new EngineError(`it has built ${tag} and does not know it`);
  return image;
}

/** What is wrong with the names, or `undefined`. At most 50 of each kind. */
export function packagesProblem({ apt, npm }: Packages): string | undefined {
  if (apt.length + npm.length === 0) return 'There is no package to install.';
  if (apt.length > 50 || npm.length > 50) return 'At most 50 packages of each kind can be installed at once.';
  const wrong = apt.find((name) => !isName('Debian package', name)) ?? npm.find((name) => !isName('npm release', name));
  return wrong === undefined ? undefined : `${JSON.stringify(cut(wrong, 100))} is not the name of a package.`;
}

/**
 * The recipe, in the words of a Dockerfile, with `from` as the engine's name of the base. The order in which packages are
 * named makes no difference.
 */
export function groupRecipe(from: string, base: Image, { apt, npm }: Packages, installId: string): string {
  const install = 'apt-get install -y --no-install-recommends';
  return [
    `FROM ${from}`,
    'USER 0:0',
    ...(apt.length === 0 ? [] : [`RUN apt-get update && ${install} ${sorted(apt)} && rm -rf /var/lib/apt/lists/*`]),
    // Without scripts: what runs at the build runs as root.
    ...(npm.length === 0 ? [] : [`RUN BUN_INSTALL=/usr/local bun add --global --ignore-scripts ${sorted(npm)}`]),
    'USER 1000:1000',
    `LABEL ${LABELS.protocol}=${base.labels[LABELS.protocol] ?? ''}`,
    `LABEL ${LABELS.base}=${base.id} ${LABELS.imageOf}=${installId}`,
    '',
  ].join('\n');
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 24);
}

function sorted(names: readonly string[]): string {
  return [...new Set(names)].toSorted().join(' ');
}
