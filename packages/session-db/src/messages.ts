/**
 * What the two files carry, as plain values. Rows become these types where the SQL is and nowhere else.
 */
import type { Millis } from './time.ts';

declare const brand: unique symbol;

/** Names one life of a runner. Branded because it is what fences: no other text may stand in its place. */
export type RunId = string & { readonly [brand]: 'RunId' };

/** Takes a text as a run id. Throws `RangeError` unless it is 1–100 characters of letters, digits, `-`, `_`, `.`. */
export function runId(text: string): RunId {
  if (!isRunId(text)) {
    throw new RangeError(`A run id is 1 to 100 letters, digits, '-', '_' or '.', and ${JSON.stringify(text)} is not.`);
  }
  return text;
}

function isRunId(text: string): text is RunId {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(text);
}

/** A place on a platform: a chat and, where the platform has them, a thread in it. */
export interface Address {
  /** The instance of a channel, such as `terminal`. */
  readonly channelType: string;
  /** The chat, by the platform's own id. */
  readonly platformId: string;
  /** The thread in it; `null` where there is none. */
  readonly threadId: string | null;
}

/** One text per address, equal exactly when the addresses are: the key of first-in first-out order. */
export function addressKey(address: Address): string {
  return JSON.stringify([address.channelType, address.platformId, address.threadId]);
}

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A JSON object: the content of every message is one. */
export type JsonObject = { readonly [key: string]: Json };

/** What an inbound message may be. */
export const INBOUND_KINDS = ['chat', 'chat-sdk', 'task', 'webhook', 'system', 'command'] as const;
export type InboundKind = (typeof INBOUND_KINDS)[number];

/** What an outbound message may be. */
export const OUTBOUND_KINDS = ['chat', 'chat-sdk', 'task', 'webhook', 'system'] as const;
export type OutboundKind = (typeof OUTBOUND_KINDS)[number];

/** A message for the agent, before it is written. */
export interface NewInbound {
  /** Unique in the session and derived from its origin (the platform's id), so that writing it twice is one message. */
  readonly id: string;
  /** What it is. */
  readonly kind: InboundKind;
  /** When it was sent, by the platform's clock. */
  readonly timestamp: Millis;
  /** `wakes`: it starts a run. `context`: it is read along with the next message that does. */
  readonly trigger: Trigger;
  /** Not before this time; the time of writing when left out. */
  readonly processAfter?: Millis;
  /** Only the first poll of a new run may take it. */
  readonly onWake?: boolean;
  /** Where it came from and where the answer goes; `null` for what has no place, such as a task. */
  readonly address: Address | null;
  /** The session that asked, for mail between agents: its return path. */
  readonly sourceSessionId?: string;
  /** The outbound message that this one answers. */
  readonly inReplyTo?: string;
  /** Its content, by its kind. */
  readonly content: JsonObject;
}

export type Trigger = 'wakes' | 'context';

/** Makes a message an occurrence of a series. The expression is checked by the scheduler, not here. */
export interface Recurrence {
  /** The series that it is an occurrence of. */
  readonly seriesId: string;
  /** A cron expression of five fields, or an interval: `every 90 minutes from 2026-01-31T09:00:00Z`. */
  readonly cron: string;
  /** IANA name, such as `Europe/Berlin`. */
  readonly timeZone: string;
}

/** A message for the agent as the runner reads it. */
export interface InboundMessage {
  /** Unique in the session, and derived from its origin. */
  readonly id: string;
  /** Even. The number by which the agent knows it. */
  readonly seq: number;
  /** What it is. */
  readonly kind: InboundKind;
  /** When it was sent, by the platform's clock. */
  readonly timestamp: Millis;
  /** Whether it wakes the agent or is context only. */
  readonly trigger: Trigger;
  /** How many attempts have been settled; a claim takes the next one. */
  readonly tries: number;
  /** How many of them count towards the last one that it may have. */
  readonly triesSpent: number;
  /** Where it came from and where the answer goes; `null` for what has no place. */
  readonly address: Address | null;
  /** The session that sent it, for mail between agents. */
  readonly sourceSessionId: string | null;
  /** The outbound message that this one answers. */
  readonly inReplyTo: string | null;
  /** Its content, by its kind. */
  readonly content: JsonObject;
  /** Of an occurrence of a repeated task; `null` for anything else. */
  readonly recurrence: Recurrence | null;
}

/** One attempt of one run at one message. */
export interface Claim {
  /** The inbound message. */
  readonly messageId: string;
  /** From 1. */
  readonly attempt: number;
  /** The run that claimed it. */
  readonly runId: RunId;
}

/** What a run says of its claim. */
export type Ack = {
  /** The inbound message that was claimed. */
  readonly messageId: string;
  /** Which attempt at it, from 1. */
  readonly attempt: number;
  /** As the container wrote it: any text. */
  readonly runId: string;
  /** When the status was written, by the runner's clock. */
  readonly statusChanged: Millis;
  /** Why it failed or was deferred; `null` for any other status. */
  readonly error: string | null;
} & (
  | {
      /** How far it has come. */
      readonly status: Exclude<AckStatus, 'deferred'>;
    }
  | ({ readonly status: 'deferred' } & Deferral)
);

/** What an ack may say. */
export const ACK_STATUSES = ['processing', 'completed', 'failed', 'deferred'] as const;
export type AckStatus = (typeof ACK_STATUSES)[number];

/** What may stand in the way of a model. */
export const DEFERRAL_KINDS = ['refused', 'unavailable'] as const;
/**
 * What stands in the way of a model, which is not the fault of any message. `refused`: a person must act, because the key, the
 * credit or the access to the model is not good. `unavailable`: it will pass, as an outage or a limit of requests does.
 */
export type DeferralKind = (typeof DEFERRAL_KINDS)[number];

/** Why an attempt says nothing about its message. */
export interface Deferral {
  /** What stood in the way. */
  readonly kind: DeferralKind;
  /** How long the model wants to be left alone, in milliseconds; `null` when it did not say. */
  readonly retryAfterMs: number | null;
}

/** How a turn ended for the messages it took. */
export type Outcome =
  | { readonly type: 'completed' }
  | {
      readonly type: 'failed';
      /** What went wrong, as one sentence. */
      readonly reason: string;
    }
  | ({
      readonly type: 'deferred';
      /** What stood in the way, as one sentence. */
      readonly reason: string;
    } & Deferral);

/** A message for the world, before it is written. */
export interface NewOutbound {
  /** Unique in the session. */
  readonly id: string;
  /** What it is. */
  readonly kind: OutboundKind;
  /** A request: the host decides where it goes. `null` asks for the session's default reply address. */
  readonly address: Address | null;
  /** The inbound message it answers. */
  readonly inReplyTo: string | null;
  /** Not before this time; at once when left out. */
  readonly deliverAfter?: Millis;
  /** Its content, by its kind. */
  readonly content: JsonObject;
}

/**
 * What makes two attempts' doing the same thing one thing: a message that a turn writes before its end belongs to every
 * message that the turn has in hand then, and the same one of a later attempt at any of these is the same row.
 */
export interface Effect {
  /** The inbound messages, by their ids: at least one. */
  readonly causes: readonly string[];
  /** A digest of what is done: equal effects have the same. */
  readonly key: string;
  /** How many equal ones this attempt has had before it. */
  readonly nth: number;
}

/** A row of the runner's, as it stands in its file. */
export interface SentRow {
  /** Odd. The number by which the agent knows it. */
  readonly seq: number;
  /** Unique in the session. */
  readonly id: string;
  /** When it was written first. */
  readonly timestamp: Millis;
}

/** What an attempt at a message has done, ended or not. */
export interface PastEffect extends SentRow {
  /** Of the messages asked about, those that it belongs to. */
  readonly causes: readonly string[];
  /** What it is. */
  readonly kind: OutboundKind;
  /** Where it asks to go; `null`: to where the session answers. */
  readonly address: Address | null;
  /** Its content, by its kind. */
  readonly content: JsonObject;
}

/** A message for the world as the host reads it. All of it is the container's claim. */
export interface OutboundMessage {
  /** Unique in the session. */
  readonly id: string;
  /** Odd. The number by which the agent knows it. */
  readonly seq: number;
  /** The run that wrote it. */
  readonly runId: string;
  /** What it is. */
  readonly kind: OutboundKind;
  /** When it was written, by the runner's clock. */
  readonly timestamp: Millis;
  /** Not before this time; `null`: at once. */
  readonly deliverAfter: Millis | null;
  /** Where it asks to go; `null`: to where the session answers. */
  readonly address: Address | null;
  /** The inbound message that it answers. */
  readonly inReplyTo: string | null;
  /** Its content, by its kind. */
  readonly content: JsonObject;
}

/** A place or an agent that this agent may write to, under the name it knows it by. */
export type Destination = {
  /** What the agent calls it. */
  readonly name: string;
  /** What people call it. */
  readonly displayName: string;
} & (
  | {
      readonly type: 'channel';
      /** The channel's instance. */
      readonly channelType: string;
      /** The place's id on its platform. */
      readonly platformId: string;
    }
  | {
      readonly type: 'agent';
      /** The other agent. */
      readonly agentGroupId: string;
    }
);

/** A tool that the model is waiting for. */
export interface ToolInFlight {
  /** The provider's id of this use. */
  readonly toolUseId: string;
  /** The tool's name. */
  readonly name: string;
  /** When it was called. */
  readonly startedAt: Millis;
  /** What it declared it may take; `null` when it declared nothing. */
  readonly timeoutMs: number | null;
}

/** Under this name the model itself is in the list of what is waited for, once it has given no sign for a while. */
export const MODEL_WAIT = 'the model';

/** What a runner says of itself: the handshake at its start, then its progress. */
export interface ContainerState {
  /** The run that wrote this. */
  readonly runId: string;
  /** The protocol version of its program. */
  readonly protocolVersion: number;
  /** The version of its program: any text, for people. */
  readonly runnerVersion: string;
  /** The name of the model provider that it works with. */
  readonly provider: string;
  /** When it started, by the runner's clock. */
  readonly startedAt: Millis;
  /** When the provider last showed a sign of work. */
  readonly progressAt: Millis;
  /** The tools that the model waits for now. */
  readonly tools: readonly ToolInFlight[];
}

/** One turn with the model, for the books. Unknown figures are `null`. */
export interface TurnRecord {
  /** When it began. */
  readonly startedAt: Millis;
  /** When it ended. */
  readonly endedAt: Millis;
  /** How it ended; a deferred turn is written down as a failed one. */
  readonly outcome: Outcome;
  /** How many messages it took. */
  readonly messageCount: number;
  /** Tokens read, without those from the cache. */
  readonly inputTokens: number | null;
  /** Tokens written. */
  readonly outputTokens: number | null;
  /** Tokens read from the provider's cache. */
  readonly cacheReadTokens: number | null;
  /** Its price in US dollars. */
  readonly costUsd: number | null;
}
