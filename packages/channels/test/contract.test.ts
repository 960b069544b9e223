import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { channelContract } from '../src/contract/index.ts';
import { openLineServer } from './line-server.ts';
import { openMemory } from './memory-platform.ts';
import { openPlain, PLAIN_LACKS } from './plain-platform.ts';
import { openTerminal } from './terminal-platform.ts';
import { openWebhook } from './webhook-platform.ts';

/** What the server of JSON lines has, and IRC has not. */
const HAS: ReadonlySet<string> = new Set(['acknowledgements', 'redelivery', 'line-breaks', 'control-characters']);

describe('the terminal', () => {
  for (const { name, run } of channelContract(openTerminal, { lacks: ['cards', 'threads', 'groups'] })) test(name, run);
});

for (const mode of ['fetches', 'has a callback'] as const) {
  describe(`a webhook whose program ${mode}`, () => {
    const lacks = ['groups', 'direct-chats', 'typing'] as const;
    for (const { name, run } of channelContract(() => openWebhook(mode), { lacks })) test(name, run);
  });
}

for (const duplicates of ['key', 'history', 'none'] as const) {
  describe(`memory, duplicates: ${duplicates}`, () => {
    for (const { name, run } of channelContract(() => openMemory({ duplicates }), { duplicates })) test(name, run);
  });
}

for (const unit of ['code-points', 'utf8-bytes'] as const) {
  describe(`memory, limits in ${unit}`, () => {
    const limits = { text: { max: 200, unit }, filesMax: 3, buttonPayload: { max: 20, unit } };
    for (const { name, run } of channelContract(() => openMemory({ limits }))) test(name, run);
  });
}

describe('memory that shows text only', () => {
  const lacks = ['files', 'edits', 'reactions', 'questions', 'cards'] as const;
  for (const { name, run } of channelContract(() => openMemory({ shows: [] }), { lacks })) test(name, run);
});

describe('a chat server that speaks JSON lines, as in the README', () => {
  const lacks = PLAIN_LACKS.filter((lack) => !HAS.has(lack));
  for (const { name, run } of channelContract(openLineServer, { lacks, duplicates: 'none' })) test(name, run);

  test('the README has this channel', () => {
    const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');
    const channel = readFileSync(join(import.meta.dirname, 'line-channel.ts'), 'utf8');
    expect(readme.split('```ts\n').map((block) => block.split('```')[0])).toContain(channel);
  });
});

describe('a platform of lines that has nothing else', () => {
  const options = { lacks: PLAIN_LACKS, duplicates: 'none' } as const;
  for (const { name, run } of channelContract(openPlain, options)) test(name, run);

  test('the cases that do not apply are not listed', () => {
    const names = channelContract(openPlain, options).map(({ name }) => name);
    expect(names.filter((name) => /file|edit|reaction|choice|card|repeat|group/.test(name))).toEqual([]);
    expect(names).toContain('a message to a thread is refused for good where there are none');
    expect(names.length).toBeLessThan(channelContract(openPlain).length);
  });
});
