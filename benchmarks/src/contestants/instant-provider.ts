/** A model that answers at once, so that what is measured is everything but the model. */
import { scriptedProvider } from '@nanoclaw/providers/scripted';
import type { ProviderModule } from '@nanoclaw/runner';

export default {
  options: { '~standard': { version: 1, vendor: 'benchmarks', validate: (value) => ({ value }) } },
  create: () => scriptedProvider(({ prompt }) => prompt.messages.map(({ content }) => content['text']).join('\n')),
} satisfies ProviderModule<unknown>;
