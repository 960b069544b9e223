/**
 * A host of its own process, to be killed: starts one run and stays. Arguments: folder, install, run id, script, and
 * `die` if it is to kill itself with SIGKILL between the spawn and the record.
 */
import { join } from 'node:path';
import { ProcessDriver, processTable } from '../src/index.ts';
import { clock } from './bench.ts';
import { specOf } from './process-bench.ts';

const [folder = '', install = '', runId = '', script = '', die = ''] = process.argv.slice(2);
const real = processTable(process);
const driver = new ProcessDriver({
  installId: install,
  stateFolder: join(folder, 'state'),
  path: '/usr/local/bin:/usr/bin:/bin',
  clock,
  settleMs: 20,
  processes: {
    ...real,
    state(pid) {
      if (die === 'die') process.kill(process.pid, 'SIGKILL');
      return real.state(pid);
    },
  },
});
await driver.start(specOf(folder, install, runId, script));
process.stdout.write('started\n');
if (die !== 'leave') setInterval(() => undefined, 60_000);
