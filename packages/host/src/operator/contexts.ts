/**
 * What operator commands work with. The same three shapes serve a running host, which hands out what it has open, and a
 * command line beside a host that is down (`cli/offline.ts`).
 */
import type { Actor, AgentGroupId, ApprovalId, Registry, Session } from '@nanoclaw/registry';
import type { HostSession, Millis, OutboundReader, SessionFolder, SessionView } from '@nanoclaw/session-db';
import type { DataFolder } from '../data/index.ts';
import type { ChannelReference, ModuleReference } from '../modules/index.ts';
import type { ImageRebuilt } from '../runs/index.ts';
import type { WebhookEndpoint } from './webhook-endpoints.ts';

/** For commands that only look: nothing in it writes. */
export interface Reading {
  readonly registry: RegistryReader;
  readonly sessions: SessionFiles<SessionView>;
  readonly data: DataFolder;
  /** Every key of the configuration with its value and where that comes from. */
  readonly config: readonly ConfigValue[];
  /** The zone of times that name none; IANA. */
  readonly timeZone: string;
  readonly version: string;
  readonly now: () => Millis;
  /** The running host; `undefined` when it is down. */
  readonly live: LiveHost | undefined;
}

/** For commands that change something. The host is running, or the lease on the data folder is held. */
export interface Changing extends Omit<Reading, 'registry' | 'sessions'> {
  readonly registry: Registry;
  readonly sessions: SessionFiles<HostSession>;
  /** Who asks, for the audit log. */
  readonly actor: Actor;
  readonly newId: () => string;
  /** A new secret that nobody can guess, of 43 characters or so. */
  readonly newSecret: () => string;
  /** Says how far a long work has come. Must not throw. */
  readonly onProgress: (line: string) => void;
}

/** For commands that ask something of the host itself. */
export interface Live extends Omit<Changing, 'live'> {
  readonly live: LiveHost;
}

/** The running host, as far as operator commands reach into it. */
export interface LiveHost {
  status(): LiveStatus;
  /** Stops taking up work, lets what is under way end within the configured time, and then stops the host itself. */
  drain(onProgress: (line: string) => void): Promise<DrainReport>;
  /** Something of the session has changed: sweep and delivery look at it at once. */
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
  /** Takes over the endpoints of the webhook channel. */
  reloadWebhooks(endpoints: readonly WebhookEndpoint[]): Promise<void>;
  /** Builds the image of the agent group's packages and puts it in force. */
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

/** What only the running host knows of itself. */
export interface LiveStatus {
  readonly pid: number;
  readonly since: Millis;
  /** What closes the agents in: an engine with its version, or that there is none, as one sentence. */
  readonly isolation: string;
  readonly channels: readonly LiveChannel[];
  /** What of the configuration cannot be used, one sentence each; the host runs without it. */
  readonly problems: readonly string[];
  /** The sessions with a live run. */
  readonly running: readonly string[];
}

/** What was still under way when the time of a drain was over; nothing of it is lost. */
export interface DrainReport {
  readonly unfinished: readonly string[];
}

/** The files of sessions. */
export interface SessionFiles<Files> {
  /** Hands out one session and takes it back when `use` is done. Rejects when its file cannot be opened. */
  withSession<T>(session: Session, use: (access: SessionAccess<Files>) => T | Promise<T>): Promise<T>;
}

/** One session in use. */
export interface SessionAccess<Files> {
  readonly folder: SessionFolder;
  /** What the container wrote. */
  readonly reader: OutboundReader;
  /** The session's own file. To be used within one synchronous block and not kept. */
  readonly files: Files;
}

/** What of the registry only reads. */
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
  readonly people: Pick<Registry['people'], 'users' | 'user' | 'person' | 'roleGrants' | 'memberships'>;
  readonly destinations: Pick<Registry['destinations'], 'list' | 'get'>;
  readonly questions: Pick<Registry['questions'], 'list' | 'get'>;
  readonly approvals: Pick<Registry['approvals'], 'list' | 'get'>;
  readonly dropped: Pick<Registry['dropped'], 'list'>;
  readonly audit: Pick<Registry['audit'], 'list'>;
}

/** One key of the configuration as it stands. */
export interface ConfigValue {
  readonly key: string;
  readonly value: string | number | boolean;
  /** Where the value comes from: the environment, the file `config.json`, or the defaults. */
  readonly source: 'environment' | 'file' | 'default';
  /** The environment variable that sets it. */
  readonly variable: string;
  readonly help: string;
}
