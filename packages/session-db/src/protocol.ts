/**
 * What an engine needs beyond the sessions themselves, and a bot that has some does not: the state machine's decisions, the
 * lists that its unions are made of, what one read of a container's file takes and gives. For `@nanoclaw/sweep`, `delivery`,
 * `runner`, `guard` and `host`, and for whoever writes one of these.
 */

export {
  ATTACHMENT_FINDINGS,
  ATTACHMENT_LIMITS,
  type AttachmentFinding,
  isFileName,
  messageFiles,
} from './attachments.ts';
export type { AcceptedMessage, Delivery } from './deliveries.ts';
export { ring } from './doorbell.ts';
export type { Settled } from './host-session.ts';
export { boundedJson, inexactness, type JsonLimits } from './json.ts';
export {
  backoffMs,
  type DeliveryAttempt,
  type DeliverySettlement,
  deliverySettlement,
  type SendOutcome,
  type Settlement,
  type WhenUncertain,
  withoutAttempt,
} from './lifecycle.ts';
export { ACK_STATUSES, type ContainerState, DEFERRAL_KINDS, MODEL_WAIT, OUTBOUND_KINDS } from './messages.ts';
export type { ReceivedRow } from './received.ts';
export { PROTOCOL_VERSION } from './schema.ts';
export { type CatchUp, type Occurrence, OVERLAPS, type Overlap, type SeriesEdit } from './series.ts';
export { type TroubleKind, type TroublePolicy, troubleWaitMs } from './trouble.ts';
export {
  OUTBOUND_LIMITS,
  type OutboundLimits,
  type OutboundRequest,
  outboundReading,
  type RefusedRow,
} from './untrusted.ts';
