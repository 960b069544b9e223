/** The contract of a driver: how runs end, by themselves and by being stopped. */

import { type Exit, KILLED } from '../driver.ts';
import { ANY, type ContractCheck, expectSame, expectThat, HOME, listed, PROCESS, problemOf } from './test-bench.ts';

/** The cases about ends. */
export const ENDS: readonly ContractCheck[] = [
  {
    name: 'a run that leaves by itself reports its exit code and is no longer listed',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const steps = [
        { type: 'wait-for', file: 'leave' },
        { type: 'exit', code: 7 },
      ] as const;
      const run = await driver.start(bench.spec(HOME, 'r1', { steps }));
      expectSame('The runs that are listed while one is alive', await listed(driver), ['r1']);
      bench.make('leave');
      expectSame('The exit of a run that left with code 7', await run.exited(), { type: 'code', code: 7 });
      expectSame('The runs that are listed after the only one has ended', await listed(driver), []);
      expectSame('What logs() gives of a run that has ended', await driver.logs('r1'), undefined);
    },
  },
  {
    name: 'a run that ends well at once is a run with an exit, not a failed start',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const run = await driver.start(bench.spec(HOME, 'r1', { steps: [] }));
      expectSame('The exit of a run that ended well at once', await run.exited(), { type: 'code', code: 0 });
    },
  },
  {
    name: 'a run that ends badly at once is a failed start with its exit',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const steps = [
        { type: 'print', text: 'cannot find my head\n' },
        { type: 'exit', code: 3 },
      ] as const;
      const spec = bench.spec(HOME, 'r1', { steps });
      expectSame(
        'The problem of a run that ended with code 3 at once',
        await problemOf('The start of a run that ends badly at once', driver.start(spec)),
        {
          type: 'exit-at-once',
          exit: { type: 'code', code: 3 },
          output: 'cannot find my head\n',
          logFile: spec.logFile,
        },
      );
      expectSame('The runs that are listed after a failed start', await listed(driver), []);
    },
  },
  {
    name: 'a stopped run may finish what it does within the grace',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      await bench.startUntilReady(driver, bench.spec(HOME, 'r1', cleansUp));
      const exit = await driver.stop('r1', GRACE_MS);
      expectSame('The exit of a run that cleans up and leaves with code 5', exit, { type: 'code', code: 5 });
      expectThat(bench.has('finished'), 'A stopped run was not let finish what it does, though its grace was long.');
      expectSame('The runs that are listed after a stop', await listed(driver), []);
    },
  },
  {
    name: 'a run that ignores the request to leave is ended after the grace',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const spec = bench.spec(HOME, 'r1', {
        steps: [
          { type: 'write', file: 'ready' },
          { type: 'wait-for', file: 'never' },
        ],
        onStop: 'ignore',
      });
      const run = await bench.startUntilReady(driver, spec);
      const exit = await driver.stop('r1', 100);
      const isEnded = bench.kind === 'process' ? wasKilled(exit) : exit.type === 'unknown';
      const how = bench.kind === 'process' ? 'killed' : 'abandoned, which is the exit unknown';
      expectThat(isEnded, `A run that ignores the request to leave must be ${how}, but its exit is ${exit.type}.`);
      expectSame('What exited() says of a run that was stopped', await run.exited(), exit);
      expectSame('The runs that are listed after a stop', await listed(driver), []);
    },
  },
  {
    name: 'two stops of a run at once give the same exit',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      await bench.startUntilReady(driver, bench.spec(HOME, 'r1', cleansUp));
      const exits = await Promise.all([driver.stop('r1', GRACE_MS), driver.stop('r1', GRACE_MS)]);
      const wanted = { type: 'code', code: 5 };
      expectSame('The exits that two stops at once give', exits, [wanted, wanted]);
    },
  },
  {
    name: 'to stop a run that is not alive is no error',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const { type } = await driver.stop('never-was', 100);
      expectSame('The exit of a run that never was', type, 'unknown');
    },
  },
  {
    name: 'what a run has started dies with it when it is stopped',
    kinds: PROCESS,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const spec = bench.spec(HOME, 'r1', {
        steps: [
          { type: 'start-beating-child', file: 'beat' },
          { type: 'write', file: 'ready' },
          { type: 'wait-for', file: 'never' },
        ],
      });
      await bench.startUntilReady(driver, spec);
      await bench.until('what the run has started to begin', () => bench.has('beat'));
      await driver.stop('r1', GRACE_MS);
      expectThat(!(await bench.isMadeAgain('beat')), 'What a run has started goes on after the run was stopped.');
    },
  },
  {
    name: 'what a run has started dies with it when it leaves by itself',
    kinds: PROCESS,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const steps = [
        { type: 'start-beating-child', file: 'beat' },
        { type: 'wait-for', file: 'beat' },
      ] as const;
      const run = await driver.start(bench.spec(HOME, 'r1', { steps }));
      await run.exited();
      expectThat(!(await bench.isMadeAgain('beat')), 'What a run has started goes on after the run has left.');
    },
  },
];

/** Long enough for any run that leaves when it is asked. */
const GRACE_MS = 60_000;

const cleansUp = {
  steps: [
    { type: 'write', file: 'ready' },
    { type: 'wait-for', file: 'never' },
  ],
  onStop: { file: 'finished', exitCode: 5 },
} as const;

/** The two ways to say that a run was killed: by the signal itself, or as the code of an engine for it. */
function wasKilled(exit: Exit): boolean {
  return exit.type === 'signal' ? exit.signal === 'SIGKILL' : exit.type === 'code' && exit.code === KILLED;
}
