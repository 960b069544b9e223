import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type ApprovalId, openRegistry, type QuestionId } from '../src/index.ts';
import type { NewQuestion } from '../src/questions.ts';
import { agentWithSession, temporaryFolder, temporaryRegistry, user, wiredPair } from './folder.ts';

/** What `child/race.ts` prints. */
const Race = z.object({
  opened: z.array(z.string()),
  answered: z.array(z.string()),
  decided: z.array(z.string()),
  claimed: z.array(z.string()),
});

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

describe('two processes that want the same', () => {
  it('open each question once, answer each once, decide each approval once and claim each name once', async () => {
    const file = join(temporaryFolder(), 'registry.db');
    const registry = await temporaryRegistry(file);
    const { session } = await agentWithSession(registry);
    const place = { channelType: 'telegram', platformId: '1', threadId: null };
    const question = { sessionId: session.id, place, title: '', question: 'Soup?', options: ['yes'], askedOf: null };
    const asked = (kind: string): NewQuestion[] =>
      Array.from({ length: 40 }, (_, n) => ({ ...question, messageId: `${kind}-${n}`, expiresAt: 5_000 }));
    const answers: QuestionId[] = [];
    for (const old of asked('old'))
      answers.push((await registry.questions.open(old, { openMax: 200 }))?.id ?? missing());
    const decisions: ApprovalId[] = [];
    for (let n = 0; n < 40; n += 1) {
      const request = { subject: `stranger-${n}`, summary: 'Hear them?', payload: {}, expiresAt: 5_000 };
      const nothing = { agentGroupId: null, messagingGroupId: null, sessionId: null };
      const requested = await registry.approvals.request(
        { kind: 'sender', requestedBy: 'host', ...request, ...nothing },
        { openMax: 200 },
      );
      decisions.push(requested?.approval.id ?? missing());
    }

    const claims = Array.from({ length: 40 }, (_, n) => `network-${n}`);
    const order = { file, opens: asked('new'), answers, decisions, claims };
    const racers = ['left', 'right'].map(async (name) =>
      Race.parse(await child({ ...order, idPrefix: name, by: user(name), channelType: name }, undefined, 'race.ts')),
    );
    const [left, right] = await Promise.all(racers);
    if (left === undefined || right === undefined) throw new Error('there were two');

    expect(left.opened).toEqual(right.opened);
    expect(await registry.questions.list({ state: 'open', now: 0, limit: 99 })).toHaveLength(40);
    for (const [index, id] of answers.entries()) {
      expect([left.answered[index], right.answered[index]].toSorted()).toEqual(['already', 'answered']);
      const winner = user(left.answered[index] === 'answered' ? 'left' : 'right');
      expect((await registry.questions.get(id))?.outcome).toMatchObject({ by: winner });
    }
    for (const [index, id] of decisions.entries()) {
      expect([left.decided[index], right.decided[index]].toSorted()).toEqual(['already', 'decided']);
      const winner = user(left.decided[index] === 'decided' ? 'left' : 'right');
      expect((await registry.approvals.get(id))?.outcome).toMatchObject({ by: winner });
    }
    const types = new Map((await registry.channels.list()).map(({ name, type }) => [name, type]));
    for (const [index, name] of claims.entries()) {
      const winner = left.claimed[index] === 'new' ? 'left' : 'right';
      expect([left.claimed[index], right.claimed[index]].toSorted()).toEqual(['new', `taken by ${winner}`]);
      expect(types.get(name)).toBe(winner);
    }
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

/** Runs a program of `child/` to its end; `unprivileged`: as nobody where this process is root, who may write anywhere. */
async function child(order: object, as?: 'unprivileged', program = 'open.ts'): Promise<unknown> {
  const here = fileURLToPath(new URL('./child/', import.meta.url));
  // The child itself becomes nobody, once its code is loaded: nobody need not be able to read this checkout.
  const env = as === 'unprivileged' && process.getuid?.() === 0 ? { BECOME: '65534' } : {};
  const args = [
    '--conditions=source',
    '--import',
    join(here, 'typescript.mjs'),
    join(here, program),
    JSON.stringify(order),
  ];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  return JSON.parse(stdout);
}

/** Temporary folders are their maker's alone; lets others in. */
function openToAll(folder: string, mode: number): void {
  chmodSync(join(folder, '..'), 0o755);
  chmodSync(folder, mode);
}

function missing(): never {
  throw new Error('there was room for it');
}
