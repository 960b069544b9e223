/** What one session's files can do to the start of a host, and to the sessions after it. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { openRegistry } from '@nanoclaw/registry';
import { createSession, HostSession, runId, sessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WholeHost } from './whole-host.ts';

let whole: WholeHost;
let lines: { readonly msg: string; readonly trouble?: string; readonly error?: string }[];
/** In the order in which the host knows them. */
let sessions: { readonly id: string; readonly root: string }[];

/** Three sessions (one is of the terminal), each of which names a run that is gone. */
beforeEach(async () => {
  lines = [];
  const logger = pino({ level: 'warn' }, { write: (line) => void lines.push(JSON.parse(line)) });
  whole = new WholeHost({ options: { log: { logger, rotate: () => undefined } } });
  await whole.wire(2);
  let ids = 0;
  const options = { file: whole.data.registry, now: () => 1_000, newId: () => `session-${++ids}` };
  await using registry = await openRegistry(options);
  for (const { agentGroupId, messagingGroupId } of await registry.wirings()) {
    await registry.sessionFor({ scope: 'chat', agentGroupId, messagingGroupId });
  }
  sessions = (await registry.sessions()).map(({ id, key }) => ({ id, root: whole.data.session(key.agentGroupId, id) }));
  for (const { root } of sessions) {
    using files = HostSession.open(createSession(root), openSqlite);
    files.beginRun(runId('gone'), 1_000);
  }
});
afterEach(() => whole.close());

it('a session of a newer version keeps those after it from nothing, and the log says what it is about (failure 89)', async () => {
  const [newer] = sessions;
  const db = openSqlite(sessionFolder(newer?.root ?? '').inbound.database, 'write');
  db.exec('PRAGMA user_version = 999');
  db.close();
  await whole.host.start();
  expect(sessions.slice(1).map(({ root }) => liveRun(root))).toEqual([undefined, undefined]);
  expect(
    lines.filter(({ msg }) => msg === 'a run of an earlier start could not be adopted').map(({ trouble }) => trouble),
  ).toEqual([expect.stringMatching(new RegExp(`^The file of session ${newer?.id} cannot be used \\(.*newer`))]);
  expect(lines.some(({ msg }) => msg.includes('runtime'))).toBe(false);
});

it('a session whose folder is no folder keeps neither the host from starting nor the others from being adopted', async () => {
  const [odd] = sessions;
  rmSync(odd?.root ?? '', { recursive: true });
  writeFileSync(odd?.root ?? '', 'a file');
  await whole.host.start();
  expect(sessions.slice(1).map(({ root }) => liveRun(root))).toEqual([undefined, undefined]);
  expect(existsSync(odd?.root ?? '')).toBe(true);
});

function liveRun(root: string): string | undefined {
  using files = HostSession.view(sessionFolder(root), openSqlite);
  return files.liveRun();
}
