/** The contract of a driver: what a run prints is kept. */
import { readFileSync } from 'node:fs';
import { ANY, type ContractCheck, expectSame, HOME, problemOf } from './test-bench.ts';
import { numberedLines } from './test-program.ts';

/** The cases about output. */
export const OUTPUT: readonly ContractCheck[] = [
  {
    name: 'the lines that a live run has printed are in its log, those of both streams',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const spec = bench.spec(HOME, 'r1', {
        steps: [
          { type: 'print', text: 'out\n' },
          { type: 'print', text: 'err\n', to: 'stderr' },
          // Docker keeps a line without an end to itself until it ends or the run does (moby issue 18497).
          { type: 'print', text: 'unfinished' },
          { type: 'write', file: 'ready' },
          { type: 'wait-for', file: 'never' },
        ],
      });
      await bench.startUntilReady(driver, spec);
      const read = async () => finishedLines((await driver.logs('r1')) ?? '');
      await bench.untilSame('The lines that logs() gives of a live run', read, ['err', 'out']);
      expectSame('The lines in the log file of a live run', finishedLines(readFileSync(spec.logFile, 'utf8')), [
        'err',
        'out',
      ]);
    },
  },
  {
    name: 'the last words of a run are in its log file when its end is reported, without a line end too',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const spec = bench.spec(HOME, 'r1', {
        steps: [
          { type: 'print', text: 'first\n' },
          { type: 'wait-for', file: 'leave' },
          { type: 'print', text: 'second\n', to: 'stderr' },
          { type: 'print', text: 'last words' },
          { type: 'exit', code: 7 },
        ],
      });
      const run = await driver.start(spec);
      bench.make('leave');
      await run.exited();
      expectSame(
        'The log file of a run that has ended',
        readFileSync(spec.logFile, 'utf8'),
        'first\nsecond\nlast words',
      );
    },
  },
  {
    name: 'the last words of a run that ends badly at once are in the error of its start',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const spec = bench.spec(HOME, 'r1', {
        steps: [
          { type: 'print', text: 'cannot find\nmy head' },
          { type: 'exit', code: 3 },
        ],
      });
      const problem = await problemOf('The start of a run that ends badly at once', driver.start(spec));
      const output = problem.type === 'exit-at-once' ? problem.output : problem;
      expectSame('The output in the error of a failed start', output, 'cannot find\nmy head');
    },
  },
  {
    name: 'a lot of output is kept whole and in order',
    kinds: ANY,
    async check(bench) {
      const driver = await bench.driver(HOME);
      const steps = [
        { type: 'print-lines', count: LINES },
        { type: 'print', text: 'the end' },
      ] as const;
      const spec = bench.spec(HOME, 'r1', { steps });
      const run = await driver.start(spec);
      await run.exited();
      const wanted = [...numberedLines(LINES).split('\n').slice(0, -1), 'the end'];
      const found = readFileSync(spec.logFile, 'utf8').split('\n');
      const wrong = wanted.findIndex((line, n) => found[n] !== line);
      if (wrong !== -1)
        expectSame(`Line ${wrong + 1} of ${wanted.length} in the log file`, found[wrong], wanted[wrong]);
      expectSame('The number of lines in the log file', found.length, wanted.length);
    },
  },
];

/** More than a pipe or a page holds: about 230 kB. */
const LINES = 20_000;

/** The lines of a text that have an end, sorted: engines may carry two streams in another order than they were written. */
function finishedLines(text: string): string[] {
  return text.split('\n').slice(0, -1).toSorted();
}
