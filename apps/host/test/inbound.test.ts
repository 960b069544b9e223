import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ReceivedMessage } from '@nanoclaw/channels';
import { openRegistry, type Registry } from '@nanoclaw/registry';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dataFolder, makeDataFolder } from '../src/data-folder.js';
import { ensureDefaults } from '../src/defaults.js';
import { inboundId, platformIdOf, receive } from '../src/inbound.js';
import { type SessionHandle, Sessions } from '../src/sessions.js';

let root: string;
let registry: Registry;
let sessions: Sessions;
let known: SessionHandle[];
let woken: string[];
let answers: string[];
let dropped: string[];
let ids = 0;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'nanoclaw-inbound-'));
  makeDataFolder(root);
  registry = await openRegistry({ file: dataFolder(root).registry, now: () => 1_000, newId: () => `id-${++ids}` });
  await ensureDefaults(registry);
  [known, woken, answers, dropped] = [[], [], [], []];
  sessions = new Sessions({
    registry,
    data: dataFolder(root),
    setTimer: () => () => undefined,
    onKnown: (session) => known.push(session),
    onRing: () => undefined,
  });
});

afterEach(async () => {
  sessions[Symbol.dispose]();
  await registry.close();
  rmSync(root, { recursive: true });
});

function message(changes: Partial<ReceivedMessage> = {}): ReceivedMessage {
  return {
    platformMessageId: 'p1',
    address: { channelType: 'terminal', platformId: 'main', threadId: null },
    sender: { id: 'local', name: 'local' },
    text: 'hello',
    timestamp: 900,
    isMention: true,
    isDirect: true,
    ...changes,
  };
}

function take(received: ReceivedMessage): Promise<void> {
  return receive(received, {
    registry,
    sessions,
    now: () => 1_000,
    wake: (id) => void woken.push(id),
    answer: async (_, text) => void answers.push(text),
    onDropped: (_, reason) => void dropped.push(reason),
  });
}

describe('a received message', () => {
  it('is on disk and has woken its session when it counts as received (failure 31)', async () => {
    await take(message());
    expect(known).toHaveLength(1);
    expect(known[0]?.files.dueCount(1_000)).toBe(1);
    expect(woken).toEqual([known[0]?.id]);
    expect(known[0]?.files.routing()).toMatchObject({
      replyTo: message().address,
      destinations: [{ channelType: 'terminal', platformId: 'main' }],
    });
  });

  it('is one message when its platform sends it twice (failure 30)', async () => {
    await take(message());
    await take(message());
    expect(known[0]?.files.dueCount(1_000)).toBe(1);
  });

  it('concerns nobody in a chat that no agent is wired to', async () => {
    await take(message({ address: { channelType: 'terminal', platformId: 'other', threadId: null } }));
    expect(known).toEqual([]);
    expect(dropped).toEqual(['No agent is wired to this chat.']);
  });

  it('is a command for the agent when it is exactly one, and never reaches it when it is filtered (failure 33)', async () => {
    await take(message({ text: ' /clear ' }));
    await take(message({ platformMessageId: 'p2', text: '/help' }));
    expect(known[0]?.files.message(inboundId(message().address, 'p1'))).toMatchObject({ status: 'pending' });
    expect(known[0]?.files.message(inboundId(message().address, 'p2'))).toBeUndefined();
    expect(answers).toEqual([]);
  });

  it('has an id from which the platform finds its own again', () => {
    const { address } = message();
    expect(platformIdOf(address, inboundId(address, 'a:b'))).toBe('a:b');
    expect(platformIdOf({ ...address, platformId: 'other' }, inboundId(address, 'a'))).toBeUndefined();
  });
});

describe('the first start', () => {
  it('makes one agent with its chat and wiring, however often it is made', async () => {
    await ensureDefaults(registry);
    expect(await registry.agentGroups()).toHaveLength(1);
    expect(await registry.wirings()).toHaveLength(1);
  });
});
