/**
 * The session protocol of NanoClaw: two SQLite files, one writer each. Here is what a program needs that has sessions of its
 * own; `@nanoclaw/session-db/protocol` has what an engine around them needs.
 *
 * Nothing here opens SQLite by itself: take `openSqlite` from `@nanoclaw/session-db/node` or `/bun` and hand it in.
 */

export {
  type Attachment,
  removeAttachments,
  removeStoredAttachments,
  spoolAttachments,
  storeAttachments,
} from './attachments.ts';
export type { InboundDeadLetter } from './dead-letters.ts';
export type { DeferredWork } from './deferrals.ts';
export type { DeadLetter, Target } from './deliveries.ts';
export { changeToken, Doorbell } from './doorbell.ts';
export {
  createSession,
  type InboundFolder,
  inboundFolder,
  type OutboundFolder,
  outboundFolder,
  type SessionFolder,
  sessionFolder,
} from './folder.ts';
export { lastBeat } from './heartbeat.ts';
export { HostSession, MessageConflictError, type SessionView } from './host-session.ts';
export { importV2Session } from './import-v2.ts';
export { type Impostor, impostors } from './impostors.ts';
export {
  DELIVERY_RETRY,
  type DeferralPolicy,
  INBOUND_DEFERRAL,
  INBOUND_RETRY,
  type RetryPolicy,
  type SendResult,
} from './lifecycle.ts';
export {
  SESSION_LOOP,
  SessionLoop,
  type SessionLoopOptions,
  type SessionLoopPorts,
  type Visit,
  type VisitResult,
  type VisitTrouble,
} from './loop.ts';
export {
  type Ack,
  type Address,
  addressKey,
  type Claim,
  type Deferral,
  type DeferralKind,
  type Destination,
  type Effect,
  type InboundMessage,
  type Json,
  type JsonObject,
  type NewInbound,
  type NewOutbound,
  type OutboundMessage,
  type Outcome,
  type PastEffect,
  type Recurrence,
  type RunId,
  runId,
  type SentRow,
  type ToolInFlight,
  type TurnRecord,
} from './messages.ts';
export type { OwedNotice } from './notices.ts';
export type { Retention } from './retention.ts';
export type { Routing } from './routing.ts';
export {
  type Claimed,
  type ClaimLimits,
  ClaimLostError,
  type ClaimResult,
  type MessageRef,
  type OpenTask,
  RunnerSession,
} from './runner-session.ts';
export { VersionError } from './schema.ts';
export type { SeriesRecord } from './series.ts';
export { replaceFile } from './small-file.ts';
export { restoreSession, snapshotSession } from './snapshot.ts';
export { isBusy, type OpenMode, type OpenSqlite, type Params, type Sqlite, SqliteError } from './sqlite/index.ts';
export type { Clock, Millis, SetTimer } from './time.ts';
export { type InboundEntry, type OutboundEntry, type TimelineEntry, timeline } from './timeline.ts';
export type { TroubleRecord } from './trouble.ts';
export {
  inProcessReader,
  isHostile,
  type OutboundContents,
  type OutboundFinding,
  type OutboundRead,
  type OutboundReader,
  readOutbound,
} from './untrusted.ts';
