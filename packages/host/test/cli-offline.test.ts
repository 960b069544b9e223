import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqlite } from '@nanoclaw/session-db/node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dataFolder } from '../src/data/data-folder.ts';
import { takeLease } from '../src/data/lease.ts';
import { ControlServer } from '../src/operator/control.ts';
import { dispatch } from '../src/operator/dispatch.ts';
import { type ExecuteOptions, execute } from '../src/operator/execute.ts';
import { withReadContext, withWriteContext } from '../src/operator/offline.ts';
import { prepare, runRead, runWrite } from '../src/operator/run.ts';
import { commandOf, OPERATOR_COMMANDS } from '../src/operator/table.ts';
import { NOW, OperatorInstall } from './operator-install.ts';

let install: OperatorInstall;

beforeEach(async () => {
  install = await OperatorInstall.make();
});
afterEach(() => install[Symbol.asyncDispose]());

function command(...words: readonly string[]) {
  const found = commandOf(words, OPERATOR_COMMANDS);
  if (found === undefined) throw new Error(`There is no command ${words.join(' ')}.`);
  return found;
}

/** Looks with the host down. */
async function look(words: readonly string[], raw: object = {}) {
  const prepared = prepare(command(...words), raw);
  if (prepared.kind !== 'reads') throw new Error(`${words.join(' ')} does not only look.`);
  return withReadContext(install.offline(), (operator) => runRead(prepared, operator));
}

/**
 * Every file, directory and socket below a folder, with its contents, permissions and times. Not the time of its last change
 * of status: for root, SQLite sets the owner of a journal that it opens, to the one that it has.
 */
function imprint(root: string): string {
  const hash = createHash('sha256');
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).toSorted();
  for (const name of ['.', ...names]) {
    const of = lstatSync(join(root, name));
    hash.update(`${name} ${of.ino} ${of.uid} ${of.mode} ${of.size} ${of.mtimeMs}\n`);
    if (of.isFile()) hash.update(readFileSync(join(root, name)));
  }
  return hash.digest('hex');
}

describe('a command that only looks, with the host down (failure 16)', () => {
  const READING = OPERATOR_COMMANDS.filter(({ kind }) => kind === 'reads');

  it('changes nothing in the data folder, whichever it is', async () => {
    const session = await install.session();
    const numbers = install.giveUp(session);
    const { id: group } = await install.agent();
    const [wiring] = await install.registry.wirings();
    await install.run(['users', 'create', 'telegram:7']);
    await install.run(['destinations', 'create', 'main', 'friend', '--chat', 'terminal:other']);
    const [destination] = await install.registry.destinations.list();
    const { taskId } = Object(await install.run(['tasks', 'create', session.id, 'x', '--recurrence', '0 8 * * *']));
    await install.close();

    const given: Readonly<Record<string, object>> = {
      'groups get': { group },
      'messaging-groups get': { chat: 'terminal:main' },
      'wirings get': { wiring: wiring?.id },
      'users get': { user: 'telegram:7' },
      'roles get': { user: 'telegram:7' },
      'members get': { user: 'telegram:7' },
      'destinations get': { destination: destination?.id },
      'sessions get': { session: session.id },
      'sessions show': { session: session.id },
      'tasks get': { session: session.id, task: taskId },
      'dead-letters show': { session: session.id, number: `${numbers.out}` },
      'dropped-messages get': { channelType: 'telegram', platformId: '7' },
    };
    const before = imprint(install.data.root);
    for (const { path } of READING) {
      const key = path.join(' ');
      // There is no approval to be shown; that one finds nothing, and changes nothing either.
      if (key === 'approvals get')
        await expect(look(path, { approval: 'none' })).rejects.toMatchObject({ exitCode: 6 });
      else await look(path, given[key] ?? {});
      expect(imprint(install.data.root), key).toBe(before);
    }
    expect(readdirSync(install.scratch)).toEqual([]);
  });

  it('sees what a killed host had committed and not yet put into the database itself', async () => {
    // The registry stays open, so its log is not taken over: as it lies after a kill.
    await install.run(['groups', 'update', 'main', '--name', 'Renamed']);
    const before = imprint(install.data.root);
    expect(await look(['groups', 'get'], { group: 'main' })).toMatchObject({ name: 'Renamed' });
    expect(imprint(install.data.root)).toBe(before);
  });

  it('sees a session whose host died in the middle of a commit, and leaves its journal as it is', async () => {
    const session = await install.session();
    install.enqueue(session, 'waits', { text: 'this one waits' });
    const { database } = install.folder(session).inbound;
    const db = openSqlite(database, 'write');
    // A cache of one page: what is changed is written into the file before the end of the transaction.
    db.exec('PRAGMA cache_size = 1');
    db.exec('BEGIN IMMEDIATE');
    for (let row = 0; row < 200; row += 1) {
      db.run(
        `INSERT INTO destinations (name, display_name, type, agent_group_id) VALUES (:name, :text, 'agent', 'x')`,
        {
          name: `row ${row}`,
          text: 'x'.repeat(500),
        },
      );
    }
    const left = [database, `${database}-journal`].map((file) => [file, readFileSync(file)] as const);
    db.exec('ROLLBACK');
    db.close();
    for (const [file, bytes] of left) writeFileSync(file, bytes);
    await install.close();

    const before = imprint(install.data.root);
    expect(await look(['sessions', 'get'], { session: session.id })).toMatchObject({ due: 1, destinations: [] });
    expect(imprint(install.data.root)).toBe(before);
  });

  // Permissions mean nothing to root.
  it.skipIf(process.getuid?.() === 0)('works where the folder may not be written', async () => {
    await install.close();
    const folders = ['.', ...readdirSync(install.data.root, { recursive: true, encoding: 'utf8' })]
      .map((name) => join(install.data.root, name))
      .filter((path) => lstatSync(path).isDirectory());
    for (const folder of folders) chmodSync(folder, 0o500);
    try {
      expect(await look(['groups', 'list'])).toHaveLength(2);
      expect(await look(['status'])).toMatchObject({ host: 'down', sessions: 2 });
    } finally {
      for (const folder of folders) chmodSync(folder, 0o700);
    }
  });

  it('says what to do where there is no data folder, and makes none', async () => {
    const root = join(install.scratch, 'nowhere');
    const nowhere = { ...install.offline(), data: dataFolder(root) };
    for (const use of [withReadContext(nowhere, async () => null), withWriteContext(nowhere, async () => null)]) {
      await expect(use).rejects.toMatchObject({
        exitCode: 4,
        message: expect.stringMatching(
          /^There is no data folder .*; nothing was made or changed\..*--data.*nanoclaw start/,
        ),
      });
    }
    expect(readdirSync(install.scratch)).toEqual([]);
    const empty = mkdtempSync(join(tmpdir(), 'nano-empty-'));
    await expect(withReadContext({ ...nowhere, data: dataFolder(empty) }, async () => null)).rejects.toThrow(
      /is no data folder/,
    );
    expect(readdirSync(empty)).toEqual([]);
    rmSync(empty, { recursive: true });
  });
});

/** Renames the agent `main`, with the host down. */
function rename() {
  const raw = { group: 'main', name: 'Renamed' };
  const prepared = prepare(command('groups', 'update'), raw);
  if (prepared.kind === 'reads') throw new Error('It only looks.');
  return withWriteContext(install.offline(), (operator) => runWrite(prepared, operator, raw));
}

describe('a command that changes something, with the host down (failure 55)', () => {
  it('holds the lease on the data folder meanwhile and lets it go', async () => {
    await install.close();
    await withWriteContext(install.offline(), async () => {
      expect(() => takeLease(install.data.root, { pid: 1, since: new Date(NOW) })).toThrow(/process 4711/);
    });
    await rename();
    using _lease = takeLease(install.data.root, { pid: 1, since: new Date(NOW) });
    await install.open();
    expect(await install.agent()).toMatchObject({ name: 'Renamed' });
  });

  it('is refused while another has the folder, and changes nothing', async () => {
    using _lease = takeLease(install.data.root, { pid: 1, since: new Date(NOW) });
    await expect(rename()).rejects.toMatchObject({ exitCode: 3, message: expect.stringContaining('process 1,') });
    expect(await install.agent()).toMatchObject({ name: 'main' });
    expect(await install.registry.audit.list({ limit: 10 })).toEqual([]);
  });
});

/** Waits are only noted. */
function options(waits: number[]): ExecuteOptions {
  return { ...install.offline(), sleep: async (ms) => void waits.push(ms) };
}

describe('the answer to a command', () => {
  it('comes from the running host, with its progress', async () => {
    const control = await ControlServer.listen({
      folder: install.data.root,
      run: (request, onProgress) => dispatch(request, install.operators(install.live), onProgress),
      setTimer: () => () => undefined,
      onError: () => undefined,
    });
    try {
      using _lease = takeLease(install.data.root, { pid: 1, since: new Date(NOW) });
      expect(await execute(command('status'), {}, options([]))).toMatchObject({ host: 'running', pid: 4711 });
      expect(await execute(command('drain'), {}, options([]))).toMatchObject({ unfinished: [] });
      expect(install.asked.toSorted()).toEqual(['drain', 'progress: waiting for one session']);
      const raw = { group: 'main', name: 'Renamed' };
      expect(await execute(command('groups', 'update'), raw, options([]))).toMatchObject({ name: 'Renamed' });
      await expect(execute(command('groups', 'get'), { group: 'nowhere' }, options([]))).rejects.toMatchObject({
        exitCode: 6,
      });
    } finally {
      await control.close();
    }
  });

  it('comes from the files when no host runs, and waits for somebody who is changing them just now', async () => {
    expect(await execute(command('status'), {}, options([]))).toMatchObject({ host: 'down' });
    await expect(execute(command('drain'), {}, options([]))).rejects.toMatchObject({ exitCode: 9 });
    const other = takeLease(install.data.root, { pid: 1, since: new Date(NOW) });
    const waits: number[] = [];
    const raw = { group: 'main', name: 'Renamed' };
    const letsGo = { ...options(waits), sleep: async (ms: number) => void (waits.push(ms), other[Symbol.dispose]()) };
    expect(await execute(command('groups', 'update'), raw, letsGo)).toMatchObject({ name: 'Renamed' });
    expect(waits).toHaveLength(1);
  });

  it('is a refusal when somebody holds the files and never answers', async () => {
    using _lease = takeLease(install.data.root, { pid: 1, since: new Date(NOW) });
    const waits: number[] = [];
    const raw = { group: 'main', name: 'Renamed' };
    await expect(execute(command('groups', 'update'), raw, options(waits))).rejects.toMatchObject({ exitCode: 3 });
    expect(waits).toHaveLength(29);
    expect(await install.agent()).toMatchObject({ name: 'main' });
  });
});
