/** What a host is made of, all of it decided: what `createHost` makes of its options. */
import type { WebhookChannel } from '@nanoclaw/channels/webhook';
import type { Driver } from '@nanoclaw/containers';
import type { GuardReport } from '@nanoclaw/guard';
import type { Attachment, OutboundReader, SessionFolder } from '@nanoclaw/session-db';
import type { Connections } from '../channels/index.ts';
import type { DataFolder, HostSettings } from '../data/index.ts';
import type { UncaughtErrors } from '../errors/index.ts';
import type { LoadOptions, ModuleReferences } from '../modules/index.ts';
import type { Log } from '../observability/index.ts';
import type { ConfigValue } from '../operator/index.ts';
import type { Isolation } from '../runs/index.ts';
import type { FileShares } from './file-shares.ts';
import type { HostPorts } from './process-ports.ts';

/** Everything that a host works with. */
export interface HostSetup {
  readonly data: DataFolder;
  readonly installId: string;
  readonly settings: HostSettings;
  /** Every key of the program's configuration with where its value comes from, for whoever asks. */
  readonly configValues: readonly ConfigValue[];
  readonly version: string;
  readonly log: Log;
  /** The folder with the bundled agent-runner. */
  readonly runnerFolder: string;
  /** The folder with the skills of this version. */
  readonly skillsFolder: string;
  /** The channels, not connected yet. */
  readonly connections: Connections;
  /** The channel behind `nanoclaw webhooks`; connected with its first endpoint. `undefined`: this host has none. */
  readonly webhooks: WebhookChannel | undefined;
  /** What the configuration names of channels, providers and drivers that are not ours. */
  readonly modules: ModuleReferences;
  readonly load: LoadOptions;
  /** Runs the agents; closed with the host. */
  readonly driver: Driver;
  readonly isolation: Isolation;
  /** Reads what agents wrote. */
  readonly guard: OutboundGuard;
  /** Errors that nothing caught. */
  readonly uncaught: UncaughtErrors;
  /** The environment that the model's client gets: the keys that begin with `ANTHROPIC_`. */
  readonly modelEnv: Readonly<Record<string, string>>;
  readonly ports: HostPorts;
  /** What the files that this process may open are shared into. */
  readonly shares: FileShares;
  readonly onDrained: () => void;
  readonly triesAtOnce: boolean;
  readonly onUnanswered: (reason: string) => void;
}

/** How the host reads what agents wrote; `Guard` of `@nanoclaw/guard` does it in a process of its own. */
export interface OutboundGuard {
  /** A reader of what a session's runner wrote. */
  reader(folder: SessionFolder): OutboundReader;
  /** Copies the files of a message into the host's spool; one that cannot be copied is refused with the reason. */
  spool(folder: SessionFolder, messageId: string, names: readonly string[]): Promise<Attachment[]>;
  /** Removes the files of a message. `unfinished`: there are more, and it is to be called again. */
  remove(folder: SessionFolder, messageId: string): Promise<'removed' | 'unfinished'>;
  /** What closes in whatever reads, tried in earnest. Rejects when nothing can read now. */
  report(): Promise<Pick<GuardReport, 'isClosed' | 'sentence'>>;
}
