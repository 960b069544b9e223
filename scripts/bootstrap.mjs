/**
 * From a bare checkout to installed and built packages: what `npm start` and `npm test` share.
 *
 * Runs on Node 18 and npm alone, so it may import nothing but Node's own modules. What it did last time is kept in
 * two stamps inside `node_modules/` (so that deleting that folder forgets them too): while they match the files in
 * the checkout, neither pnpm nor turbo is started and no network is needed.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { delimiter, dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the checkout. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const binFolder = join(root, 'node_modules', '.bin');
const toolchainBin = join(root, '.toolchain', 'node_modules', '.bin');
const installStamp = join(root, 'node_modules', '.nanoclaw-installed.json');
const buildStamp = join(root, 'node_modules', '.nanoclaw-built.json');

/** The signals by which a person or a service manager ends a program. */
export const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'];

const kept = 'what was complete before is kept';

/** Why the scripts cannot go on, as one sentence for the person at the terminal: what happened, was kept, and to do. */
export class Trouble extends Error {}

/**
 * Installs and builds what is missing or out of date, and says how to run the result.
 *
 * @param {readonly string[]} apps packages to build, with what they depend on; none means all
 * @returns {Promise<{ node: string, env: NodeJS.ProcessEnv }>} the Node to use, and the environment to use it in
 * @throws {Trouble}
 */
export async function prepare(apps) {
  const packages = workspacePackages();
  const env = cleanEnvironment(process.env);
  const node = await install(packages, env);
  await build(closure(packages, apps), apps, env);
  return { node, env };
}

/**
 * Runs `main` and exits with the code it returns; a {@link Trouble} becomes one sentence and exit code 1.
 *
 * @param {() => Promise<number>} main
 */
export async function run(main) {
  try {
    const major = Number(process.versions.node.split('.')[0]);
    if (major < 20) {
      throw new Trouble(
        `NanoClaw needs Node 20 or newer and this is ${process.version}; nothing was changed. Install a newer Node and run the command again.`,
      );
    }
    process.exitCode = await main();
  } catch (error) {
    explain(error);
    process.exitCode = 1;
  }
}

/** Says what a {@link Trouble} means, or an error of the file system that a person can do something about; throws others. */
export function explain(error) {
  const trouble = error instanceof Trouble ? error : fileTrouble(error.code);
  if (trouble === undefined) throw error;
  say(trouble.message);
}

/** Writes a line for the person at the terminal; stdout belongs to the program that is started. */
export function say(line) {
  process.stderr.write(`nanoclaw: ${line}\n`);
}

/** The packages of the workspace, by name: their folder, `package.json` and the names of ours they depend on. */
export function workspacePackages() {
  const folders = ['packages', 'apps'].flatMap((parent) =>
    entries(join(root, parent)).map((entry) => join(parent, entry.name)),
  );
  const packages = new Map();
  for (const folder of [...folders, 'examples', 'test']) {
    const file = join(root, folder, 'package.json');
    if (!existsSync(file)) continue;
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    const wanted = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });
    packages.set(manifest.name, { folder, manifest, dependencies: wanted });
  }
  return packages;
}

/** Exit code of a child as a shell would give it: 128 + n for one that a signal ended. */
export function exitCode(code, signal) {
  return code ?? 128 + (osConstants.signals[signal] ?? 0);
}

/** The environment without what npm adds for its scripts, with our tools first in PATH and nobody phoning home. */
export function cleanEnvironment(original) {
  const env = {};
  for (const [name, value] of Object.entries(original)) {
    // A nested npm that inherits these loses the machine's own configuration, its CA file among others.
    if (!/^(npm_|INIT_CWD$)/i.test(name)) env[name] = value;
  }
  const foreign = `node_modules${sep}.bin`;
  const path = (original['PATH'] ?? '').split(delimiter).filter((folder) => !folder.includes(foreign));
  env['PATH'] = [binFolder, toolchainBin, ...path].join(delimiter);
  env['TURBO_TELEMETRY_DISABLED'] = '1';
  env['TURBO_NO_UPDATE_NOTIFIER'] = '1';
  env['DO_NOT_TRACK'] = '1';
  env['NPM_CONFIG_UPDATE_NOTIFIER'] = 'false';
  return env;
}

// ── install ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Installs the workspace's dependencies unless the stamp says that they are there; returns the Node to use. */
async function install(packages, env) {
  const inputs = ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml', '.npmrc'];
  const manifests = [...packages.values()].map(({ folder }) => join(folder, 'package.json'));
  const hash = contentHash([...inputs, ...manifests]);
  const stamp = readStamp(installStamp);
  const present = [...packages.values()].every(
    ({ folder, manifest }) =>
      Object.keys({ ...manifest.dependencies, ...manifest.devDependencies }).length === 0 ||
      existsSync(join(root, folder, 'node_modules')),
  );
  if (stamp?.hash === hash && present && existsSync(stamp.node)) return stamp.node;

  requireWritable();
  // Until the install has succeeded, an interrupted one must look like none.
  rmSync(installStamp, { force: true });
  rmSync(buildStamp, { force: true });
  await providePnpm(env);
  await step('installing packages', 'pnpm', ['install', '--frozen-lockfile', '--reporter=append-only'], env);
  const node = await chooseNode(env);
  writeStamp(installStamp, { hash, node });
  return node;
}

/** Sees to a pnpm of the wanted major version in PATH: the machine's own, or the exact one under `.toolchain/`. */
async function providePnpm(env) {
  const wanted = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).packageManager.replace('pnpm@', '');
  const { output } = await capture('pnpm', ['--version'], env);
  if (output.trim().split('.')[0] === wanted.split('.')[0]) return;
  const args = ['install', '--prefix', '.toolchain', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  // npm's own patience is over a minute, which looks like a hang to someone without a network.
  const patience = ['--fetch-retries=2', '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000'];
  await step(`installing pnpm ${wanted}`, 'npm', [...args, ...patience, `pnpm@${wanted}`], env);
}

/** The Node that came with the packages where there is one that runs here, else the one that runs this script. */
async function chooseNode(env) {
  const bundled = join(binFolder, 'node');
  if (existsSync(bundled) && (await capture(bundled, ['--version'], env)).code === 0) return bundled;
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 18)) return process.execPath;
  throw new Trouble(
    `NanoClaw brings its own Node on Linux (glibc) only and needs 22.18 or newer here, but this is ${process.version}; the installed packages were kept. Install a newer Node and run the command again.`,
  );
}

// ── build ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Builds `packages` unless the stamp says that what is in their `dist/` came from the sources as they are. */
async function build(packages, apps, env) {
  const built = packages.filter(({ manifest }) => manifest.scripts?.build !== undefined);
  const hashes = sourceHashes(built);
  const stamps = readStamp(buildStamp) ?? {};
  const isCurrent = ({ folder }) => {
    const stamp = stamps[folder];
    return stamp?.hash === hashes.get(folder) && stamp.outputs.length > 0 && stamp.outputs.every(isUnchanged);
  };
  if (built.every(isCurrent)) return;

  requireWritable();
  const filters = apps.map((app) => `--filter=${app}...`);
  const quiet = ['--output-logs=errors-only', '--log-order=grouped', '--ui=stream', '--concurrency=2'];
  await step('building', 'turbo', ['run', 'build', ...quiet, ...filters], env);
  for (const { folder } of built) {
    const outputs = filesUnder(join(folder, 'dist')).map(fileState);
    stamps[folder] = { hash: hashes.get(folder), outputs };
  }
  writeStamp(buildStamp, stamps);
}

/** For each package's folder a hash of what its `dist/` is made from, the sources of what it depends on included. */
function sourceHashes(packages) {
  const shared = contentHash(['turbo.json', 'tsconfig.base.json', 'pnpm-lock.yaml', 'package.json']);
  const own = new Map();
  for (const { folder, manifest } of packages) {
    const settings = [join(folder, 'package.json'), join(folder, 'tsconfig.json')];
    own.set(manifest.name, contentHash([...settings, ...filesUnder(join(folder, 'src'))]));
  }
  const byName = new Map(packages.map((each) => [each.manifest.name, each]));
  const hashes = new Map();
  for (const { folder, manifest } of packages) {
    const parts = closure(byName, [manifest.name]).map((each) => own.get(each.manifest.name));
    hashes.set(
      folder,
      createHash('sha256')
        .update([shared, ...parts.toSorted()].join())
        .digest('hex'),
    );
  }
  return hashes;
}

/** `names` and what they depend on; all packages for none. */
function closure(packages, names) {
  const wanted = new Set(names.length === 0 ? packages.keys() : names);
  for (const name of wanted) {
    for (const dependency of packages.get(name)?.dependencies ?? [])
      if (packages.has(dependency)) wanted.add(dependency);
  }
  return [...wanted].flatMap((name) => packages.get(name) ?? []);
}

function fileState(file) {
  const { size, mtimeMs } = statSync(join(root, file));
  return { file, size, mtimeMs };
}

function isUnchanged({ file, size, mtimeMs }) {
  const now = statSync(join(root, file), { throwIfNoEntry: false });
  return now !== undefined && now.size === size && now.mtimeMs === mtimeMs;
}

// ── stamps ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A hash of the names and contents of `files` (a missing one counts as such) and of the machine's kind. */
function contentHash(files) {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch} ${root}\n`);
  for (const file of files.toSorted()) {
    const content = existsSync(join(root, file)) ? readFileSync(join(root, file)) : undefined;
    hash.update(`${file} ${content?.length}\n`);
    if (content !== undefined) hash.update(content);
  }
  return hash.digest('hex');
}

/** The stamp, or `undefined` when there is none or it was cut off in writing. */
function readStamp(file) {
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function writeStamp(file, stamp) {
  writeFileSync(file, JSON.stringify(stamp));
}

function entries(folder) {
  return existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : [];
}

/** The files under a folder of the checkout, as paths from the root; none for a folder that is not there. */
function filesUnder(folder) {
  return entries(join(root, folder)).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesUnder(path) : [path];
  });
}

// ── child processes ───────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Runs one step of the preparation with a line of progress. What it prints is shown only when it fails.
 *
 * @throws {Trouble} when it fails
 */
export async function step(what, command, args, env) {
  const started = Date.now();
  const seconds = () => `${Math.round((Date.now() - started) / 1000)} s`;
  const live = process.stderr.isTTY === true;
  if (!live) say(`${what} …`);
  const ticker = live ? setInterval(() => process.stderr.write(`\rnanoclaw: ${what} … ${seconds()}`), 200) : undefined;
  const { code, output, interrupted } = await capture(command, args, env);
  clearInterval(ticker);
  if (live) process.stderr.write('\r\x1b[K');
  if (interrupted) throw new Trouble(`${what} was interrupted; ${kept}. Run the command again to go on.`);
  if (code !== 0) throw failure(what, output);
  say(`${what}: done in ${seconds()}`);
}

/**
 * Runs a command in the root and collects what it prints; code 127 when there is no such command. A signal to this
 * process meanwhile ends the command instead, so that nothing goes on in the background.
 */
export function capture(command, args, env) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk) => {
      output += chunk;
    };
    let interrupted = false;
    const stop = (signal) => {
      interrupted = true;
      child.kill(signal);
    };
    const ended = (code, message) => {
      for (const signal of endSignals) process.off(signal, stop);
      resolve({ code, output: output + message, interrupted });
    };
    for (const signal of endSignals) process.on(signal, stop);
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    child.on('error', (error) => ended(127, error.message));
    child.on('close', (code, signal) => ended(exitCode(code, signal), ''));
  });
}

/** What a failed step's output means for the person at the terminal. */
function failure(what, output) {
  // npm names the code; pnpm quotes the system, and breaks its lines anywhere.
  const text = output.replace(/\s+/g, ' ');
  if (/ENOSPC|no space left on device/i.test(text)) return fileTrouble('ENOSPC');
  if (/EROFS|EACCES|read-only file system|permission denied/i.test(text)) return fileTrouble('EACCES');
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|error sending request/i.test(text)) {
    return new Trouble(
      `${what} failed because the package registry cannot be reached; ${kept}. Check the network connection (the first run needs one) and run the command again.`,
    );
  }
  const shown = output.trimEnd().split('\n').slice(-60).join('\n');
  process.stderr.write(`${shown}\n`);
  return new Trouble(`${what} failed, see the lines above; ${kept}. Mend what they name and run the command again.`);
}

/** What a file system's refusal means for the person at the terminal; `undefined` for any other error. */
function fileTrouble(code) {
  if (code === 'ENOSPC') {
    return new Trouble(`the disk is full; ${kept}. Free some space and run the command again.`);
  }
  if (code !== 'EROFS' && code !== 'EACCES') return undefined;
  return new Trouble(
    `something has to be installed or built here, but this checkout cannot be written to; ${kept}. Make it writable for this user, or copy it elsewhere, and run the command again.`,
  );
}

/** Refuses before anything is begun. @throws with code EROFS or EACCES */
function requireWritable() {
  accessSync(root, constants.W_OK);
}
