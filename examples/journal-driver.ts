/**
 * A driver of your own: agents are plain processes, and every start, and every end that this host sees, is a
 * line in a journal. It hands the work to the driver
 * for plain processes; one for a fleet of machines would have the same five methods. A host loads it by its configuration:
 * { "driver": "journal", "drivers": { "journal": { "module": "./journal-driver.ts", "options": { "file": "/home/ada/runs" } } } }.
 */
import { appendFileSync } from 'node:fs';
import {
  type Driver,
  type DriverModule,
  exitPhrase,
  ProcessDriver,
  processTable,
  type Run,
} from '@nanoclaw/containers';
import { z } from 'zod';

export default {
  options: z.strictObject({ file: z.string().min(1) }),
  create: ({ file }, { installId, stateFolder, clock }): Driver => {
    const path = process.env['PATH'] ?? '';
    const driver = new ProcessDriver({ installId, stateFolder, path, clock, processes: processTable(process) });
    const note = (what: string, { runId, sessionId }: Run) => {
      try {
        appendFileSync(file, `${new Date(clock.now()).toISOString()} ${what} run ${runId} of session ${sessionId}\n`);
      } catch (error) {
        // A run that was started is started, whether it could be noted or not, and nothing thrown here would be caught.
        process.emitWarning(`The journal lacks that run ${runId} ${what}: ${String(error)}`);
      }
    };
    return {
      start: async (spec) => {
        const run = await driver.start(spec);
        note('started', run);
        run.exited().then(
          (exit) => note(`ended (${exitPhrase(exit)})`, run),
          (error: unknown) => note(`lost (${String(error)})`, run),
        );
        return run;
      },
      stop: (runId, graceMs) => driver.stop(runId, graceMs),
      list: () => driver.list(),
      logs: (runId) => driver.logs(runId),
      close: () => driver.close(),
    };
  },
} satisfies DriverModule<{ file: string }>;
