/** How a driver is plugged into a host: made by the embedder's code, or named in the configuration and loaded. */
import type { Clock } from '@nanoclaw/session-db';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Driver } from './driver.ts';

/** What a host gives to the driver that is made for it. */
export interface DriverPorts {
  /** The install that the driver belongs to; every spec that it is to start says the same. */
  readonly installId: string;
  /** Host folder for what the driver must remember over lives of the host. It may not exist yet. */
  readonly stateFolder: string;
  /** The time and timers of the host's process. */
  readonly clock: Clock;
}

/** Makes the driver of one host. Rejects, or throws, when there can be none: the host then does not start. */
export type DriverFactory = (ports: DriverPorts) => Driver | Promise<Driver>;

/**
 * The default export of a module that holds a driver, so that a configuration can name the module and give it options.
 *
 * ```ts
 * export default { options: z.object({ zone: z.string() }), create: ({ zone }, ports) => new FleetDriver(zone, ports) }
 *   satisfies DriverModule<{ zone: string }>;
 * ```
 */
export interface DriverModule<Options> {
  /** What the options must be, as a schema of any library that speaks Standard Schema (zod, valibot, arktype …). */
  readonly options: StandardSchemaV1<unknown, Options>;
  /** Makes the driver, with options that the schema has accepted. Rejects, or throws, when there can be none. */
  create(options: Options, ports: DriverPorts): Driver | Promise<Driver>;
}
