/**
 * A provider of your own: it answers in capitals. A real one would ask a model. A host loads it by its configuration:
 * { "provider": "shout", "providers": { "shout": { "module": "./shout-provider.ts", "options": { "suffix": "!" } } } }.
 */
import type { Provider, ProviderModule, TurnEvent } from '@nanoclaw/runner';
import { z } from 'zod';

export function shoutProvider(suffix: string): Provider {
  return {
    name: 'shout',
    start: ({ messages }) => {
      const texts = messages.map(({ content }) => String(content['text'] ?? '').toUpperCase());
      let abortReason: string | undefined;
      async function* events(): AsyncGenerator<TurnEvent> {
        if (abortReason !== undefined)
          yield { type: 'error', kind: 'failed', reason: abortReason, lostContinuation: false };
        else yield { type: 'result', text: `${texts.join('\n')}${suffix}`, usage: NO_USAGE };
      }
      // It answers at once, so there is no turn that a follow-up could still join.
      return { events: events(), push: () => false, abort: (reason) => void (abortReason = reason) };
    },
  };
}

const NO_USAGE = { inputTokens: null, outputTokens: null, cacheReadTokens: null, costUsd: null };

export default {
  options: z.strictObject({ suffix: z.string().max(10).default('') }),
  create: ({ suffix }) => shoutProvider(suffix),
} satisfies ProviderModule<{ suffix: string }>;
