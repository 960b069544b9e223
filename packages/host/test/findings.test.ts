/** What of an agent was stopped has a name, a counter and a place with its session (failure 77). */
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSession } from '@nanoclaw/session-db';
import { ring } from '@nanoclaw/session-db/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FindingRecords, findingsOf } from '../src/session/findings.ts';
import { AttackedHost, forge } from './attack-support.ts';
import { until } from './whole-host.ts';

describe('a whole host', () => {
  it('names what lies in the outbox in place of files', async () => {
    const attacked = new AttackedHost();
    try {
      const folder = await attacked.start();
      const files = join(folder.outbound.files, 'forged-0');
      mkdirSync(files, { recursive: true });
      symlinkSync('/etc/passwd', join(files, 'a-link'));
      execFileSync('mkfifo', [join(files, 'a-pipe')]);
      mkdirSync(join(files, 'a-folder'));
      writeFileSync(join(files, 'other'), '');
      linkSync(join(files, 'other'), join(files, 'two-names'));
      const names = ['a-link', 'a-pipe', 'a-folder', 'two-names', '../x'];
      forge(folder, [{ id: 'forged-0', address: ['memory', 'chat-0', null], content: { text: 'look', files: names } }]);
      const expected = ['bad-name', 'directory', 'link', 'pipe', 'second-name'].map((name) => `file-${name}`);
      ring(folder.outbound.bell, Date.now());
      await until(() => findingsOf(folder).length === expected.length);
      const found = findingsOf(folder);
      expect(found.map(({ finding }) => finding).toSorted()).toEqual(expected);
      expect(found.find(({ finding }) => finding === 'file-pipe')?.detail).toContain('a-pipe');
    } finally {
      await attacked.close();
    }
  });

  it('names what lies in place of the files that it only looks at, and nothing of an honest one', async () => {
    const attacked = new AttackedHost();
    try {
      const folder = await attacked.start();
      await attacked.whole.say(0, 'second', 'and now?');
      await until(() => attacked.whole.platform.shown.length === 3);
      expect(findingsOf(folder)).toEqual([]);
      const { bell, heartbeat, files } = folder.outbound;
      for (const path of [bell, heartbeat, files]) rmSync(path, { recursive: true, force: true });
      symlinkSync('/etc/passwd', heartbeat);
      execFileSync('mkfifo', [bell]);
      writeFileSync(files, '');
      await attacked.whole.say(0, 'third', 'and now?');
      const expected = ['bell-pipe', 'files-file', 'heartbeat-link'];
      await until(() => findingsOf(folder).length >= expected.length);
      expect(
        findingsOf(folder)
          .map(({ finding }) => finding)
          .toSorted(),
      ).toEqual(expected);
      for (const name of expected) expect(attacked.log.some((line) => line.includes(name))).toBe(true);
    } finally {
      await attacked.close();
    }
  });
});

describe('the record of findings', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'findings-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('counts each by its name, and is there after the host has ended', () => {
    const folder = createSession(join(root, 's'));
    const records = new FindingRecords();
    records.note('s', folder, 'file-link', 'first', 1_000);
    records.note('s', folder, 'file-pipe', 'pipe', 2_000);
    records.note('s', folder, 'file-link', 'second', 9_000);
    const link = { finding: 'file-link', count: 2, since: 1_000, lastAt: 9_000, detail: 'second' };
    expect(findingsOf(folder)).toMatchObject([link, { finding: 'file-pipe', count: 1 }]);
    new FindingRecords().note('s', folder, 'file-link', 'third', 20_000);
    expect(findingsOf(folder)[0]).toMatchObject({ count: 3, since: 1_000 });
  });

  it('is written now and then, however often an agent causes one', () => {
    const folder = createSession(join(root, 's'));
    const records = new FindingRecords();
    records.note('s', folder, 'file-link', '', 1_000);
    const before = readFileSync(join(folder.host, 'findings.json'), 'utf8');
    for (let i = 1; i < 1_000; i++) records.note('s', folder, 'file-link', '', 1_000 + i);
    expect(readFileSync(join(folder.host, 'findings.json'), 'utf8')).toBe(before);
    records.note('s', folder, 'file-link', '', 6_000);
    expect(findingsOf(folder)[0]?.count).toBe(1_001);
  });

  it('that is damaged is no reason not to be shown the rest', () => {
    const folder = createSession(join(root, 's'));
    for (const text of ['{', '[{}]']) {
      writeFileSync(join(folder.host, 'findings.json'), text);
      expect(findingsOf(folder)).toEqual([]);
    }
  });
});
