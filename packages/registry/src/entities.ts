/**
 * What the registry holds, as plain values.
 *
 * Every field is always present. `null` is a stored "none" (no model chosen, no thread); `undefined` is left to mean
 * "there is no such thing" in an answer and "leave it as it is" in a change. Times are epoch milliseconds, UTC.
 */

/** Epoch milliseconds, UTC: the only form of time. */
export type Millis = number;

/** An agent: its folder, the model it speaks with, and how it is called. May have many sessions. */
export interface AgentGroup extends AgentGroupSettings {
  readonly id: AgentGroupId;
  /** Name of its folder: one path component, unique, fixed for life because files live there. */
  readonly folder: string;
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
}

/** A place on a platform: a chat, a channel, a direct message. */
export interface MessagingGroup extends MessagingGroupSettings {
  readonly id: MessagingGroupId;
  /** Together with `platformId` it names the place; the pair is unique. */
  readonly channelType: string;
  readonly platformId: string;
  readonly createdAt: Millis;
}

/** What of a messaging group may change after it was created. */
export interface MessagingGroupSettings {
  readonly name: string;
  /** In a direct message everything said is said to the agent, so it counts as a mention. */
  readonly kind: 'group' | 'direct';
  readonly strangers: StrangerPolicy;
  /** A denied chat is known and ignored. */
  readonly denied: boolean;
}

/** What to do with people who are neither owner, admin nor member: ignore them, ask an admin first, or listen. */
export type StrangerPolicy = 'strict' | 'request_approval' | 'public';

/** Ties a messaging group to an agent group and says when the agent engages. One per pair. */
export interface Wiring extends WiringSettings {
  readonly id: WiringId;
  readonly messagingGroupId: MessagingGroupId;
  readonly agentGroupId: AgentGroupId;
  readonly createdAt: Millis;
}

/** What of a wiring may change after it was created. */
export interface WiringSettings {
  readonly engage: Engage;
  /** `known`: only owner, admins and members are heard, whatever the chat does with strangers. */
  readonly senderScope: 'all' | 'known';
  /** What becomes of a message that does not engage: forgotten, or kept as context for the next one that does. */
  readonly otherwise: 'drop' | 'accumulate';
  readonly sessionMode: SessionMode;
  /** Wirings of one chat are looked at from the highest priority down. */
  readonly priority: number;
}

/** When an agent engages: on a text that matches, on a mention, or on a mention and then on all of that thread. */
export type Engage =
  | { readonly mode: 'pattern'; readonly pattern: string }
  | { readonly mode: 'mention' }
  | { readonly mode: 'mention-sticky' };

/** One session per chat, one per thread of a chat, or one per agent for all its chats. */
export type SessionMode = 'shared' | 'per-thread' | 'agent-shared';

/** One conversation of one agent: a folder with the two session files. */
export interface Session {
  readonly id: SessionId;
  /** What makes it this session and no other; there are never two sessions with one key. */
  readonly key: SessionKey;
  /** When something in it falls due, as far as the registry has been told; `null`: nothing waits. */
  readonly nextDueAt: Millis | null;
  /** Why the host leaves it alone for now; `null`: it is healthy. */
  readonly quarantine: Quarantine | null;
  readonly createdAt: Millis;
}

/** Which conversation of which agent: all of the agent's, one chat's, or one thread's. */
export type SessionKey =
  | { readonly scope: 'agent'; readonly agentGroupId: AgentGroupId }
  | { readonly scope: 'chat'; readonly agentGroupId: AgentGroupId; readonly messagingGroupId: MessagingGroupId }
  | {
      readonly scope: 'thread';
      readonly agentGroupId: AgentGroupId;
      readonly messagingGroupId: MessagingGroupId;
      readonly threadId: string;
    };

/** A session that gave trouble is left alone until a time. */
export interface Quarantine {
  readonly reason: string;
  readonly until: Millis;
}

/** A messaging group with its wirings and the agent group each leads to, highest priority first. */
export interface WiredChat {
  readonly messagingGroup: MessagingGroup;
  readonly wirings: readonly WiredAgent[];
}

/** A wiring and the agent group it leads to. */
export interface WiredAgent {
  readonly wiring: Wiring;
  readonly agentGroup: AgentGroup;
}

export type AgentGroupId = Id<'AgentGroup'>;
export type MessagingGroupId = Id<'MessagingGroup'>;
export type WiringId = Id<'Wiring'>;
export type SessionId = Id<'Session'>;

declare const entity: unique symbol;
type Id<Entity extends string> = string & { readonly [entity]: Entity };

/**
 * True when a text has the shape of an id: 1–64 characters `a`–`z`, `0`–`9`, `_`, `-`, beginning with a letter or digit.
 * Narrows a text from outside (a command line, a folder name) to the id the caller takes it for; whether such a thing
 * exists only the registry knows.
 *
 * Ids become folder names. Lower case only, because two ids that differ only in case would share one folder on macOS.
 */
export function isId<SomeId extends AgentGroupId | MessagingGroupId | WiringId | SessionId>(
  text: string,
): text is SomeId {
  return /^[a-z0-9][a-z0-9_-]{0,63}$/.test(text);
}
