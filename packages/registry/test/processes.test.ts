import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { openRegistry } from '../src/index.js';
import { temporaryFolder, temporaryRegistry, wiredPair } from './folder.js';

const options = { now: () => 0, newId: () => 'id' };

describe('two processes', () => {
  it('that ask for the same sessions at the same time get the same ones', async () => {
    const file = join(temporaryFolder(), 'registry.db');
    const registry = await temporaryRegistry(file);
    const { agent, chat } = await wiredPair(registry);
    const order = { file, threads: 50, agentGroupId: agent.id, messagingGroupId: chat.id };

    const [left, right] = await Promise.all([
      child({ ...order, idPrefix: 'left' }),
      child({ ...order, idPrefix: 'right' }),
    ]);

    expect(left).toEqual({ sessions: expect.any(Array) });
    expect(right).toEqual(left);
    expect(await registry.sessions()).toHaveLength(50);
  });

  it('that open a new file at the same time both find a whole registry', async () => {
    const file = join(temporaryFolder(), 'registry.db');
    const answers = await Promise.all(['a', 'b', 'c'].map((idPrefix) => child({ file, threads: 0, idPrefix })));
    expect(answers).toEqual([{ sessions: [] }, { sessions: [] }, { sessions: [] }]);
    await (await openRegistry({ ...options, file })).close();
  });
});

describe('a file that cannot be opened is refused in one clear sentence', () => {
  it('when its folder is missing', async () => {
    const file = join(temporaryFolder(), 'missing', 'registry.db');
    await expect(openRegistry({ ...options, file })).rejects.toMatchObject({
      code: 'unavailable',
      message:
        `Cannot open the registry ${file}: its folder is missing, or may not be written by this user. ` +
        'Nothing was changed. Create the folder, or give this user write access.',
    });
  });

  it('when its folder may not be written', async () => {
    const folder = join(temporaryFolder(), 'locked');
    mkdirSync(folder);
    const file = join(folder, 'registry.db');
    openToAll(folder, 0o555);
    expect(await child({ file, threads: 0, idPrefix: 'x' }, 'unprivileged')).toEqual({
      refused: expect.stringContaining('may not be written by this user. Nothing was changed.'),
    });
  });

  it('when it may be read but not written', async () => {
    const folder = join(temporaryFolder(), 'locked');
    mkdirSync(folder);
    const file = join(folder, 'registry.db');
    await (await openRegistry({ ...options, file })).close();
    chmodSync(file, 0o444);
    openToAll(folder, 0o555);
    expect(await child({ file, threads: 0, idPrefix: 'x' }, 'unprivileged')).toEqual({
      refused: expect.stringContaining('may not be written by this user. Nothing was changed.'),
    });
  });

  it('when it may not be written while another program, which may, has it open', async () => {
    const folder = join(temporaryFolder(), 'locked');
    mkdirSync(folder);
    const file = join(folder, 'registry.db');
    await wiredPair(await temporaryRegistry(file)); // in WAL mode the side files come with the first write
    for (const name of readdirSync(folder)) chmodSync(join(folder, name), 0o444);
    openToAll(folder, 0o555);
    expect(readdirSync(folder)).toContain('registry.db-shm');
    expect(await child({ file, threads: 0, idPrefix: 'x' }, 'unprivileged')).toEqual({
      refused: expect.stringContaining('may not be written by this user. Nothing was changed.'),
    });
  });

  it('when it is something else, which is left as it is', async () => {
    const file = join(temporaryFolder(), 'registry.db');
    const diary = 'Dear diary, today I was taken for a database. '.repeat(100);
    writeFileSync(file, diary);
    await expect(openRegistry({ ...options, file })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('not a registry. It was left as it is.'),
    });
    expect(readFileSync(file, 'utf8')).toBe(diary);
  });
});

/** Runs `child/open.ts` to its end; `unprivileged`: as nobody where this process is root, who may write anywhere. */
async function child(order: object, as?: 'unprivileged'): Promise<unknown> {
  const here = fileURLToPath(new URL('./child/', import.meta.url));
  // The child itself becomes nobody, once its code is loaded: nobody need not be able to read this checkout.
  const env = as === 'unprivileged' && process.getuid?.() === 0 ? { BECOME: '65534' } : {};
  const args = ['--import', join(here, 'typescript.mjs'), join(here, 'open.ts'), JSON.stringify(order)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  return JSON.parse(stdout);
}

/** Temporary folders are their maker's alone; lets others in. */
function openToAll(folder: string, mode: number): void {
  chmodSync(join(folder, '..'), 0o755);
  chmodSync(folder, mode);
}
