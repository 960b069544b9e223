import { describe, test } from 'vitest';
import { channelContract } from '../src/contract/index.ts';
import { openMemory } from './memory-platform.ts';
import { openTerminal } from './terminal-platform.ts';
import { openWebhook } from './webhook-platform.ts';

describe('the terminal', () => {
  for (const { name, run } of channelContract(openTerminal)) test(name, run);
});

for (const mode of ['fetches', 'has a callback'] as const) {
  describe(`a webhook whose program ${mode}`, () => {
    for (const { name, run } of channelContract(() => openWebhook(mode))) test(name, run);
  });
}

for (const duplicates of ['key', 'history', 'none'] as const) {
  describe(`memory, duplicates: ${duplicates}`, () => {
    for (const { name, run } of channelContract(() => openMemory({ duplicates }))) test(name, run);
  });
}

for (const unit of ['code-points', 'utf8-bytes'] as const) {
  describe(`memory, limits in ${unit}`, () => {
    const limits = { text: { max: 200, unit }, filesMax: 3, buttonPayload: { max: 20, unit } };
    for (const { name, run } of channelContract(() => openMemory({ limits }))) test(name, run);
  });
}

describe('memory that shows text only', () => {
  for (const { name, run } of channelContract(() => openMemory({ shows: [] }))) test(name, run);
});
