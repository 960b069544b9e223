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
} from './deliver.js';
export { GATE_LIMITS, Gate, type GateLimits } from './gate.js';
export { DeliveryLoop, type LoopOptions, type Trouble } from './loop.js';
export { agentNotice, type Notice } from './notice.js';
export { SqliteRateStore } from './rate-store.js';
export { type Rate, RateLimits, type RateStore, waitMs } from './rates.js';
export * from './send.js';
export * from './split.js';
