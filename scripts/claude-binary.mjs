/**
 * Claude's native binary for this machine, which the agent SDK needs to talk to a model. It is 170 MB to download, so
 * it is no dependency of the workspace (see `ignoredOptionalDependencies` in pnpm-workspace.yaml); this fetches it
 * once into `.toolchain/claude/`, at the version and with the hash that container/claude/binary.json names.
 *
 * `node scripts/claude-binary.mjs` prints the path of the executable.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pathToFileURL } from 'node:url';
import { cleanEnvironment, root, run, step, Trouble } from './bootstrap.mjs';

const home = join(root, '.toolchain', 'claude');

/**
 * The path of the executable, fetched first where it is not there.
 *
 * @param {NodeJS.ProcessEnv} env for npm and tar
 * @returns {Promise<string>}
 * @throws {Trouble}
 */
export async function claudeBinary(env) {
  const { version, integrity } = JSON.parse(readFileSync(join(root, 'container', 'claude', 'binary.json'), 'utf8'));
  const platform = platformName();
  const expected = integrity[platform];
  if (expected === undefined) {
    throw new Trouble(
      `there is no Claude binary for ${platform}; nothing was changed. Set NANOCLAW_CLAUDE_BINARY to one of your own, or unset ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL to go without.`,
    );
  }
  const folder = join(home, `${version}-${platform}`);
  const executable = join(folder, 'claude');
  if (!existsSync(executable))
    await fetchBinary(`@anthropic-ai/claude-agent-sdk-${platform}@${version}`, expected, folder, env);
  return executable;
}

/** Puts the package into `folder`, which comes into being only when it is complete and is what was expected. */
async function fetchBinary(spec, expected, folder, env) {
  const partial = join(home, `partial-${process.pid}`);
  try {
    mkdirSync(partial, { recursive: true });
    const patience = ['--fetch-retries=2', '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000'];
    const args = ['pack', spec, '--pack-destination', partial, '--loglevel=error', ...patience];
    await step('fetching the Claude binary (170 MB)', 'npm', args, env);
    const archive = join(partial, readdirSync(partial)[0] ?? '');
    const hash = createHash('sha512');
    await pipeline(createReadStream(archive), hash);
    if (`sha512-${hash.digest('base64')}` !== expected) {
      throw new Trouble(
        `${spec} is not what container/claude/binary.json expects; the download was thrown away. Run the command again, and distrust the network or the registry if it happens twice.`,
      );
    }
    const unpacked = join(partial, 'unpacked');
    mkdirSync(unpacked);
    await step('unpacking it', 'tar', ['-xzf', archive, '-C', unpacked, '--strip-components=1'], env);
    if (!existsSync(folder)) renameSync(unpacked, folder);
    for (const other of readdirSync(home)) {
      const isOld = !other.startsWith('partial-') && join(home, other) !== folder;
      if (isOld) rmSync(join(home, other), { recursive: true, force: true });
    }
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** As in the packages' names: system and processor, and `-musl` on a Linux without glibc. */
function platformName() {
  const base = `${process.platform}-${process.arch}`;
  if (process.platform !== 'linux') return base;
  const glibc = process.report.getReport().header.glibcVersionRuntime;
  return glibc === undefined ? `${base}-musl` : base;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await run(async () => {
    process.stdout.write(`${await claudeBinary(cleanEnvironment(process.env))}\n`);
    return 0;
  });
}
