/** A runner that writes as fast as it can, two messages in each commit: `busy-runner.ts ROOT`. Until it is killed. */

import { writeSync } from 'node:fs';
import { openSqlite } from '#driver';
import { isBusy, RunnerSession, sessionFolder } from '../src/index.ts';
import { handshake, RUN, reply } from './support.ts';

using runner = RunnerSession.open(sessionFolder(process.argv[2] ?? ''), openSqlite, handshake(RUN), 1_000);
for (let i = 0; ; i++) {
  try {
    runner.finish([], { type: 'completed' }, [reply(`a${i}`, 'm1'), reply(`b${i}`, 'm1')], 1_000);
    if (i === 0) writeSync(1, 'writing\n');
  } catch (error) {
    // Somebody reads: as a runner does, again.
    if (!isBusy(error)) throw error;
  }
  // Without a gap between two commits no reader gets in.
  await new Promise((resolve) => setTimeout(resolve, 1));
}
