/** Before all tests: the files of a new PostgreSQL server, made once, because each file of tests has a server of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** Path of an archive that `PGlite.create` takes. */
    postgresFiles: string;
  }
}

export default async function postgresFiles(project: TestProject): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), 'registry-postgres-'));
  await using server = await PGlite.create();
  const archive = await server.dumpDataDir('none');
  const file = join(folder, 'files.tar');
  writeFileSync(file, new Uint8Array(await archive.arrayBuffer()));
  project.provide('postgresFiles', file);
  return () => rmSync(folder, { recursive: true, force: true });
}
