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
  readonly channelType: string;
  readonly platformId: string;
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

export const INBOUND_KINDS = ['chat', 'chat-sdk', 'task', 'webhook', 'system', 'command'] as const;
export type InboundKind = (typeof INBOUND_KINDS)[number];

export const OUTBOUND_KINDS = ['chat', 'chat-sdk', 'task', 'webhook', 'system'] as const;
export type OutboundKind = (typeof OUTBOUND_KINDS)[number];

/** A message for the agent, before it is written. */
export interface NewInbound {
  /** Unique in the session and derived from its origin (the platform's id), so that writing it twice is one message. */
  readonly id: string;
  readonly kind: InboundKind;
  /** When it was said, by the platform's clock. */
  readonly timestamp: Millis;
  /** `wakes`: it starts a run. `context`: it is read along with the next message that does. */
  readonly trigger: Trigger;
  /** Not before this time; the time of writing when left out. */
  readonly processAfter?: Millis;
  /** Only the first poll of a new run may take it. */
  readonly onWake?: boolean;
  /** Where it was said and where the answer goes; `null` for what has no place, such as a task. */
  readonly address: Address | null;
  /** The session that asked, for mail between agents: its return path. */
  readonly sourceSessionId?: string;
  /** The outbound message that this one answers. */
  readonly inReplyTo?: string;
  readonly content: JsonObject;
}

export type Trigger = 'wakes' | 'context';

/** Makes a message an occurrence of a series. The expression is checked by whoever schedules, not here. */
export interface Recurrence {
  readonly seriesId: string;
  /** A cron expression of five fields. */
  readonly cron: string;
  /** IANA name, such as `Europe/Berlin`. */
  readonly timeZone: string;
}

/** A message for the agent as the runner reads it. */
export interface InboundMessage {
  readonly id: string;
  /** Even. The number by which the agent knows it. */
  readonly seq: number;
  readonly kind: InboundKind;
  readonly timestamp: Millis;
  readonly trigger: Trigger;
  /** How many attempts have been settled; a claim takes the next one. */
  readonly tries: number;
  readonly address: Address | null;
  readonly sourceSessionId: string | null;
  readonly inReplyTo: string | null;
  readonly content: JsonObject;
  readonly recurrence: Recurrence | null;
}

/** One attempt of one run at one message. */
export interface Claim {
  readonly messageId: string;
  /** From 1. */
  readonly attempt: number;
  readonly runId: RunId;
}

/** What a run says of its claim. */
export interface Ack {
  readonly messageId: string;
  readonly attempt: number;
  /** As the container wrote it: any text. */
  readonly runId: string;
  readonly status: AckStatus;
  /** When the status was written, by the runner's clock. */
  readonly statusChanged: Millis;
  readonly error: string | null;
}

export const ACK_STATUSES = ['processing', 'completed', 'failed'] as const;
export type AckStatus = (typeof ACK_STATUSES)[number];

/** How a turn ended for the messages it took. */
export type Outcome = { readonly type: 'completed' } | { readonly type: 'failed'; readonly reason: string };

/** A message for the world, before it is written. */
export interface NewOutbound {
  readonly id: string;
  readonly kind: OutboundKind;
  /** A request: the host decides where it goes. `null` asks for the session's default reply address. */
  readonly address: Address | null;
  /** The inbound message it answers. */
  readonly inReplyTo: string | null;
  readonly deliverAfter?: Millis;
  readonly content: JsonObject;
}

/** A message for the world as the host reads it. All of it is the container's claim. */
export interface OutboundMessage {
  readonly id: string;
  /** Odd. The number by which the agent knows it. */
  readonly seq: number;
  readonly runId: string;
  readonly kind: OutboundKind;
  readonly timestamp: Millis;
  readonly deliverAfter: Millis | null;
  readonly address: Address | null;
  readonly inReplyTo: string | null;
  readonly content: JsonObject;
}

/** A place or an agent that this agent may write to, under the name it knows it by. */
export type Destination = { readonly name: string; readonly displayName: string } & (
  | { readonly type: 'channel'; readonly channelType: string; readonly platformId: string }
  | { readonly type: 'agent'; readonly agentGroupId: string }
);

/** A tool that the model is waiting for. */
export interface ToolInFlight {
  readonly toolUseId: string;
  readonly name: string;
  readonly startedAt: Millis;
  /** What it declared it may take; `null` when it declared nothing. */
  readonly timeoutMs: number | null;
}

/** What a runner says of itself: the handshake at its start, then its progress. */
export interface ContainerState {
  readonly runId: string;
  readonly protocolVersion: number;
  readonly runnerVersion: string;
  readonly provider: string;
  readonly startedAt: Millis;
  /** When the provider last showed a sign of work. */
  readonly progressAt: Millis;
  readonly tools: readonly ToolInFlight[];
}

/** One turn with the model, for the books. Unknown figures are `null`. */
export interface TurnRecord {
  readonly startedAt: Millis;
  readonly endedAt: Millis;
  readonly outcome: Outcome;
  readonly messageCount: number;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly cacheReadTokens: number | null;
  readonly costUsd: number | null;
}
