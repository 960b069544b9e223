/** The contract of a driver: runs outlive their host, and none is ever alive and unknown. */

import { specHash } from '../spec.ts';
import { ANY, type ContractCheck, expectSame, expectThat, HOME, listed, PROCESS } from './test-bench.ts';

/** The cases about lives of the host. */
export const LIVES: readonly ContractCheck[] = [
  {
    name: 'a host that starts anew finds the run, its labels, its spec and its output, and can stop it',
    kinds: PROCESS,
    async check(bench) {
      const steps = [
        { type: 'print', text: 'before\n' },
        { type: 'write', file: 'ready' },
        { type: 'wait-for', file: 'never' },
      ] as const;
      const spec = bench.spec(HOME, 'r1', { steps });
      const first = await bench.driver(HOME);
      await bench.startUntilReady(first, spec);
      first.close();

      const second = await bench.driver(HOME);
      const { runs, troubles } = await second.list();
      expectSame('The troubles of a list of one run', troubles, []);
      const found = runs.map(({ runId, sessionId, labels, specHash: hash, logFile }) => {
        return { runId, sessionId, labels, hash, logFile };
      });
      const { sessionId, labels, logFile } = spec;
      expectSame('What the next life of the host lists', found, [
        { runId: 'r1', sessionId, labels, hash: specHash(spec), logFile },
      ]);
      expectSame('What logs() gives in the next life of the host', await second.logs('r1'), 'before\n');
      const exited = runs[0]?.exited();
      const exit = await second.stop('r1', 60_000);
      expectSame('What exited() says of an adopted run that was stopped', await exited, exit);
      expectSame('The runs that are listed after a stop', await listed(second), []);
    },
  },
  {
    name: 'a command begins only when its run is on record, so that the next life of the host knows of it',
    kinds: ANY,
    async check(bench) {
      for (const runId of ['r1', 'r2', 'r3']) {
        const begun = `begun-${runId}`;
        const beat = `beat-${runId}`;
        const steps = [
          { type: 'write', file: begun },
          { type: 'beat', file: beat },
        ] as const;
        const first = await bench.driver(HOME);
        const started = first.start(bench.spec(HOME, runId, { steps }));
        // Looked at below, after the look that must not wait for it.
        const settled = started.then(
          () => undefined,
          (error: unknown) => error,
        );
        await bench.until(`the command of run ${runId} to begin`, () => bench.has(begun));
        // The host could have died at this moment. A later life may find the run, or may have ended it.
        const second = await bench.driver(HOME);
        const isKnown = (await listed(second)).includes(runId);
        expectThat(
          isKnown || !(await bench.isMadeAgain(beat)),
          `The command of run ${runId} had begun and goes on, but a new driver did not list the run: a host that had died then would have left it behind unknown.`,
        );
        const error = await settled;
        if (isKnown && error !== undefined) throw error;
        await first.stop(runId, 60_000);
      }
    },
  },
];
