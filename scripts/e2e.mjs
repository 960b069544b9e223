/**
 * `npm run e2e`: the tests that need a container engine, on docker and on podman: those that answer, and on Debian as root
 * those that can be installed. Builds the images without a registry. The last line is `N passed, N failed`, with
 * `, N skipped` where tests were skipped; with no engine all of them are, and one line says why.
 *
 *   node scripts/e2e.mjs [--no-install] [FILTER…]    the filters are vitest's: parts of file names
 *
 * Everything has names of its own and is removed at the end. `--no-install` takes what is there and starts no daemon.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { capture, explain, prepare, run, say } from './bootstrap.mjs';
import { claudeBinary } from './claude-binary.mjs';
import { provideEngines } from './engines.mjs';
import { buildImage, debianArchive, hasDebianPackages } from './image.mjs';
import { readReport } from './vitest-report.mjs';

/**
 * Runs the tests on every engine that can be had; without one they are run to be counted as skipped.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {{ filters: string[], mayInstall: boolean }} options
 * @returns {Promise<{ passed: number, failed: number, skipped: number, failures: string[] }>}
 */
export async function endToEnd(env, { filters, mayInstall }) {
  // A short name: it is part of the path of sockets, which may have some hundred bytes.
  const folder = mkdtempSync(join(tmpdir(), 'e2e-'));
  const counts = [];
  let engines = [];
  try {
    engines = await provideEngines(folder, env, { mayInstall });
    const bases = engines.length === 0 ? {} : await provideBases(folder, env);
    for (const engine of engines) {
      const images = await provideImages(engine, bases);
      say(`the tests on ${engine.kind} begin.`);
      counts.push(await runTests(folder, { ...engine.env, ...images, NANOCLAW_TEST_ENGINE: engine.kind }, filters));
    }
    if (engines.length === 0) {
      say('no container engine can be had on this machine: the tests on an engine are skipped.');
      counts.push(await runTests(folder, { ...env, NANOCLAW_TEST_ENGINE: '' }, filters));
    }
  } catch (error) {
    explain(error);
    counts.push(oneFailure(error.message));
  }
  for (const engine of engines) await removeImages(engine);
  try {
    for (const { end } of engines) await end();
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    say(`${folder} could not be cleared away (${error.message}): remove it by hand.`);
    counts.push(oneFailure(`${folder} could not be cleared away`));
  }
  const sum = (key) => counts.reduce((total, count) => total + count[key], 0);
  const failures = counts.flatMap((count) => count.failures);
  return { passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped'), failures };
}

/** Both variants, and the slim one with a package manager, which Debian's own image has and our base has not. */
const IMAGES = {
  slim: { variant: 'slim', tag: 'nanoclaw-e2e:slim', more: [] },
  apt: { variant: 'slim', tag: 'nanoclaw-e2e:apt', more: ['apt', 'dpkg', 'diffutils', 'libc-bin'] },
  claude: { variant: 'claude', tag: 'nanoclaw-e2e:claude', more: [] },
};

/** The bases of all images by their names, for every engine the same; none where Debian's packages are not to be had. */
async function provideBases(folder, env) {
  if (!hasDebianPackages()) return {};
  const bases = {};
  for (const [name, { variant, more }] of Object.entries(IMAGES)) {
    bases[name] = await debianArchive({ variant, more, folder: mkdtempSync(join(folder, 'base-')) }, env);
  }
  return bases;
}

/** Builds the images and returns what the tests need to know; without the Claude binary, the tests with it fail and say so. */
async function provideImages({ kind: engine, env }, bases) {
  const build = (name) => buildImage({ engine, ...IMAGES[name], archive: bases[name] }, env);
  const slim = await build('slim');
  await build('apt');
  try {
    env['NANOCLAW_CLAUDE_BINARY'] ??= await claudeBinary(env);
    await build('claude');
  } catch (error) {
    explain(error);
  }
  return { NANOCLAW_TEST_IMAGE: slim };
}

async function removeImages({ kind, env }) {
  await capture(kind, ['rmi', '--force', ...Object.values(IMAGES).map(({ tag }) => tag)], env);
}

/** Runs vitest and returns what its report counts; a report that is missing is a failure. */
async function runTests(folder, env, filters) {
  const report = join(folder, 'report.json');
  rmSync(report, { force: true });
  const config = join('test', 'engine', 'vitest.config.ts');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const { code, output } = await capture('vitest', ['run', '--config', config, ...reporters, ...filters], env);
  process.stdout.write(`${output.trimEnd()}\n`);
  if (!existsSync(report)) {
    return oneFailure(`the tests left no report, exit code ${code}`);
  }
  const result = readReport(readFileSync(report, 'utf8'));
  if (result === undefined) return oneFailure('the report of the tests was cut off');
  if (code !== 0 && result.failed === 0) return oneFailure(`the tests ended with exit code ${code}`);
  return result;
}

function oneFailure(what) {
  return { passed: 0, failed: 1, skipped: 0, failures: [what] };
}

if (process.argv[1] === import.meta.filename) {
  await run(async () => {
    const options = { 'no-install': { type: 'boolean', default: false } };
    const { values, positionals: filters } = parseArgs({ options, allowPositionals: true });
    const { env } = await prepare([]);
    const count = await endToEnd(env, { filters, mayInstall: !values['no-install'] });
    for (const failure of count.failures) process.stdout.write(`failed: e2e: ${failure}\n`);
    const skipped = count.skipped === 0 ? '' : `, ${count.skipped} skipped`;
    process.stdout.write(`${count.passed} passed, ${count.failed} failed${skipped}\n`);
    return count.failed === 0 ? 0 : 1;
  });
}
