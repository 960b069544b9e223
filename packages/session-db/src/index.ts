/**
 * The session protocol of NanoClaw: two SQLite files, one writer each. The public surface, in reading order.
 *
 * Nothing here opens SQLite by itself: take `openSqlite` from `@nanoclaw/session-db/node` or `/bun` and hand it in.
 */

export {
  ATTACHMENT_LIMITS,
  type Attachment,
  type AttachmentLimits,
  isFileName,
  messageFiles,
  type NewAttachment,
  removeAttachments,
  removeStoredAttachments,
  safeFileName,
  spoolAttachments,
  storeAttachments,
} from './attachments.ts';
export { type InboundDeadLetter, InboundDeadLetters } from './dead-letters.ts';
export * from './deliveries.ts';
export { changeToken, Doorbell, type DoorbellOptions, ring } from './doorbell.ts';
export * from './folder.ts';
export { beat, lastBeat } from './heartbeat.ts';
export {
  type Continuation,
  HostSession,
  MessageConflictError,
  type OpenMessage,
  type SessionView,
  type Settled,
} from './host-session.ts';
export { type ImportReport, type ImportResult, importV2Session } from './import-v2.ts';
export * from './lifecycle.ts';
export {
  SESSION_LOOP,
  SessionLoop,
  type SessionLoopOptions,
  type SessionLoopPorts,
  type Visit,
  type VisitResult,
  type VisitTrouble,
} from './loop.ts';
export * from './messages.ts';
export { type OwedNotice, OwedNotices } from './notices.ts';
export { isAtLeast, SQLITE_VERSION_MIN, sqliteVersion } from './open.ts';
export { askProbe, echoProbe, type ProbeEcho, type ProbeVerdict, probeVerdict } from './probe.ts';
export type { ReceivedRow } from './received.ts';
export type { Retention } from './retention.ts';
export type { Routing } from './routing.ts';
export {
  type Claimed,
  type ClaimLimits,
  ClaimLostError,
  type ClaimResult,
  type Handshake,
  type MessageRef,
  type OpenTask,
  RunnerSession,
} from './runner-session.ts';
export {
  PROTOCOL_VERSION,
  VersionError,
} from './schema.ts';
export {
  type CatchUp,
  liveSeries,
  type Occurrence,
  OVERLAPS,
  type Overlap,
  occurrenceId,
  SERIES_STATUSES,
  Series,
  type SeriesEdit,
  type SeriesRecord,
  type SeriesStatus,
} from './series.ts';
export {
  type Manifest,
  type ManifestFile,
  type RestoreResult,
  restoreSession,
  type SnapshotResult,
  snapshotSession,
} from './snapshot.ts';
export {
  isBusy,
  type OpenMode,
  type OpenSqlite,
  type Params,
  type Sqlite,
  SqliteError,
  type SqliteValue,
} from './sqlite/index.ts';
export type { Clock, Millis, SetTimer } from './time.ts';
export {
  type History,
  type HistoryPage,
  type InboundEntry,
  type OutboundEntry,
  type Timeline,
  type TimelineEntry,
  timeline,
} from './timeline.ts';
export { Trouble, type TroubleKind, type TroublePolicy, type TroubleRecord, troubleWaitMs } from './trouble.ts';
export {
  inProcessReader,
  OUTBOUND_LIMITS,
  type OutboundContents,
  type OutboundCursor,
  type OutboundFinding,
  type OutboundLimits,
  type OutboundRead,
  type OutboundReader,
  type OutboundRequest,
  outboundReading,
  type RefusedRow,
  readOutbound,
} from './untrusted.ts';
export type { ImportOptions } from './v2-plan.ts';
