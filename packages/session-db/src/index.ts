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
} from './attachments.js';
export { type InboundDeadLetter, InboundDeadLetters } from './dead-letters.js';
export * from './deliveries.js';
export { changeToken, Doorbell, type DoorbellOptions, ring, type SetTimer } from './doorbell.js';
export * from './folder.js';
export { beat, lastBeat } from './heartbeat.js';
export {
  type Continuation,
  HostSession,
  MessageConflictError,
  type OpenMessage,
  type SessionView,
  type Settled,
} from './host-session.js';
export { type ImportReport, type ImportResult, importV2Session } from './import-v2.js';
export * from './lifecycle.js';
export * from './messages.js';
export { type OwedNotice, OwedNotices } from './notices.js';
export { isAtLeast, SQLITE_VERSION_MIN, sqliteVersion } from './open.js';
export { askProbe, echoProbe, type ProbeEcho, type ProbeVerdict, probeVerdict } from './probe.js';
export type { ReceivedRow } from './received.js';
export type { Retention } from './retention.js';
export type { Routing } from './routing.js';
export {
  type Claimed,
  type ClaimLimits,
  ClaimLostError,
  type ClaimResult,
  type Handshake,
  type MessageRef,
  type OpenTask,
  RunnerSession,
} from './runner-session.js';
export {
  INBOUND_SCHEMA,
  OUTBOUND_SCHEMA,
  PROTOCOL_VERSION,
  READER_VERSION_MIN,
  VersionError,
} from './schema.js';
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
} from './series.js';
export {
  type Manifest,
  type ManifestFile,
  type RestoreResult,
  restoreSession,
  type SnapshotResult,
  snapshotSession,
} from './snapshot.js';
export {
  isBusy,
  type OpenMode,
  type OpenSqlite,
  type Params,
  type Sqlite,
  SqliteError,
  type SqliteValue,
} from './sqlite/index.js';
export {
  type History,
  type HistoryPage,
  type InboundEntry,
  type OutboundEntry,
  type Timeline,
  type TimelineEntry,
  timeline,
} from './timeline.js';
export { Trouble, type TroubleKind, type TroublePolicy, type TroubleRecord, troubleWaitMs } from './trouble.js';
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
} from './untrusted.js';
export type { ImportOptions } from './v2-plan.js';
