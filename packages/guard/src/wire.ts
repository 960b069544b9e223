/**
 * What host and guard say to each other: one line of JSON for each job, and one for its answer. The guard works on what a
 * stranger made, so that its answers are checked once more, by the shape and the bounds of what was asked for.
 */
import type { JsonObject, OutboundRead } from '@nanoclaw/session-db';
import {
  ACK_STATUSES,
  ATTACHMENT_FINDINGS,
  type AttachmentFinding,
  boundedJson,
  DEFERRAL_KINDS,
  OUTBOUND_KINDS,
  OUTBOUND_LIMITS,
  type OutboundLimits,
  type OutboundRequest,
} from '@nanoclaw/session-db/protocol';
import { z } from 'zod';
import { PROTECTIONS, type Protection, type TrialTargets } from './trial.ts';

/** What the host asks of the guard, all of it about the session in the folder `root`. */
export type Job = { readonly root: string } & (
  | { readonly type: 'read'; readonly request: OutboundRequest; readonly limits: OutboundLimits }
  /** To the name `to` in the process's own folder. */
  | { readonly type: 'copy'; readonly messageId: string; readonly name: string; readonly to: string }
  | { readonly type: 'remove'; readonly messageId: string }
  | { readonly type: 'trial'; readonly targets: TrialTargets }
);

/** What the guard answers: the job's result, or why it could not be done, for reasons that no container can cause. */
export type Answer = { readonly result: unknown } | { readonly failed: string };

/**
 * As a read in process, with fewer rows and bytes at a time: the host's own part of it, taking the answer in, is to
 * stay within milliseconds. What is left out comes with the next read.
 */
export const GUARD_LIMITS: OutboundLimits = { ...OUTBOUND_LIMITS, rowsMax: 250, readBytesMax: 2 ** 20 };

/** The longest answer that is listened to: texts of the limits above, as long as JSON can make them. */
export const ANSWER_BYTES_MAX = 2 ** 25;

/** Takes a guard's line apart. Throws `RangeError` or `z.ZodError` when it is no answer. */
export function parsedAnswer(line: string): Answer {
  const parsed = boundedJson(line, ANSWER_JSON);
  if (parsed.type !== 'json') throw new RangeError(`It is ${parsed.type}.`);
  return answer.parse(parsed.value);
}

/** A content of the limits within an answer; and as many values as fit into the texts of one read. */
const ANSWER_JSON = { depthMax: GUARD_LIMITS.json.depthMax + 8, valuesMax: 600_000 } as const;

/** Takes the result of a read. Throws `z.ZodError` when it is not one that this request can have. */
export function parsedRead(result: unknown, { acksAfter, messagesAfter, again }: OutboundRequest): OutboundRead {
  const checked = outboundRead.parse(result);
  if (checked.type !== 'read') return checked;
  const read = { ...checked, container: checked.container };
  const isOfRequest =
    read.changesThrough >= acksAfter &&
    read.messagesThrough >= messagesAfter &&
    read.messages.every(({ seq }) => seq > messagesAfter && seq <= read.messagesThrough) &&
    read.again.every(({ seq }) => again.includes(seq));
  if (!isOfRequest) throw new RangeError('It is not an answer to what was asked.');
  return read;
}

/** Takes the result of copying a file. Throws `z.ZodError` when it is none. */
export function parsedCopy(result: unknown): CopyResult {
  return copyResult.parse(result);
}

/** What became of a file that was to be copied. */
export type CopyResult =
  | { readonly type: 'copied' }
  | { readonly type: 'refused'; readonly reason: string; readonly finding?: AttachmentFinding };

/** Takes what a process could do in a trial. Throws `z.ZodError` when it is none. */
export function parsedTrial(result: unknown): Protection[] {
  return trialResult.parse(result);
}

/** Takes the result of removing a message's files. Throws `z.ZodError` when it is none. */
export function parsedRemoval(result: unknown): 'removed' | 'unfinished' {
  return removal.parse(result);
}

/** What an error says, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const answer = z.union([z.strictObject({ result: z.unknown() }), z.strictObject({ failed: z.string().max(4_000) })]);

const removal = z.enum(['removed', 'unfinished']);

const copyResult = z.discriminatedUnion('type', [
  z.object({ type: z.literal('copied') }),
  z.object({
    type: z.literal('refused'),
    reason: z.string().max(1_000),
    finding: z.enum(ATTACHMENT_FINDINGS).exactOptional(),
  }),
]);

const trialResult = z.array(z.enum(PROTECTIONS)).max(PROTECTIONS.length);

/** As session-db has it: bounded, and without control characters. */
const id = z
  .string()
  .min(1)
  .max(300)
  .regex(/^\P{Cc}*$/u);
const detail = z.string().max(4_000);
const number = z.int();

const commonAck = z.object({
  messageId: id,
  attempt: number.min(1),
  runId: id,
  statusChanged: number,
  error: z.string().max(2_000).nullable(),
});

const ack = z.discriminatedUnion('status', [
  commonAck.extend({ status: z.enum(ACK_STATUSES).exclude(['deferred']) }),
  commonAck.extend({
    status: z.literal('deferred'),
    kind: z.enum(DEFERRAL_KINDS),
    retryAfterMs: number.min(0).nullable(),
  }),
]);

const message = z.object({
  id,
  seq: number.min(1).refine((seq) => seq % 2 === 1),
  runId: id,
  kind: z.enum(OUTBOUND_KINDS),
  timestamp: number,
  deliverAfter: number.nullable(),
  address: z.object({ channelType: id, platformId: id, threadId: id.nullable() }).nullable(),
  inReplyTo: id.nullable(),
  content: z.custom<JsonObject>((value) => isObject(value) && isShallow(value, GUARD_LIMITS.json.depthMax)),
});

const refusedRow = z.object({
  table: z.enum(['messages_out', 'processing_ack']),
  // Its number may be any that SQLite can store.
  row: z.number(),
  reason: z.string().max(300),
});

const container = z.object({
  runId: id,
  protocolVersion: number,
  runnerVersion: z.string().max(100),
  provider: z.string().max(100),
  startedAt: number,
  progressAt: number,
  tools: z.array(z.object({ toolUseId: id, name: id, startedAt: number, timeoutMs: number.nullable() })).max(100),
});

const rows = GUARD_LIMITS.rowsMax;

const outboundRead = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('read'),
    acks: z.array(ack).max(rows),
    changesThrough: number,
    openClaims: z.array(ack).max(rows),
    messages: z.array(message).max(rows),
    messagesThrough: number,
    more: z.boolean(),
    again: z.array(message).max(10_000),
    refused: z.array(refusedRow).max(20_000),
    container: container.optional(),
  }),
  z.object({ type: z.literal('absent') }),
  z.object({ type: z.literal('busy') }),
  z.object({ type: z.literal('hot-journal') }),
  z.object({ type: z.literal('foreign-schema'), detail }),
  z.object({ type: z.literal('too-big'), bytes: z.number(), bytesMax: z.number() }),
  z.object({ type: z.literal('corrupt'), detail }),
  z.object({ type: z.literal('not-a-file'), detail }),
]);

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isShallow(value: object, levels: number): boolean {
  if (levels === 0) return false;
  for (const child of Object.values(value)) {
    if (typeof child === 'object' && child !== null && !isShallow(child, levels - 1)) return false;
  }
  return true;
}
