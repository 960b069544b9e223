// How a channel plugs in: a module that names its type, says which options it takes, and makes the channel from them.
import type { Clock } from '@nanoclaw/session-db';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Channel } from './channel.ts';

/**
 * What a package or a file has as its default export to offer a channel to any host. A host finds it by name in its
 * configuration, checks the options that stand there with `options`, and calls `create` once for each instance.
 */
export interface ChannelModule<Options = unknown> {
  /** The `type` of the channels it makes, for example `terminal`. */
  readonly type: string;
  /**
   * Checks the options of one instance and fills in what was left out. A Standard Schema, as zod, valibot and others make
   * them; its issues are shown to the operator, so each is one sentence about one option.
   */
  readonly options: StandardSchemaV1<unknown, Options>;
  /**
   * Makes the channel, not started, from what `options` gave. Throws or rejects, with a sentence for the operator, when
   * these options can never work; what may pass is for `start` to find.
   */
  create(options: Options, ports: ChannelPorts): Channel | Promise<Channel>;
}

/** What the host gives to one instance of a channel. Several instances of one type may run side by side. */
export interface ChannelPorts {
  /**
   * The name that the operator gave this instance, for logs and sentences. A channel says its own `type` in addresses all
   * the same: the host translates.
   */
  readonly instance: string;
  /** The absolute path of a folder that is there, private, kept, and of this instance alone. */
  readonly folder: string;
  /** The time and the timers of the host's process. */
  readonly clock: Clock;
  /** Told, as plain data without secrets and texts of messages, of what goes wrong; for log and metrics. Never throws. */
  readonly onTrouble: (trouble: object) => void;
}
