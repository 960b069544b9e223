/**
 * Builds the image of an agent's container (container/Dockerfile), without a registry where there is none.
 *
 *   node scripts/image.mjs [--variant slim|claude] [--engine docker|podman] [--base IMAGE | --offline] [--tag NAME]
 *
 * `--base` takes any image of Debian or a relative; the default is a public slim one, which the engine fetches.
 * `--offline` makes the base out of Debian's packages, on a machine with apt. Prints the image's name and id.
 */
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { capture, prepare, root, run, say, step, Trouble } from './bootstrap.mjs';
import { claudeBinary } from './claude-binary.mjs';

/** The engines that can build, the preferred one first. */
const ENGINES = ['docker', 'podman'];

/**
 * Builds the image and returns its id.
 *
 * `archive` is a base of ours, from {@link debianArchive}, instead of the image `base`.
 *
 * @param {{ engine: string, variant: 'slim' | 'claude', tag: string, base?: string, archive?: string }} wanted
 * @param {NodeJS.ProcessEnv} env for the engine, apt and npm
 * @returns {Promise<string>}
 * @throws {Trouble}
 */
export async function buildImage({ engine, variant, tag, base, archive }, env) {
  const folder = mkdtempSync(join(tmpdir(), 'nanoclaw-image-'));
  try {
    const from = archive === undefined ? base : await imported(archive, engine, variant, env);
    const context = join(folder, 'context');
    mkdirSync(join(context, 'variant'), { recursive: true });
    cpSync(join(root, 'container', 'entrypoint'), join(context, 'entrypoint'));
    copyFileSync(bunExecutable(), join(context, 'bun'));
    if (variant === 'claude') copyFileSync(await claudeBinary(env), join(context, 'variant', 'claude'));

    const args = ['build', '--file', join(root, 'container', 'Dockerfile'), '--tag', tag];
    args.push(
      '--label',
      `io.nanoclaw.protocol=${await protocolVersion()}`,
      '--label',
      `io.nanoclaw.variant=${variant}`,
    );
    args.push('--build-arg', `VARIANT=${variant}`);
    if (from !== undefined) args.push('--build-arg', `BASE_IMAGE=${from}`);
    // Everything is in the base, and a machine without a registry often has no bridge either.
    if (archive !== undefined) args.push('--network', 'none');
    await step(`building ${tag}`, engine, [...args, context], env);
    const { code, output } = await capture(engine, ['image', 'inspect', '--format', '{{.Id}}', tag], env);
    if (code !== 0) throw new Trouble(`${engine} has built ${tag} and does not know it: ${output.trim()}`);
    return withPrefix(output.trim());
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The first engine that answers; `undefined` where there is none. A client alone, without its daemon, is none. */
export async function engineAtHand(env) {
  for (const engine of ENGINES) {
    const { code } = await capture(engine, ['info'], env);
    if (code === 0) return engine;
  }
  return undefined;
}

/** What goes into a base of ours; the names are Debian's. */
const PACKAGES = {
  slim: ['bash', 'coreutils', 'findutils', 'grep', 'sed', 'tini', 'tzdata', 'ca-certificates'],
  claude: ['curl', 'git', 'jq', 'procps', 'ripgrep'],
};

/** Come as dependencies, are large, and nobody here runs them. */
const LEFT_OUT = /^(perl|perl-base|perl-modules-.*|libperl.*|lib.*-perl|usrmerge|dpkg|debconf|openssl)_/;

/**
 * Packs a root file system of unpacked Debian packages, with `more` of them over and above what the variant needs, and
 * returns its place in `folder`, which holds one at a time. Any engine can import it.
 *
 * @param {{ variant: 'slim' | 'claude', more?: string[], folder: string }} wanted
 * @param {NodeJS.ProcessEnv} env for apt
 * @returns {Promise<string>}
 * @throws {Trouble}
 */
export async function debianArchive({ variant, more = [], folder }, env) {
  const files = join(folder, 'root');
  const archives = join(folder, 'archives');
  mkdirSync(join(archives, 'partial'), { recursive: true });
  mkdirSync(files);
  writeFileSync(join(folder, 'status'), '');
  const names = [...PACKAGES.slim, ...(variant === 'claude' ? PACKAGES.claude : []), ...more];
  const quiet = ['-q', '-y', '--no-install-recommends', '--download-only'];
  const own = [
    `Dir::State::status=${join(folder, 'status')}`,
    `Dir::Cache::archives=${archives}/`,
    'Debug::NoLocking=1',
  ];
  // An empty list of what is installed makes apt fetch everything that the packages need.
  const options = own.flatMap((option) => ['-o', option]);
  await step('fetching Debian packages', 'apt-get', ['install', ...quiet, ...options, ...names], env);

  const isWanted = (name) => !LEFT_OUT.test(name) || more.some((wanted) => name.startsWith(`${wanted}_`));
  for (const archive of readdirSync(archives).filter((name) => name.endsWith('.deb') && isWanted(name))) {
    const { code, output } = await capture('dpkg-deb', ['--extract', join(archives, archive), files], env);
    if (code !== 0) throw new Trouble(`${archive} cannot be unpacked (${output.trim()}); nothing was built.`);
  }
  completeRoot(files);
  const archive = join(folder, 'base.tar');
  await step('packing the base image', 'tar', ['-C', files, '--numeric-owner', '-cf', archive, '.'], env);
  return archive;
}

/** Whether a base can be made of Debian's packages here. */
export function hasDebianPackages() {
  return existsSync('/usr/bin/apt-get') && existsSync('/usr/bin/dpkg-deb');
}

/** Imports an archive as an image, and returns its name. */
async function imported(archive, engine, variant, env) {
  const tag = `nanoclaw-base:${variant}`;
  await step('importing the base image', engine, ['import', archive, tag], env);
  return tag;
}

/** What the packages' own scripts would have done, as far as somebody here relies on it. */
function completeRoot(files) {
  for (const folder of ['tmp', 'etc/ssl/certs', 'proc', 'sys', 'dev', 'run'])
    mkdirSync(join(files, folder), { recursive: true });
  writeFileSync(join(files, 'etc/nanoclaw-base'), 'Made of Debian packages by scripts/image.mjs.\n');
  writeFileSync(join(files, 'etc/passwd'), 'root:x:0:0:root:/:/bin/bash\n');
  writeFileSync(join(files, 'etc/group'), 'root:x:0:\n');
  const shell = join(files, 'bin/sh');
  if (!existsSync(shell)) symlinkSync('bash', shell);
  const mozilla = join(files, 'usr/share/ca-certificates/mozilla');
  const certificates = existsSync(mozilla)
    ? readdirSync(mozilla).map((name) => readFileSync(join(mozilla, name), 'utf8'))
    : [];
  writeFileSync(join(files, 'etc/ssl/certs/ca-certificates.crt'), certificates.join('\n'));
}

/** The native program of the workspace's own Bun, the one that the tests run on. */
function bunExecutable() {
  return join(dirname(createRequire(join(root, 'package.json')).resolve('bun/package.json')), 'bin', 'bun.exe');
}

async function protocolVersion() {
  const { PROTOCOL_VERSION } = await import(
    pathToFileURL(join(root, 'packages', 'session-db', 'dist', 'protocol.js')).href
  );
  return PROTOCOL_VERSION;
}

/** Engines print an id with or without its algorithm. */
function withPrefix(id) {
  return id.startsWith('sha256:') ? id : `sha256:${id}`;
}

if (process.argv[1] === import.meta.filename) {
  await run(async () => {
    const { values } = parseArgs({
      options: {
        variant: { type: 'string', default: 'slim' },
        engine: { type: 'string' },
        base: { type: 'string' },
        offline: { type: 'boolean', default: false },
        tag: { type: 'string' },
      },
    });
    const { variant, base, offline } = values;
    if (variant !== 'slim' && variant !== 'claude') {
      throw new Trouble(`--variant is slim or claude, and not ${variant}; nothing was built.`);
    }
    const { env } = await prepare(['@nanoclaw/session-db']);
    const engine = values.engine ?? (await engineAtHand(env));
    if (engine === undefined) {
      throw new Trouble(
        'neither docker nor podman answers; nothing was built. Install one of them, or start its daemon.',
      );
    }
    const tag = values.tag ?? `nanoclaw-agent:${variant}`;
    const folder = mkdtempSync(join(tmpdir(), 'nanoclaw-base-'));
    try {
      const archive = offline ? await debianArchive({ variant, folder }, env) : undefined;
      const id = await buildImage({ engine, variant, tag, base, archive }, env);
      say(`${tag} is ${id}`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    return 0;
  });
}
