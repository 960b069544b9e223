/**
 * `npm run e2e`: the tests that need a container engine, on the one at hand: docker, else podman, else a podman installed
 * from Debian where that can be done. Builds the image without a registry. The last line is `N passed, N failed`, with
 * `, N skipped` where tests were skipped; with no engine all of them are, and one line says why.
 *
 *   node scripts/e2e.mjs [FILTER…]    the filters are vitest's: parts of file names
 *
 * Everything has names of its own and is removed at the end; podman has its own storage in a temporary folder.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { capture, explain, prepare, run, say, step } from './bootstrap.mjs';
import { claudeBinary } from './claude-binary.mjs';
import { buildImage, engineAtHand } from './image.mjs';

await run(async () => {
  // A short name: it is part of the path of sockets, which may have some hundred bytes.
  const folder = mkdtempSync(join(tmpdir(), 'e2e-'));
  let engine;
  let env;
  let count;
  try {
    ({ env } = await prepare([]));
    engine = await provideEngine(folder, env);
    if (engine !== undefined) await provideImages(engine, env);
    count = await runTests(folder, env, process.argv.slice(2));
  } catch (error) {
    explain(error);
    count = { passed: 0, failed: 1, skipped: 0 };
  }
  await cleanUp(engine, folder, env).catch((error) => {
    say(`${folder} could not be cleared away (${error.message}): remove it by hand.`);
    count.failed += 1;
  });
  const skipped = count.skipped === 0 ? '' : `, ${count.skipped} skipped`;
  process.stdout.write(`${count.passed} passed, ${count.failed} failed${skipped}\n`);
  return count.failed === 0 ? 0 : 1;
});

/** Finds or installs an engine and adds to `env` what its client and the tests need; says why there is none. */
async function provideEngine(folder, env) {
  const hasDocker = (await capture('docker', ['info'], env)).code === 0;
  if (!hasDocker) {
    Object.assign(env, await podmanSettings(folder));
    if ((await engineAtHand(env)) === undefined) await installPodman(env);
  }
  const engine = await engineAtHand(env);
  if (engine === undefined) say('no container engine can be had on this machine: the tests on an engine are skipped.');
  else env['NANOCLAW_TEST_ENGINE'] = engine;
  return engine;
}

/** Installs what a plain Debian machine needs to run containers, where that is possible. */
async function installPodman(env) {
  const isDebian = existsSync('/usr/bin/apt-get') && process.getuid?.() === 0;
  if (!isDebian) return;
  const packages = ['podman', 'runc', 'netavark', 'aardvark-dns', 'iptables'];
  try {
    await step('updating the list of packages', 'apt-get', ['update', '-q'], env);
    await step('installing podman', 'apt-get', ['install', '-q', '-y', '--no-install-recommends', ...packages], env);
  } catch (error) {
    explain(error);
  }
}

/**
 * Storage, networks and settings of podman under `folder`: what else is on the machine is neither seen nor changed. Some
 * machines allow less than the limits that podman asks for by itself, and have no systemd.
 */
async function podmanSettings(folder) {
  if (process.getuid?.() !== 0) return {};
  const at = (...names) => join(folder, ...names);
  const containers = `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=16384:16384"]
[engine]
${existsSync('/usr/bin/crun') || existsSync('/usr/local/bin/crun') ? '' : 'runtime = "runc"\n'}cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "${at('tmp')}"
[network]
network_config_dir = "${at('networks')}"
`;
  const storage = `[storage]\ndriver = "overlay"\ngraphroot = "${at('storage')}"\nrunroot = "${at('run')}"\n`;
  mkdirSync(at('networks'));
  writeFileSync(at('containers.conf'), containers);
  writeFileSync(at('storage.conf'), storage);
  // The driver a second time: from the file alone podman 4 does not write it down, and its own clean-up after a
  // container then refuses to work, so that ends are told late.
  return {
    CONTAINERS_CONF: at('containers.conf'),
    CONTAINERS_STORAGE_CONF: at('storage.conf'),
    STORAGE_DRIVER: 'overlay',
  };
}

/** Builds the image in both variants; without the Claude binary, the tests with that variant fail and say so. */
async function provideImages(engine, env) {
  const offline = existsSync('/usr/bin/apt-get') && existsSync('/usr/bin/dpkg-deb');
  env['NANOCLAW_TEST_IMAGE'] = await buildImage({ engine, variant: 'slim', tag: 'nanoclaw-e2e:slim', offline }, env);
  try {
    env['NANOCLAW_CLAUDE_BINARY'] ??= await claudeBinary(env);
    await buildImage({ engine, variant: 'claude', tag: 'nanoclaw-e2e:claude', offline }, env);
  } catch (error) {
    explain(error);
  }
}

/** Runs vitest and returns what its report counts; a report that is missing is a failure. */
async function runTests(folder, env, filters) {
  const report = join(folder, 'report.json');
  const config = join('test', 'engine', 'vitest.config.ts');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const { code, output } = await capture('vitest', ['run', '--config', config, ...reporters, ...filters], env);
  process.stdout.write(`${output.trimEnd()}\n`);
  if (!existsSync(report)) {
    say(`the tests left no report, exit code ${code}.`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const result = JSON.parse(readFileSync(report, 'utf8'));
  const unloadable = result.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  );
  const failed = result.numFailedTests + unloadable.length;
  return {
    passed: result.numPassedTests,
    failed: failed === 0 && code !== 0 ? 1 : failed,
    skipped: result.numPendingTests + result.numTodoTests,
  };
}

/** Removes the images, and all of a podman of our own. */
async function cleanUp(engine, folder, env) {
  if (engine !== undefined) {
    const isOurs = env['CONTAINERS_STORAGE_CONF']?.startsWith(folder) === true;
    if (isOurs) await capture(engine, ['rm', '--all', '--force'], env);
    const images = ['nanoclaw-e2e:slim', 'nanoclaw-e2e:claude'];
    await capture(engine, isOurs ? ['rmi', '--all', '--force'] : ['rmi', '--force', ...images], env);
    // The storage's own directory is a mount point of itself.
    if (isOurs) await capture('umount', ['--recursive', join(folder, 'storage', 'overlay')], env);
  }
  rmSync(folder, { recursive: true, force: true });
}
