/**
 * `npm test`: builds everything, then runs each package's `test` (vitest, on Node) and `test:bun` scripts, two at a
 * time, and adds up what their reports say. The last line is `N passed, N failed`, with `, N skipped` if any were; the
 * lines before it name each test that failed. A report that is missing, a script that ends badly for any other reason, and a run without a test count as failures.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { endSignals, exitCode, explain, prepare, root, run, say, workspacePackages } from './bootstrap.mjs';
import { claudeBinary } from './claude-binary.mjs';
import { readReport } from './vitest-report.mjs';

/** A suite that takes longer than this hangs. The longest, the end-to-end tests, takes about ten minutes on two cores. */
const suiteMaxMs = 20 * 60_000;
const suitesAtOnce = 2;

await run(async () => {
  const total = { passed: 0, failed: 0, skipped: 0, failures: [] };
  let env;
  try {
    env = (await prepare([])).env;
  } catch (error) {
    // The last line is the count, also for whoever reads nothing else.
    explain(error);
    process.stdout.write('0 passed, 1 failed\n');
    return 1;
  }
  try {
    env['NANOCLAW_CLAUDE_BINARY'] ??= await claudeBinary(env);
  } catch (error) {
    // Without it the tests that talk to the stand-in for Claude cannot run; all others can.
    explain(error);
    total.failed += 1;
  }
  // Suites run side by side, so each takes its share of the machine.
  env['VITEST_MAX_WORKERS'] ??= String(Math.max(1, Math.floor(availableParallelism() / suitesAtOnce)));

  const reports = mkdtempSync(join(tmpdir(), 'nanoclaw-test-'));
  try {
    const waiting = suites(reports);
    const worker = async () => {
      for (let suite = waiting.shift(); suite !== undefined; suite = waiting.shift())
        add(total, await runSuite(suite, env));
    };
    await Promise.all(Array.from({ length: suitesAtOnce }, worker));
  } finally {
    rmSync(reports, { recursive: true, force: true });
  }

  if (total.passed + total.failed === 0) {
    say('not a single test ran, which is a failure; look for `test` scripts in the packages.');
    total.failed += 1;
  }
  for (const failure of total.failures) process.stdout.write(`failed: ${failure}\n`);
  const skipped = total.skipped === 0 ? '' : `, ${total.skipped} skipped`;
  process.stdout.write(`${total.passed} passed, ${total.failed} failed${skipped}\n`);
  return total.failed === 0 ? 0 : 1;
});

/** What is to be run, in the order in which it is begun: the end-to-end tests first, since they take longest. */
function suites(reports) {
  const packages = [...workspacePackages().values()].toReversed();
  return packages.flatMap(({ folder, manifest }) => {
    const report = join(reports, folder.replaceAll('/', '-'));
    const vitest = {
      folder,
      script: 'test',
      report: `${report}.json`,
      args: ['--reporter=default', '--reporter=json', `--outputFile.json=${report}.json`],
      count: readReport,
    };
    const bun = {
      folder,
      script: 'test:bun',
      report: `${report}.xml`,
      args: ['--reporter=junit', `--reporter-outfile=${report}.xml`],
      count: bunCount,
    };
    return [vitest, bun].filter(({ script }) => manifest.scripts?.[script] !== undefined);
  });
}

/** Runs one suite, prints one line for it (and what it printed, if anything failed), and returns its count. */
async function runSuite({ folder, script, report, args, count }, env) {
  const started = Date.now();
  const { code, output, hung } = await runScript(folder, script, args, env);
  const result = existsSync(report) ? count(readFileSync(report, 'utf8')) : undefined;
  const trouble = suiteTrouble(code, hung, result);
  const { passed, failed, skipped, failures } = result ?? { passed: 0, failed: 0, skipped: 0, failures: [] };
  const all = trouble === undefined ? failures : [...failures, trouble];
  const total = {
    passed,
    failed: failed + (trouble === undefined ? 0 : 1),
    skipped,
    failures: all.map((what) => `${folder} ${script}: ${what}`),
  };

  if (total.failed > 0) process.stdout.write(`\n── ${folder} ${script} ──\n${output.trimEnd()}\n\n`);
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  const notes = [skipped > 0 ? `, ${skipped} skipped` : '', trouble === undefined ? '' : ` (${trouble})`].join('');
  const mark = total.failed > 0 ? 'FAILED' : 'ok';
  process.stdout.write(
    `${mark.padEnd(7)}${`${folder} ${script}`.padEnd(32)} ${passed} passed, ${total.failed} failed${notes}, ${seconds} s\n`,
  );
  return total;
}

/** What went wrong with a suite beyond its failed tests; `undefined` for nothing. */
function suiteTrouble(code, hung, result) {
  if (hung) return `did not end within ${suiteMaxMs / 60_000} min`;
  if (result === undefined) return `left no report, exit code ${code}`;
  if (code !== 0 && result.failed === 0) return `ended with exit code ${code} though no test failed`;
  if (result.passed + result.failed === 0) return 'ran no test';
  return undefined;
}

/** Runs a package's script in a process group of its own, so that a suite that hangs takes its children with it. */
function runScript(folder, script, args, env) {
  return new Promise((resolve) => {
    const child = spawn('pnpm', ['run', script, ...args], {
      cwd: join(root, folder),
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let output = '';
    const collect = (chunk) => {
      output += chunk;
    };
    let hung = false;
    const end = (signal) => {
      try {
        process.kill(-child.pid, signal);
      } catch (error) {
        if (error.code !== 'ESRCH') throw error;
      }
    };
    const timer = setTimeout(() => {
      hung = true;
      end('SIGKILL');
    }, suiteMaxMs);
    const stop = (signal) => {
      end(signal);
      process.exit(exitCode(null, signal));
    };
    for (const signal of endSignals) process.on(signal, stop);
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    const ended = (code, message) => {
      clearTimeout(timer);
      for (const signal of endSignals) process.off(signal, stop);
      resolve({ code, output: output + message, hung });
    };
    child.on('error', (error) => ended(127, error.message));
    child.on('close', (code, signal) => ended(exitCode(code, signal), ''));
  });
}

/** What bun's JUnit report counts; `undefined` for a report that was cut off. */
function bunCount(text) {
  const suite = /<testsuites[^>]*>/.exec(text)?.[0];
  if (suite === undefined) return undefined;
  const figure = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const failed = figure('failures') + figure('errors');
  const failures = [...text.matchAll(/<testcase name="([^"]*)"[^>]*[^/]>\s*<(?:failure|error)/g)].map(
    ([, name]) => name,
  );
  return { passed: figure('tests') - failed - figure('skipped'), failed, skipped: figure('skipped'), failures };
}

function add(total, { passed, failed, skipped, failures }) {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  total.failures.push(...failures);
}
