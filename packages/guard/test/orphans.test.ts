/** Whatever closes a process of the guard in, it ends with its host, in the middle of a job too. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { SANDBOX_MEANS } from '../src/sandbox.ts';
import { fakeProgram, running } from './fake-program.ts';
import { GuardWorld } from './guard-support.ts';

let world: GuardWorld;
beforeEach(() => {
  world = new GuardWorld();
});
afterEach(() => world[Symbol.dispose]());

// Those that this system does not have make way for the next one.
it.each(SANDBOX_MEANS)('in %s: a host that is killed leaves no process behind', async (means) => {
  // As `guard-main` does: its own thread listens at the pipe that the host holds.
  const listen = `new (require('node:net').Socket)({ fd: 3 }).resume().on('close', () => process.kill(process.pid, 'SIGKILL'))`;
  const before = `import { Worker } from 'node:worker_threads';
    new Worker(${JSON.stringify(listen)}, { eval: true, stdout: true, stderr: true });`;
  const program = fakeProgram(world, 'for (;;);', before);
  const host = join(world.root, 'host.mjs');
  const options = { sessions: world.root, scratch: world.scratch, program };
  writeFileSync(
    host,
    `import { GUARD_POLICY, Guard } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)};
     const setTimer = (ms, action) => { const timer = setTimeout(action, ms); return () => clearTimeout(timer); };
     const policy = { ...GUARD_POLICY, slowMs: 60_000, readMaxMs: 60_000, means: ['${means}', 'none'] };
     const guard = new Guard({ ...${JSON.stringify(options)}, setTimer, monotonic: () => performance.now(), onTrouble() {}, policy });
     void guard.reader({ root: ${JSON.stringify(join(world.root, 's'))} }).read({});`,
  );
  const child = spawn(process.execPath, ['--conditions=source', host], { stdio: 'ignore' });
  await vi.waitFor(() => expect(running(program)).toBeGreaterThan(0), { timeout: 30_000, interval: 100 });
  child.kill('SIGKILL');
  await vi.waitFor(() => expect(running(program)).toBe(0), { timeout: 20_000, interval: 100 });
});
