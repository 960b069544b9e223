/** What is done for a session again and again: the sweep's visit, notices, typing, retention. */
export { limitedVoice } from './notices.ts';
export { FORGET_EVERY_MS, forgetInRegistry, type RetentionPolicy } from './retention.ts';
export { Typing } from './typing.ts';
export { Upkeep } from './upkeep.ts';
