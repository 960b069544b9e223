/**
 * What operator commands work with. The same three contexts serve a running host, which hands out what it has open, and a
 * command line beside a host that is down (`offline.ts`).
 */
import type { Actor, AgentGroupId, ApprovalId, Registry, Session } from '@nanoclaw/registry';
import type { HostSession, Millis, OutboundReader, SessionFolder, SessionView } from '@nanoclaw/session-db';
import type { DataFolder } from '../data/index.ts';
import type { UncaughtRecord } from '../errors/index.ts';
import type { ChannelReference, ModuleReference } from '../modules/index.ts';
import type { ImageRebuilt } from '../runs/index.ts';
import type { WebhookEndpoint } from './webhook-endpoints.ts';

/** The context of commands that change nothing: nothing in it writes. */
export interface ReadContext {
  /** The registry, for reading only. */
  readonly registry: RegistryReader;
  /** The files of sessions, for reading only. */
  readonly sessions: SessionFiles<SessionView>;
  /** The data folder. */
  readonly data: DataFolder;
  /** Every key of the configuration with its value and its source. */
  readonly config: readonly ConfigValue[];
  /** The zone of times that name none; IANA. */
  readonly timeZone: string;
  /** The version of the host's program. */
  readonly version: string;
  /** Wall-clock milliseconds. */
  readonly now: () => Millis;
  /** The running host; `undefined` when it is down. */
  readonly live: LiveHost | undefined;
}

/** The context of commands that change something. The host is running, or the lease on the data folder is held. */
export interface WriteContext extends Omit<ReadContext, 'registry' | 'sessions'> {
  /** The whole registry. */
  readonly registry: Registry;
  /** The files of sessions, for reading and writing. */
  readonly sessions: SessionFiles<HostSession>;
  /** The caller, for the audit log. */
  readonly actor: Actor;
  /** A new unique id. */
  readonly newId: () => string;
  /** A new random secret of at least 128 bits, as text. */
  readonly newSecret: () => string;
  /** Called with the progress of long work, one line each time. Must not throw. */
  readonly onProgress: (line: string) => void;
}

/** The context of commands that need the running host itself. */
export interface LiveContext extends Omit<WriteContext, 'live'> {
  /** The running host. */
  readonly live: LiveHost;
}

/** What operator commands ask of the running host. */
export interface LiveHost {
  /** What only the running host knows of itself. */
  status(): LiveStatus;
  /** Takes no new work, lets what is under way end within the configured time, and then stops the host itself. */
  drain(onProgress: (line: string) => void): Promise<DrainReport>;
  /** Makes sweep and delivery look at a session at once, because something in it has changed. */
  poke(sessionId: string): void;
  /** Stops the session's run after its grace. False when it has none. Rejects when the runtime could not. */
  stopRun(sessionId: string, reason: string): Promise<boolean>;
  /** Forgets the session and closes its files, once its run has been stopped. */
  forget(sessionId: string): Promise<void>;
  /** Does what follows from an approval that has been decided. */
  applyApproval(id: ApprovalId): Promise<void>;
  /**
   * Makes a channel of the configuration to see whether it can be used, and gives its type; nothing is connected. Rejects with a
   * `ModuleError`.
   */
  checkChannel(instance: string, reference: ModuleReference): Promise<string>;
  /** Makes a channel and connects it; one that cannot be made stays in `status` as broken. Never rejects for the channel. */
  addChannel(instance: string, reference: ChannelReference): Promise<void>;
  /** Disconnects a channel and forgets it. Rejects as the channel's `stop` does. */
  removeChannel(instance: string): Promise<void>;
  /**
   * Replaces the endpoints of the webhook channel. Rejects with a `Problem` when it cannot serve them; it serves what it served
   * before then.
   */
  reloadWebhooks(endpoints: readonly WebhookEndpoint[]): Promise<void>;
  /** Builds the image of the agent group's packages and uses it for new runs. A failure is in the result. */
  rebuildImage(agentGroupId: AgentGroupId, onProgress: (line: string) => void): Promise<ImageRebuilt>;
}

/** A channel of the running host. */
export interface LiveChannel {
  /** The name that the operator gave it. */
  readonly instance: string;
  /** What kind it is; `null` when it could not be made. */
  readonly type: string | null;
  /** `online`, `offline`, `stopped`, or `broken` when it could not be made. */
  readonly state: string;
  /** Why it is offline or broken. */
  readonly reason: string | null;
}

/** A provider that agents of the running host can be given. */
export interface LiveProvider {
  /** As agents and the configuration name it. */
  readonly name: string;
  /** The module that it comes from; `null`: it came with the program. */
  readonly module: string | null;
  /** Whether it answers for the agents that name none. */
  readonly isDefault: boolean;
}

/** A model that is in the way of its agents. */
export interface LiveModelTrouble {
  /** As agents and the configuration name it. */
  readonly provider: string;
  /** `refused`: a person must act. `unavailable`: it will pass. `silent`: it is being asked, and gives no sign. */
  readonly kind: string;
  /** What it said, as one sentence. */
  readonly reason: string;
  /** Since when. */
  readonly since: Millis;
  /** When it is asked next; `null`: it is being asked. */
  readonly retryAt: Millis | null;
  /** In how many sessions. */
  readonly sessions: number;
  /** How many messages wait for it. */
  readonly messages: number;
}

/** What only the running host knows of itself. */
export interface LiveStatus {
  /** The id of the host's process. */
  readonly pid: number;
  /** When it was started, in wall-clock milliseconds. */
  readonly since: Millis;
  /** What isolates the agents: an engine with its version, or that there is none; what to show behind “isolation”. */
  readonly isolation: string;
  /** What closes in the guard, which reads what agents wrote, as a sentence; `null` while that is being tried. */
  readonly guard: string | null;
  /** Each instance of a channel, and how it is. */
  readonly channels: readonly LiveChannel[];
  /** None where the program brings its own driver, which decides who answers. */
  readonly providers: readonly LiveProvider[];
  /** Models that refuse, are away or give no sign. */
  readonly modelTroubles: readonly LiveModelTrouble[];
  /** What of the configuration cannot be used, one sentence each; the host runs without it. */
  readonly problems: readonly string[];
  /** Errors that nothing caught, by whose they are. */
  readonly uncaught: readonly UncaughtRecord[];
  /** The sessions with a live run. */
  readonly running: readonly string[];
  /** The sessions that wait for a place for their run. */
  readonly waiting: readonly string[];
}

/** What a drain has left; nothing of it is lost. */
export interface DrainReport {
  /** The ids of the sessions with a delivery that had no outcome yet when the time was over. */
  readonly unfinished: readonly string[];
  /** The ids of the sessions with a live run. */
  readonly running: readonly string[];
}

/** Access to the files of sessions, one session at a time. */
export interface SessionFiles<Files> {
  /** Opens one session for as long as `use` takes. Rejects when its file cannot be opened. */
  withSession<T>(session: Session, use: (access: SessionAccess<Files>) => T | Promise<T>): Promise<T>;
}

/** One session in use. */
export interface SessionAccess<Files> {
  /** Where its files are. */
  readonly folder: SessionFolder;
  /** Reads what the session's runner wrote. */
  readonly reader: OutboundReader;
  /** The session's own file. To be used within one synchronous block and not kept. */
  readonly files: Files;
}

/** The part of the registry that only reads. */
export interface RegistryReader
  extends Pick<
    Registry,
    | 'agentGroups'
    | 'agentGroup'
    | 'agentGroupByFolder'
    | 'messagingGroups'
    | 'messagingGroup'
    | 'wirings'
    | 'wiring'
    | 'sessions'
    | 'session'
  > {
  /** Users, roles and memberships. */
  readonly people: Pick<Registry['people'], 'users' | 'user' | 'person' | 'roleGrants' | 'memberships'>;
  /** Where agents may write to. */
  readonly destinations: Pick<Registry['destinations'], 'list' | 'get'>;
  /** What agents ask people. */
  readonly questions: Pick<Registry['questions'], 'list' | 'get'>;
  /** What waits for an admin's decision. */
  readonly approvals: Pick<Registry['approvals'], 'list' | 'get'>;
  /** Counts of dropped messages. */
  readonly dropped: Pick<Registry['dropped'], 'list'>;
  /** Who did what. */
  readonly audit: Pick<Registry['audit'], 'list'>;
}

/** One key of the configuration as it stands. */
export interface ConfigValue {
  /** The key as in `config.json`. */
  readonly key: string;
  /** Its value as it stands. */
  readonly value: string | number | boolean;
  /** Where the value comes from: the environment, the file `config.json`, or the defaults. */
  readonly source: 'environment' | 'file' | 'default';
  /** The environment variable that sets it. */
  readonly variable: string;
  /** What it is for, in one line. */
  readonly help: string;
}
