/**
 * Hands the outbound messages of NanoClaw sessions to the world. The public surface, in reading order.
 */

export {
  DELIVERY_POLICY,
  type DeliveryPolicy,
  type DeliveryReport,
  deliverSession,
  isQuiet,
  type Look,
  type MadeAttempt,
  type PassOptions,
  type SessionPort,
  type World,
} from './deliver.ts';
export { GATE_LIMITS, Gate, type GateLimits } from './gate.ts';
export { DeliveryLoop, type LoopOptions, type Trouble } from './loop.ts';
export { agentNotice, type Notice } from './notice.ts';
export { SqliteRateStore } from './rate-store.ts';
export { type Rate, RateLimits, type RateStore, waitMs } from './rates.ts';
export * from './send.ts';
export * from './split.ts';
