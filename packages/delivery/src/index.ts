/**
 * Hands the outbound messages of NanoClaw sessions to the world. The public surface, in reading order.
 */

export {
  DELIVERY_POLICY,
  type DeliveryPolicy,
  type DeliveryPorts,
  type DeliveryReport,
  type DeliverySession,
  deliverSession,
  isQuiet,
  type MadeAttempt,
  type PassOptions,
  type PassRead,
  type PassState,
  passRequest,
} from './deliver.ts';
export { GATE_LIMITS, Gate, type GateLimits } from './gate.ts';
export { DeliveryLoop, type DeliveryLoopOptions, type DeliveryLoopPorts } from './loop.ts';
export { agentNotice, type Notice } from './notice.ts';
export { SqliteRateStore } from './rate-store.ts';
export { type Rate, RateLimits, type RateStore, waitMs } from './rates.ts';
export * from './send.ts';
export * from './split.ts';
