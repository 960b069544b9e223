/**
 * What the registry holds, as plain values.
 *
 * Every field is always present. `null` is a stored "none" (no model chosen, no thread); `undefined` is left to mean
 * "there is no such thing" in an answer and "leave it as it is" in a change. Times are epoch milliseconds, UTC.
 */

import type { Address, Json, JsonObject, Millis } from '@nanoclaw/session-db';

export type { Address, Json, JsonObject, Millis };

/** An agent: its folder, the model it speaks with, and how it is called. May have many sessions. */
export interface AgentGroup extends AgentGroupSettings {
  /** Part of the paths of its files; never changes. */
  readonly id: AgentGroupId;
  /** Name of its folder: one path component, unique, fixed for life because files live there. */
  readonly folder: string;
  /** In epoch milliseconds. */
  readonly createdAt: Millis;
}

/** What of an agent group may change after it was created. */
export interface AgentGroupSettings {
  /** For people. */
  readonly name: string;
  /** Which provider runs its turns, by the provider's own name (`claude`, …). */
  readonly provider: string;
  /** `null`: the provider's default. */
  readonly model: string | null;
  /** `null`: the provider's default. */
  readonly effort: string | null;
  /** What the agent calls itself; `null`: the agent group's name. */
  readonly assistantName: string | null;
  /** How many messages one prompt may take, 1–1000. */
  readonly messagesPerPrompt: number;
  /** Which skills it sees: all there are, or those named. */
  readonly skills: 'all' | readonly string[];
  /** Servers of tools that its runs start, besides our own. */
  readonly mcpServers: readonly McpServer[];
  /** What is installed in its image. */
  readonly packages: Packages;
  /** What it asks to see of the host's disk; the owner's list, kept elsewhere, decides. */
  readonly mounts: readonly MountRequest[];
  /** The engine's name of the image that was built for its packages; `null`: the common one. */
  readonly image: string | null;
  /** Which network its containers join; `null`: the configuration's. */
  readonly network: string | null;
  /** Which of the operator's commands its runs may give. */
  readonly commandScope: CommandScope;
}

/** A program that offers tools to the agent, as it is started inside the container. */
export interface McpServer {
  /** Unique among the servers of an agent group; its tools bear it before their own names. */
  readonly name: string;
  /** The program, as the container finds it. */
  readonly command: string;
  /** Its arguments; no shell reads them. */
  readonly args: readonly string[];
}

/** Names of packages: Debian's, and npm's with or without a version. */
export interface Packages {
  /** For the package manager of the image. */
  readonly apt: readonly string[];
  /** As `npm install` takes them. */
  readonly npm: readonly string[];
}

/** A folder or file of the host that an agent group asks to see. */
export interface MountRequest {
  /** Absolute path on the host. */
  readonly source: string;
  /** What it is called in the container: one path component. */
  readonly name: string;
  /** Whether the agent asks to write there; the owner has to allow that as well. */
  readonly isWritable: boolean;
}

/** Which operator commands the agent may give from inside: none, what reads, what concerns itself only, or all. */
export type CommandScope = 'none' | 'read' | 'own' | 'all';

/** A place on a platform: a chat, a channel, a direct message. */
export interface MessagingGroup extends MessagingGroupSettings {
  /** Never changes. */
  readonly id: MessagingGroupId;
  /** The instance of the channel, by its name. Together with `platformId` it names the place; the pair is unique. */
  readonly channelType: string;
  /** The place's id on its platform, as the channel gives it. */
  readonly platformId: string;
  /** In epoch milliseconds. */
  readonly createdAt: Millis;
}

/** What of a messaging group may change after it was created. */
export interface MessagingGroupSettings {
  /** For people. */
  readonly name: string;
  /** In a direct chat every message is meant for the agent, so it counts as a mention. */
  readonly kind: 'group' | 'direct';
  /** What becomes of a message from a person who is not known. */
  readonly strangers: StrangerPolicy;
  /** A denied chat is known and ignored. */
  readonly denied: boolean;
}

/** What to do with people who are neither owner, admin nor member: ignore them, ask an admin first, or listen. */
export type StrangerPolicy = 'strict' | 'request_approval' | 'public';

/** Ties a messaging group to an agent group and says when the agent engages. One per pair. */
export interface Wiring extends WiringSettings {
  /** Never changes. */
  readonly id: WiringId;
  /** Where people write. */
  readonly messagingGroupId: MessagingGroupId;
  /** Who may answer there. */
  readonly agentGroupId: AgentGroupId;
  /** In epoch milliseconds. */
  readonly createdAt: Millis;
}

/** What of a wiring may change after it was created. */
export interface WiringSettings {
  /** Which messages the agent takes as said to it. */
  readonly engage: Engage;
  /** `known`: only owner, admins and members are heard, whatever the chat does with strangers. */
  readonly senderScope: 'all' | 'known';
  /** What becomes of a message that does not engage: forgotten, or kept as context for the next one that does. */
  readonly otherwise: 'drop' | 'accumulate';
  /** Whether threads, or chats, have sessions of their own. */
  readonly sessionMode: SessionMode;
  /**
   * Where its sessions may write to: their own chat, or all destinations of the agent. `default`: their own chat where strangers
   * are heard, else all.
   */
  readonly reach: 'default' | 'own-chat' | 'all-destinations';
  /** Wirings of one chat are looked at from the highest priority down. */
  readonly priority: number;
}

/** When an agent engages: on a text that matches, on a mention, or on a mention and then on all of that thread. */
export type Engage =
  | {
      readonly mode: 'pattern';
      /** What is looked for in the text, in the syntax of RE2; `.` alone means each message. */
      readonly pattern: string;
    }
  | { readonly mode: 'mention' }
  | { readonly mode: 'mention-sticky' };

/** One session per chat, one per thread of a chat, or one per agent for all its chats. */
export type SessionMode = 'shared' | 'per-thread' | 'agent-shared';

/** Owners are owners of everything; an admin is one of everything (`null`) or of one agent group. */
export type Role =
  | { readonly role: 'owner' }
  | {
      readonly role: 'admin';
      /** The agent group; `null`: all of them. */
      readonly agentGroupId: AgentGroupId | null;
    };

/** A stranger wants to speak to an agent; a chat is not known; an agent wants something done. */
export type ApprovalKind = 'sender' | 'channel' | 'action';

/** What was decided, and by which user; an approval that no user decides in time is expired by the host. */
export interface ApprovalOutcome {
  readonly type: 'approved' | 'denied' | 'expired';
  readonly by: Actor;
  readonly at: Millis;
}

/** How a question ended. */
export type QuestionOutcome =
  | { readonly type: 'answered'; readonly option: number; readonly by: UserId; readonly at: Millis }
  | { readonly type: 'expired'; readonly at: Millis };

/** One conversation of one agent: a folder with the two session files. */
export interface Session {
  /** Part of the paths of its files; never changes. */
  readonly id: SessionId;
  /** What makes it this session and no other; there are never two sessions with one key. */
  readonly key: SessionKey;
  /** When something in it falls due, as the host last wrote it; `null`: nothing waits. */
  readonly nextDueAt: Millis | null;
  /** Why the host leaves it alone for now; `null`: it is healthy. */
  readonly quarantine: Quarantine | null;
  /** In epoch milliseconds. */
  readonly createdAt: Millis;
}

/** Which conversation of which agent: all of the agent's, one chat's, or one thread's. */
export type SessionKey =
  | {
      readonly scope: 'agent';
      /** Whose conversation it is. */
      readonly agentGroupId: AgentGroupId;
    }
  | {
      readonly scope: 'chat';
      /** Whose conversation it is. */
      readonly agentGroupId: AgentGroupId;
      /** The chat that it belongs to. */
      readonly messagingGroupId: MessagingGroupId;
    }
  | {
      readonly scope: 'thread';
      /** Whose conversation it is. */
      readonly agentGroupId: AgentGroupId;
      /** The chat that it belongs to. */
      readonly messagingGroupId: MessagingGroupId;
      /** The thread's id on its platform. */
      readonly threadId: string;
    };

/** A session that gave trouble is left alone until a time. */
export interface Quarantine {
  readonly reason: string;
  readonly until: Millis;
}

/** A messaging group with its wirings and the agent group each leads to, highest priority first. */
export interface WiredChat {
  /** The chat. */
  readonly messagingGroup: MessagingGroup;
  /** Highest priority first; empty for a chat that no agent is wired to. */
  readonly wirings: readonly WiredAgent[];
}

/** A wiring and the agent group it leads to. */
export interface WiredAgent {
  readonly wiring: Wiring;
  readonly agentGroup: AgentGroup;
}

/** The id of an agent group. */
export type AgentGroupId = Id<'AgentGroup'>;
/** The id of a messaging group. */
export type MessagingGroupId = Id<'MessagingGroup'>;
/** The id of a wiring. */
export type WiringId = Id<'Wiring'>;
/** The id of a session; its folder is named after it. */
export type SessionId = Id<'Session'>;
/** The id of an entry of an address book. */
export type DestinationId = Id<'Destination'>;
/** The id of a question. */
export type QuestionId = Id<'Question'>;
/** The id of an approval. */
export type ApprovalId = Id<'Approval'>;
/** `<instance name>:<handle>`: a person as one channel instance knows them (see {@link userId}). */
export type UserId = Id<'User'>;

declare const entity: unique symbol;
type Id<Entity extends string> = string & { readonly [entity]: Entity };
/** The id of something that the registry names itself. */
export type EntityId = AgentGroupId | MessagingGroupId | WiringId | SessionId | DestinationId | QuestionId | ApprovalId;

/**
 * True when a text has the shape of an id: 1–64 characters `a`–`z`, `0`–`9`, `_`, `-`, beginning with a letter or digit.
 * Narrows a text from outside (a command line, a folder name) to the id the caller takes it for; whether such a thing
 * exists only the registry knows.
 *
 * Ids become folder names. Lower case only, because two ids that differ only in case would share one folder on macOS.
 */
export function isId<SomeId extends EntityId>(text: string): text is SomeId {
  return /^[a-z0-9][a-z0-9_-]{0,63}$/.test(text);
}

/**
 * The user that a channel instance calls by this handle; `undefined` when no user can be called so: the handle or the
 * instance's name (`channelType`) is empty, the whole has more than 300 characters, there are control characters in it,
 * or a colon in the name. `agent` is no channel of people: `agent:<id>` is what an agent is called where users are (see {@link Actor}).
 */
export function userId(channelType: string, handle: string): UserId | undefined {
  const id = `${channelType}:${handle}`;
  return !channelType.includes(':') && isUserId(id) ? id : undefined;
}

/** True when a text has the shape of a user's id. Whether there is such a user only the registry knows. */
export function isUserId(text: string): text is UserId {
  const end = text.indexOf(':');
  const hasBothParts = end > 0 && end < text.length - 1;
  return (
    hasBothParts && text.length <= 300 && !text.startsWith('agent:') && !/\p{Cc}/u.test(text) && text.isWellFormed()
  );
}

/** Who did something: a user, the operator at the command line, the host by itself, or an agent. */
export type Actor = UserId | 'operator' | 'host' | `agent:${string}`;

/** An agent as the one who did something. */
export function agentActor(agentGroupId: AgentGroupId): Actor {
  return `agent:${agentGroupId}`;
}
