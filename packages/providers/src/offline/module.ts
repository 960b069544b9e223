/** The offline provider as a module that a configuration can name. */
import type { ProviderModule } from '@nanoclaw/runner';
import { offlineProvider } from './offline.ts';

/** Takes no options: those that are there all the same are passed over. */
export const offlineModule: ProviderModule<unknown> = {
  options: { '~standard': { version: 1, vendor: 'nanoclaw', validate: (value) => ({ value }) } },
  create: (_options, { clock }) => offlineProvider(clock),
};
