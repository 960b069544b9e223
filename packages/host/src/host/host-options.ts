/** What a host is made of: everything that it takes from its app. */
import type { Channel } from '@nanoclaw/channels';
import type { Driver } from '@nanoclaw/containers';
import type { Attachment, Millis, OutboundReader, SessionFolder, SetTimer } from '@nanoclaw/session-db';
import type { Connections } from '../channels/index.ts';
import type { DataFolder, HostSettings } from '../data/index.ts';
import type { Log, LoopDelay } from '../observability/index.ts';
import type { ConfigValue, WebhookEndpoint } from '../operator/index.ts';
import type { Isolation } from '../runs/index.ts';

/** What a host takes; it reads no clock, no chance and no environment of its own. */
export interface HostOptions {
  readonly data: DataFolder;
  readonly installId: string;
  readonly config: HostSettings;
  /** Every key of the configuration with where its value comes from, for whoever asks. */
  readonly configValues: readonly ConfigValue[];
  readonly version: string;
  readonly pid: number;
  readonly log: Log;
  /** The folder with the bundled agent-runner. */
  readonly runnerFolder: string;
  /** The folder with the skills of this version. */
  readonly skillsFolder: string;
  /** A folder for private copies, each of which is removed after its use. */
  readonly scratch: string;
  readonly channels: readonly Channel[];
  /** Runs the agents; closed with the host. */
  readonly driver: Driver;
  readonly isolation: Isolation;
  /** Reads what agents wrote. */
  readonly guard: OutboundGuard;
  /** The environment that the model's client gets: the keys that begin with `ANTHROPIC_`. */
  readonly modelEnv: Readonly<Record<string, string>>;
  readonly now: () => Millis;
  readonly monotonic: () => number;
  readonly random: () => number;
  readonly newId: () => string;
  /** A new secret that nobody can guess. */
  readonly newSecret: () => string;
  readonly setTimer: SetTimer;
  /** How late the event loop has been since it was last asked. */
  readonly loopDelay: () => LoopDelay;
  /** Takes over the endpoints of the webhook channel. */
  readonly onEndpoints: (endpoints: readonly WebhookEndpoint[], connections: Connections) => Promise<void>;
  /** An operator wants the host to end: its app is to call `stop`. Must not throw. */
  readonly onDrained: () => void;
  /**
   * Sessions whose runs could not be started are tried again at the start, whatever wait they have left: somebody who sits
   * at the terminal has come to mend it. A daemon keeps to its waits, so that restarting it in a loop hammers nothing.
   */
  readonly triesAtOnce: boolean;
  /** A message will not be answered now, and why, as one sentence. Must not throw. */
  readonly onUnanswered: (reason: string) => void;
}

/** How the host reads what agents wrote; see `guard/guard.ts`. */
export interface OutboundGuard {
  reader(folder: SessionFolder): OutboundReader;
  spool(folder: SessionFolder, messageId: string, names: readonly string[]): Promise<Attachment[]>;
  remove(folder: SessionFolder, messageId: string): Promise<'removed' | 'unfinished'>;
}
