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
  type PassOptions,
  type PassRead,
  type PassState,
  passRequest,
} from './deliver.ts';
export { Gate } from './gate.ts';
export { DeliveryLoop, type DeliveryLoopOptions, type DeliveryLoopPorts } from './loop.ts';
export type { Notice } from './notice.ts';
export { type RateStoreTrouble, SqliteRateStore } from './rate-store.ts';
export { type Rate, RateLimits } from './rates.ts';
export type { Attempt, Route, Send } from './send.ts';
export { type Body, splitMessage, splitText } from './split.ts';
