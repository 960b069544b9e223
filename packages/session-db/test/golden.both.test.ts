/** Files of every version that was released, as it left them, opened by this one. `golden/make.ts` made them. */

import { cpSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { openSqlite } from '#driver';
import {
  createSession,
  DELIVERY_RETRY,
  HostSession,
  INBOUND_RETRY,
  RunnerSession,
  readOutbound,
  runId,
} from '../src/index.ts';
import { INBOUND_MIGRATIONS, INBOUND_VERSION, migrate, OUTBOUND_MIGRATIONS, schemaText } from '../src/schema.ts';
import { claim, handshake, idsOf, temporaryFolder } from './support.ts';

const GOLDEN = fileURLToPath(new URL('./golden/', import.meta.url));
const versions = readdirSync(GOLDEN).filter((name) => /^v\d+$/.test(name));

it('there are golden files of every version of inbound.db', () => {
  expect(versions.toSorted()).toEqual(Array.from({ length: INBOUND_VERSION }, (_, i) => `v${i + 1}`));
});

describe.each(versions)('a session whose inbound.db has version %s', (version) => {
  it('is opened by both sides, and goes on where it was', () => {
    using temporary = temporaryFolder();
    const folder = createSession(join(temporary.path, 'session'));
    cpSync(join(GOLDEN, version), folder.root, { recursive: true });

    using host = HostSession.open(folder, openSqlite);
    expect(host.message('answered')).toMatchObject({ status: 'completed', tries: 1 });
    expect(host.message('crashed')).toMatchObject({ status: 'pending', tries: 1, processAfter: 7_000 });
    expect(host.message('daily@90000')).toMatchObject({ status: 'pending', tries: 0 });
    expect(host.series.live()).toMatchObject([
      { id: 'daily', recurrence: { timeZone: 'Europe/Berlin' }, countMax: 10 },
    ]);
    const due = host.deliveries.due(100_000, 10);
    expect(due).toMatchObject([{ messageOutId: 'o-open', attempts: 1, inFlight: true }]);
    const addresses = [11, 13, 15].map((seq) => host.deliveries.parts(seq).map((part) => part.address));
    expect(addresses).toEqual([
      [{ channelType: 'terminal', platformId: 'main', threadId: null }],
      [{ channelType: 'terminal', platformId: 'team', threadId: '7' }],
      [null],
    ]);

    host.endRun(runId('run-2'));
    const read = readOutbound(folder, openSqlite, {
      ...host.cursor(),
      again: due.map(({ seq }) => seq),
      runEnded: true,
    });
    if (read.type !== 'read') throw new Error(`outbound.db was not read: ${JSON.stringify(read)}`);
    expect(read.again).toMatchObject([{ id: 'o-open', inReplyTo: 'answered' }]);
    expect(host.settle(read, 100_000, INBOUND_RETRY)).toMatchObject([{ messageId: 'in-work', to: 'retry' }]);
    expect(host.deliveries.begin(due, 100_000, DELIVERY_RETRY)).toMatchObject([{ attempt: 2, uncertain: true }]);

    host.beginRun(runId('run-3'), 200_000);
    using runner = RunnerSession.open(folder, openSqlite, handshake(runId('run-3')), 200_000);
    expect(runner.continuation('offline')).toBe('token-1');
    expect(idsOf(claim(runner, 200_000)).toSorted()).toEqual(['crashed', 'daily@90000', 'in-work']);
  });

  it('is read by a runner of this version while its host is of that one', () => {
    using temporary = temporaryFolder();
    const folder = createSession(join(temporary.path, 'session'));
    cpSync(join(GOLDEN, version), folder.root, { recursive: true });
    using runner = RunnerSession.open(folder, openSqlite, handshake(runId('run-2')), 100_000);
    expect(idsOf(claim(runner, 100_000))).toEqual(['crashed', 'daily@90000']);
  });

  it('has the schema of this version once both sides have opened it', () => {
    using temporary = temporaryFolder();
    const folder = createSession(join(temporary.path, 'session'));
    cpSync(join(GOLDEN, version), folder.root, { recursive: true });
    HostSession.open(folder, openSqlite)[Symbol.dispose]();
    RunnerSession.open(folder, openSqlite, handshake(runId('run-3')), 200_000)[Symbol.dispose]();
    for (const [database, migrations] of [
      [folder.inbound.database, INBOUND_MIGRATIONS],
      [folder.outbound.database, OUTBOUND_MIGRATIONS],
    ] as const) {
      const fresh = openSqlite(':memory:', 'create');
      migrate(fresh, migrations);
      const db = openSqlite(database, 'read');
      // Where they differ: a released version needs a migration, an unreleased one `pnpm golden`.
      expect(schemaText(db)).toBe(schemaText(fresh));
      db.close();
      fresh.close();
    }
  });
});
