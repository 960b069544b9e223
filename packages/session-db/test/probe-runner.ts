/** The runner's half of the probe: `probe-runner.ts ROOT`. Echoes once for each line, and says what it did. */

import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { openSqlite } from '#driver';
import { echoProbe, sessionFolder } from '../src/index.ts';

const folder = sessionFolder(process.argv[2] ?? '');
for await (const _ of createInterface(process.stdin)) {
  writeSync(1, `${JSON.stringify(echoProbe(folder, openSqlite))}\n`);
}
