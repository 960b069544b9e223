import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { askProbe, echoProbe, outboundFolder, probeVerdict, type SessionFolder } from '../src/index.ts';
import { openSqlite } from '../src/sqlite/node.ts';
import { Child, RUNTIMES } from './processes.ts';
import { TestSession } from './support.ts';

let session: TestSession;
let folder: SessionFolder;
beforeEach(() => {
  session = new TestSession(openSqlite);
  folder = session.folder;
});
afterEach(() => session[Symbol.dispose]());

describe('the probe of a mount', () => {
  for (const runtime of RUNTIMES) {
    it(`works in rounds between this process and a runner under ${runtime}`, async () => {
      await using child = new Child(runtime, 'probe-runner.ts', [folder.root]);
      let lines = 0;
      const echo = async (): Promise<unknown> => {
        child.say('look');
        lines += 1;
        return JSON.parse(await child.line(lines));
      };
      expect(await echo()).toEqual({ type: 'unseen', finding: { type: 'absent' } });
      for (let n = 1; n <= 3; n++) {
        askProbe(folder, openSqlite, n);
        expect(probeVerdict(folder, openSqlite, n)).toEqual({ type: 'unanswered', seen: n === 1 ? undefined : n - 1 });
        expect(await echo()).toEqual({ type: 'echoed', n });
        // The two share a user and nothing is mounted, so the runner can write here.
        expect(probeVerdict(folder, openSqlite, n)).toEqual({ type: 'works', inboundWritable: true });
      }
    });
  }

  it('says so when the runner sees another directory, or an old state of this one', () => {
    using other = new TestSession(openSqlite);
    askProbe(folder, openSqlite, 2);
    expect(echoProbe({ inbound: other.folder.inbound, outbound: folder.outbound }, openSqlite)).toMatchObject({
      type: 'unseen',
    });
    expect(probeVerdict(folder, openSqlite, 2)).toEqual({ type: 'unanswered', seen: undefined });
    askProbe(other.folder, openSqlite, 1);
    echoProbe({ inbound: other.folder.inbound, outbound: folder.outbound }, openSqlite);
    expect(probeVerdict(folder, openSqlite, 2)).toEqual({ type: 'unanswered', seen: 1 });
  });

  it('says so when the runner cannot write its directory', () => {
    askProbe(folder, openSqlite, 1);
    const missing = outboundFolder(join(folder.root, 'not-mounted'));
    expect(echoProbe({ inbound: folder.inbound, outbound: missing }, openSqlite)).toMatchObject({ type: 'unwritable' });
    // A directory in place of the file is as good as a read-only mount, which a test cannot have everywhere.
    mkdirSync(join(folder.outbound.root, 'probe.db'));
    expect(echoProbe(folder, openSqlite)).toMatchObject({ type: 'unwritable' });
  });

  it('says so when the runner answers with something else than a probe', () => {
    const answer = join(folder.outbound.root, 'probe.db');
    const impostors: Record<string, () => void> = {
      'not-a-file': () => execFileSync('mkfifo', [answer]),
      corrupt: () => writeFileSync(answer, Buffer.alloc(4_096, 'x')),
      'foreign-schema': () => {
        const db = openSqlite(answer, 'create');
        db.exec('CREATE VIEW probe AS SELECT 1 AS n, 0 AS peer_writable');
        db.close();
      },
    };
    for (const [type, put] of Object.entries(impostors)) {
      put();
      expect(probeVerdict(folder, openSqlite, 1)).toMatchObject({ type: 'unreadable', finding: { type } });
      rmSync(answer);
    }
    symlinkSync(join(folder.inbound.root, 'probe.db'), answer);
    askProbe(folder, openSqlite, 1);
    expect(probeVerdict(folder, openSqlite, 1)).toMatchObject({ type: 'unreadable', finding: { type: 'not-a-file' } });
  });

  it('leaves the session as it was', () => {
    askProbe(folder, openSqlite, 1);
    echoProbe(folder, openSqlite);
    expect(existsSync(folder.outbound.database)).toBe(false);
    expect(session.host.cursor()).toEqual({ acksAfter: 0, messagesAfter: 0 });
  });
});
