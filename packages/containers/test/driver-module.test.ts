/** A driver that a configuration names: its options are checked by a schema of any library. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { type DriverModule, inProcess } from '../src/index.ts';
import { clock } from './bench.ts';

const module = {
  options: z.object({ exitCode: z.number().default(0) }),
  create: ({ exitCode }, ports) => inProcess(async () => exitCode)(ports),
} satisfies DriverModule<{ exitCode: number }>;

it('a module with a zod schema makes a driver of options that the schema has accepted, and no other', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'driver-module-'));
  const plugged: DriverModule<{ exitCode: number }> = module;
  const { validate } = plugged.options['~standard'];
  expect(await validate({ exitCode: 'three' })).toMatchObject({ issues: [{ path: ['exitCode'] }] });
  const checked = await validate({});
  if (checked.issues !== undefined) throw new Error('the options were refused');
  const driver = await plugged.create(checked.value, { installId: 'home', stateFolder: join(folder, 'state'), clock });
  expect(await driver.list()).toEqual({ runs: [], troubles: [] });
  rmSync(folder, { recursive: true });
});
