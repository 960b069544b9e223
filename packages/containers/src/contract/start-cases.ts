/** The contract of a driver: what a run is and sees, and which starts are refused. */
import { existsSync } from 'node:fs';
import { inspect } from 'node:util';
import type { RunSpec } from '../driver.ts';
import {
  ANY,
  type ContractCheck,
  expectSame,
  expectThat,
  HOME,
  listed,
  OTHER,
  PROCESS,
  problemOf,
  quietWhile,
} from './test-bench.ts';
import type { ContractStep } from './test-program.ts';

/** The cases about starts. */
export const STARTS: readonly ContractCheck[] = [
  {
    name: 'a run sees its folder, its environment and its time zone, and is what its spec says',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const plain = bench.spec(HOME, 'r1', {
        steps: [
          { type: 'save-environment', file: 'environment' },
          { type: 'save-time-zone', file: 'zone' },
          { type: 'write', file: 'ready' },
          { type: 'wait-for', file: 'never' },
        ],
      });
      const spec = { ...plain, env: { ...plain.env, GREETING: 'hello "you"' }, timeZone: 'Asia/Tokyo' };
      const run = await bench.startUntilReady(driver, spec);
      const greeting = variables(bench.text('environment')).find((line) => line.startsWith('GREETING='));
      expectSame('The variable GREETING in the run', greeting, 'GREETING=hello "you"');
      const zone = bench.kind === 'process' ? 'JST\n' : 'Asia/Tokyo\n';
      expectSame('The time zone in the run', bench.text('zone'), zone);
      const { runId, sessionId, labels, logFile } = run;
      const expected = { runId: 'r1', sessionId: spec.sessionId, labels: spec.labels, logFile: spec.logFile };
      expectSame('The run that start() gives', { runId, sessionId, labels, logFile }, expected);
    },
  },
  {
    name: 'nothing of the environment of the host reaches a run',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const steps = [{ type: 'save-environment', file: 'environment' }] as const;
      // tidy: allow environment — what must not leak has to be there first
      const { env } = process;
      // Of this case alone: others may run at the same time.
      const marker = `NANOCLAW_CONTRACT_${Buffer.from(bench.path('')).toString('hex')}`;
      env[marker] = marker;
      try {
        const run = await driver.start(bench.spec(HOME, 'r1', { steps }));
        await run.exited();
      } finally {
        delete env[marker];
      }
      const leaked = variables(bench.text('environment')).find((line) => line.includes(marker));
      expectSame('What a run sees of a variable that is set only in the host', leaked, undefined);
    },
  },
  {
    name: 'ids that are no safe names are refused, and nothing of them is begun',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const spec = bench.spec(HOME, 'r1', { steps: [{ type: 'write', file: 'begun' }] });
      for (const unsafe of UNSAFE_IDS) {
        for (const field of ['runId', 'sessionId'] as const) {
          const what = `A start with the ${field} ${inspect(unsafe, { maxStringLength: 20 })}`;
          const { type } = await problemOf(what, driver.start({ ...spec, [field]: unsafe }));
          expectSame(`The problem of a start with the ${field} ${inspect(unsafe)}`, type, 'bad-spec');
        }
        const exit = await driver.stop(unsafe, 0);
        expectSame(`What stop() says of the run id ${inspect(unsafe)}`, exit.type, 'unknown');
        expectSame(`What logs() gives for the run id ${inspect(unsafe)}`, await driver.logs(unsafe), undefined);
      }
      await quietWhile();
      expectThat(!bench.has('begun'), 'The command of a start that was refused has begun.');
      expectSame('The runs that are listed after starts that were refused', await listed(driver), []);
    },
  },
  {
    name: 'a run id is used once, by this life of the host and by the next',
    kinds: ANY,
    async check(bench) {
      const first = await bench.driver(HOME);
      await bench.startUntilReady(
        first,
        bench.spec(HOME, 'r1', {
          steps: [
            { type: 'write', file: 'ready' },
            { type: 'wait-for', file: 'never' },
          ],
        }),
      );
      const again = bench.spec(HOME, 'r1', { steps: [{ type: 'write', file: 'second' }] });
      const duplicate = { type: 'duplicate-run', runId: 'r1' };
      const second = await bench.driver(HOME);
      for (const driver of [first, second]) {
        const problem = await problemOf('A second start of run r1', driver.start(again));
        expectSame('The problem of a second start of run r1', problem, duplicate);
      }
      expectThat(!bench.has('second'), 'The command of a second run r1 has begun.');
      expectSame('The runs that are listed', await listed(second), ['r1']);
    },
  },
  {
    name: 'two installs never see or stop the runs of each other',
    kinds: ANY,
    async check(bench) {
      const stay = {
        steps: [
          { type: 'write', file: 'ready' },
          { type: 'wait-for', file: 'never' },
        ],
      } as const;
      const home = await bench.driver(HOME);
      const other = await bench.driver(OTHER);
      await bench.startUntilReady(home, bench.spec(HOME, 'same-id', stay));
      await other.start(bench.spec(OTHER, 'same-id', stay));
      await other.stop('same-id', GRACE_MS);
      expectSame('The runs of an install whose only run was stopped', await listed(other), []);
      const { type } = await other.stop('same-id', 0);
      expectSame('What stop() says of a run of another install', type, 'unknown');
      expectSame('The runs of an install after another has stopped its own', await listed(home), ['same-id']);
      const foreign = await problemOf(
        'The start of a spec of another install',
        other.start(bench.spec(HOME, 'r2', stay)),
      );
      expectSame('The problem of a spec of another install', foreign.type, 'bad-spec');
    },
  },
  {
    name: 'a missing program is a failed start that names it',
    kinds: PROCESS,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const spec: RunSpec = { ...bench.spec(HOME, 'r1', { steps: [] }), command: ['no-such-program', 'x'] };
      const problem = await problemOf('The start of a program that does not exist', driver.start(spec));
      const named = problem.type === 'no-runtime' ? problem.executable : problem;
      expectSame('The program that a failed start says is missing', named, 'no-such-program');
      expectSame('The runs that are listed after a failed start', await listed(driver), []);
    },
  },
  {
    name: 'a mount whose source is missing is a failed start, never a partial set of mounts',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const spec = bench.spec(HOME, 'r1', { steps: [{ type: 'write', file: 'begun' }] });
      const mount = { source: bench.path('not-there'), target: '/workspace/extra', readonly: true };
      const start = driver.start({ ...spec, mounts: [...spec.mounts, mount] });
      const problem = await problemOf('A start with a mount whose source is missing', start);
      const named = problem.type === 'bad-mount' ? problem.mount : problem;
      expectSame('The mount that a failed start names', named, mount);
      await quietWhile();
      expectThat(!bench.has('begun'), 'The command of a run with a missing mount has begun.');
      expectThat(!existsSync(mount.source), 'The missing source of a mount was made.');
    },
  },
  {
    name: 'after a start that rejects nothing of it is alive, and no life of the host lists it',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const child: readonly ContractStep[] =
        bench.kind === 'process' ? [{ type: 'start-beating-child', file: 'beat' }] : [];
      const spec = bench.spec(HOME, 'r1', { steps: [...child, { type: 'exit', code: 3 }] });
      await problemOf('The start of a run that ends badly at once', driver.start(spec));
      expectThat(!(await bench.isMadeAgain('beat')), 'What a run has started goes on after its start has rejected.');
      const unmounted = bench.spec(HOME, 'r2', { steps: [{ type: 'wait-for', file: 'never' }] });
      const mount = { source: bench.path('not-there'), target: '/workspace/extra', readonly: true };
      const start = driver.start({ ...unmounted, mounts: [...unmounted.mounts, mount] });
      await problemOf('A start with a mount whose source is missing', start);
      for (const life of [driver, await bench.driver(HOME)]) {
        expectSame('The runs that are listed after starts that rejected', await listed(life), []);
      }
    },
  },
];

/** Long enough for any run that leaves when it is asked. */
const GRACE_MS = 60_000;

const UNSAFE_IDS: readonly string[] = ['', '../x', '..', 'a/b', 'a b', 'a\nb', 'a\0b', 'x'.repeat(129)];

function variables(text: string): string[] {
  return text.split('\n');
}
