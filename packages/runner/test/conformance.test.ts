import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InboundMessage } from '@nanoclaw/session-db';
import { describe, it } from 'vitest';
import { type ScriptedTurn, scriptedProvider } from '../../providers/src/scripted/scripted.ts';
import { type ProviderUnderTest, providerConformance } from '../src/conformance/index.ts';
import type { Prompt } from '../src/index.ts';

function prompt(text: string): Prompt {
  const messages: InboundMessage[] = [];
  return { text, messages };
}

async function script(turn: ScriptedTurn): Promise<string | null> {
  turn.emit({ type: 'continuation', token: 'c1' });
  switch (turn.prompt.text) {
    case 'answer':
      return 'an answer';
    case 'work':
      return new Promise<never>(() => undefined);
    case 'work briefly':
      return `after ${(await turn.followUp()).text}`;
    case 'use tool':
      return turn.call('send_message', { text: 'hi' }).catch((error: unknown) => String(error));
    default:
      throw new Error('it fails');
  }
}

async function open(): Promise<ProviderUnderTest> {
  const cwd = mkdtempSync(join(tmpdir(), 'nanoclaw-provider-'));
  return {
    provider: scriptedProvider(script),
    cwd,
    prompts: {
      answer: prompt('answer'),
      work: prompt('work'),
      workBriefly: prompt('work briefly'),
      fail: prompt('fail'),
      useTool: prompt('use tool'),
    },
    close: async () => rmSync(cwd, { recursive: true }),
  };
}

describe('the scripted provider', () => {
  for (const { name, run } of providerConformance(open)) it(name, run);
});
