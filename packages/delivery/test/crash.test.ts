// The host dies by SIGKILL at every step of begin, send, confirm and clean-up, and the next one goes on from the files.
//
// A short, fixed part of the steps runs always. NANOCLAW_CRASHES=<n> runs every step and then as many kills at random
// moments as make n; it takes about 0.1 s a crash.
import { spawn } from 'node:child_process';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HostSession, sessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Duplicates } from '../src/send.ts';
import { deliverAll, EXPECTED, ledger, prepare } from './crash/scenario.ts';
import { temporaryFolder } from './support.ts';

const CRASHES = Number(process.env['NANOCLAW_CRASHES'] ?? 0);
const STEPS_SHORT = 16;
const RANDOM_SHORT = 4;
const AT_ONCE = 2;

let folder: ReturnType<typeof temporaryFolder>;
let template: string;
let stepCount = 0;

beforeAll(async () => {
  folder = temporaryFolder();
  template = join(folder.path, 'template');
  prepare(template);
  const whole = join(folder.path, 'whole');
  cpSync(template, whole, { recursive: true });
  await deliverAll(whole, 'none', () => {
    stepCount += 1;
  });
});

afterAll(() => folder[Symbol.dispose]());

describe.each(['key', 'none'] as const)(
  'a host that dies, on a channel that has "%s" against duplicates',
  (duplicates) => {
    const promise = duplicates === 'key' ? 'shows everything exactly once' : 'loses nothing and marks every duplicate';

    it('has a scenario with a step at each of begin, send, confirm, clean-up and notice', () => {
      expect(stepCount).toBeGreaterThan(100);
    });

    it(`${promise}, whichever step it dies at`, { timeout: 60_000 + CRASHES * 1_000 }, async () => {
      const stride = CRASHES > 0 ? 1 : Math.ceil(stepCount / STEPS_SHORT);
      const steps = Array.from({ length: Math.floor(stepCount / stride) }, (_, i) => 1 + i * stride);
      await each(steps, async (diesAt) => {
        expect(await crash(duplicates, { diesAt }), `at step ${diesAt}`).toBe('killed');
      });
    });

    it(`${promise}, at whatever moment it is killed`, { timeout: 60_000 + CRASHES * 1_000 }, async () => {
      const count = CRASHES > 0 ? Math.max(0, CRASHES - stepCount) : RANDOM_SHORT;
      const moments = Array.from({ length: count }, (_, i) => ({ i, afterMs: (i * 37) % 113 }));
      await each(moments, ({ i, afterMs }) => crash(duplicates, { afterMs, name: `random-${i}` }));
    });
  },
);

type Death = { readonly diesAt: number } | { readonly afterMs: number; readonly name: string };

/** Delivers until death, then again without, and checks what people have seen. */
async function crash(duplicates: Duplicates, death: Death): Promise<'killed' | 'survived'> {
  const root = join(folder.path, `${duplicates}-${'diesAt' in death ? death.diesAt : death.name}`);
  cpSync(template, root, { recursive: true });
  const end = await deliverUntilDeath(root, duplicates, death);
  await deliverAll(root, duplicates, () => undefined);
  check(root, duplicates);
  rmSync(root, { recursive: true });
  return end;
}

function deliverUntilDeath(root: string, duplicates: Duplicates, death: Death): Promise<'killed' | 'survived'> {
  const order = JSON.stringify({ root, duplicates, diesAt: 'diesAt' in death ? death.diesAt : null });
  const child = spawn(process.execPath, [file('child.ts'), order], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (data: Buffer) => {
    errors += data.toString();
  });
  if ('afterMs' in death) child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), death.afterMs));
  else child.stdout.resume();
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (signal === 'SIGKILL') resolve('killed');
      else if (code === 0) resolve('survived');
      else reject(new Error(`The child ended with ${code ?? signal}: ${errors}`));
    });
  });
}

/** The path of a file beside the child. */
function file(name: string): string {
  return fileURLToPath(new URL(`./crash/${name}`, import.meta.url));
}

function check(root: string, duplicates: Duplicates): void {
  const shown = ledger(root);
  const seen = new Set<string>();
  const first = shown.filter(({ key }) => !seen.has(key) && seen.add(key));
  const inPlace = (place: string) => first.filter((one) => one.place === place).map((one) => one.text);
  expect(inPlace('main')).toEqual(EXPECTED.main);
  expect(inPlace('side')).toEqual(EXPECTED.side);

  const repeated = shown.filter((one) => !first.includes(one));
  if (duplicates === 'key') expect(repeated).toEqual([]);
  for (const one of repeated) expect(one.isMarked, `${one.text} was shown again without a mark`).toBe(true);

  const session = sessionFolder(join(root, 'session'));
  using host = HostSession.open(session, openSqlite);
  expect(host.deliveries.deadLetters(10).map((letter) => letter.error)).toEqual(['Forbidden.']);
  expect(host.deliveries.followUps(10)).toEqual({ cleanUp: [], notify: [] });
  expect(existsSync(join(session.outbound.files, 'out-4'))).toBe(false);
  const db = openSqlite(session.inbound.database, 'read');
  const told = db.all<{ count: number }>("SELECT count(*) AS count FROM messages_in WHERE id LIKE 'undelivered/%'");
  db.close();
  expect(told).toEqual([{ count: 1 }]);
  expect(existsSync(join(root, 'platform', 'notices'))).toBe(true);
}

/** Two at a time: as many as there are processors on a small machine. */
async function each<Item>(items: readonly Item[], action: (item: Item) => Promise<unknown>): Promise<void> {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const item of queue) await action(item);
    }),
  );
}
