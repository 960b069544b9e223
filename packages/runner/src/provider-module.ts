/** How a provider is plugged into an agent: by a module that its configuration names. */
import type { UUID } from 'node:crypto';
import type { Clock } from '@nanoclaw/session-db';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Provider } from './provider.ts';

/** What the provider of one run is given of the world. */
export interface ProviderPorts {
  /** The wall clock and the timers. */
  readonly clock: Clock;
  /** The run's whole environment, with the agent's time zone as `TZ`. What of it a provider hands on is its decision. */
  readonly env: Readonly<Record<string, string>>;
  /** Gives another UUID at each call. */
  readonly newId: () => UUID;
  /** Writes a sentence into the run's log: trouble that fails no turn. */
  readonly report: (sentence: string) => void;
  /** The user id that the provider's own programs run as. */
  readonly uid: number;
}

/**
 * The default export of a module that holds a provider, so that a configuration can name the module and give it options.
 *
 * ```ts
 * export default { options: z.object({ url: z.url() }), create: ({ url }, ports) => new LocalModel(url, ports.clock) }
 *   satisfies ProviderModule<{ url: string }>;
 * ```
 */
export interface ProviderModule<Options> {
  /** What the options must be, as a schema of any library that speaks Standard Schema (zod, valibot, arktype …). */
  readonly options: StandardSchemaV1<unknown, Options>;
  /**
   * Makes the provider of one run, with options that the schema has accepted. Rejects, or throws, when there can be none
   * with this configuration: the run then ends with the exit code `configuration`, and the message in its log.
   */
  create(options: Options, ports: ProviderPorts): Provider | Promise<Provider>;
}
