import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSession, HostSession, type SessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openLog } from '../src/observability/log.ts';
import { forgetInSession } from '../src/upkeep/retention.ts';

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'nano-retention-'));
});
afterEach(() => rmSync(place, { recursive: true, force: true }));

const DAY_MS = 86_400_000;

function runLogs(folder: SessionFolder, count: number, writtenAt: number): string {
  const logs = join(folder.host, 'logs');
  mkdirSync(logs, { recursive: true });
  for (let run = 0; run < count; run += 1) {
    const path = join(logs, `run-${writtenAt}-${run}.log`);
    writeFileSync(path, 'what it said');
    utimesSync(path, writtenAt / 1_000, writtenAt / 1_000);
  }
  return logs;
}

/** The session as `forgetInSession` has it. */
function open(files: HostSession) {
  const write = async <T>(use: (own: HostSession) => T): Promise<T> => use(files);
  return { folder: files.folder, files, write };
}

test('the output of old runs goes, but never that of the last twenty', async () => {
  const folder = createSession(join(place, 'session'));
  const logs = runLogs(folder, 15, DAY_MS);
  runLogs(folder, 10, 50 * DAY_MS);
  using files = HostSession.open(folder, openSqlite);
  await forgetInSession(open(files), { keepMs: 30 * DAY_MS }, 60 * DAY_MS);
  expect(readdirSync(logs)).toHaveLength(20);
  expect(readdirSync(logs).filter((name) => name.startsWith(`run-${50 * DAY_MS}`))).toHaveLength(10);
  await forgetInSession(open(files), { keepMs: 30 * DAY_MS }, 1_000 * DAY_MS);
  expect(readdirSync(logs)).toHaveLength(20);
});

test('a session that has had no run has nothing to forget', async () => {
  const folder = createSession(join(place, 'session'));
  using files = HostSession.open(folder, openSqlite);
  await expect(forgetInSession(open(files), { keepMs: DAY_MS }, DAY_MS)).resolves.toBeUndefined();
});

test('a log that has grown big is put aside, and goes on in a new file', () => {
  const file = join(place, 'host.log');
  writeFileSync(file, 'x'.repeat(16 * 2 ** 20));
  const log = openLog('info', file, false);
  log.rotate();
  log.logger.info('after');
  expect(readFileSync(file, 'utf8')).toContain('"msg":"after"');
  expect(readFileSync(file, 'utf8')).not.toContain('xxx');
  expect(existsSync(`${file}.1`)).toBe(true);
  log.rotate();
  expect(readFileSync(file, 'utf8')).toContain('"msg":"after"');
});

test.skipIf(!existsSync('/dev/full'))('a log on a full disk keeps little of what it cannot write', () => {
  const log = openLog('info', '/dev/full', false);
  const before = process.memoryUsage().rss;
  const words = 'x'.repeat(25_000);
  for (let line = 0; line < 6_000; line += 1) log.logger.info({ line, words }, 'lost');
  // All of it is 150 MB.
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20);
});
