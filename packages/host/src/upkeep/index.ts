/** What is done for a session at intervals: the sweep's visit, notices, typing, retention. */

export { Activity } from './activity.ts';
export { type ModelTrouble, ModelTroubles, type ProviderTrouble } from './model-troubles.ts';
export { rateLimitedMessenger } from './notices.ts';
export { FORGET_EVERY_MS, forgetInRegistry, type RetentionPolicy } from './retention.ts';
export { Typing } from './typing.ts';
export { Upkeep } from './upkeep.ts';
