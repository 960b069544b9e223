/**
 * @packageDocumentation
 * The central database of NanoClaw and the rules of routing. Read `entities.ts` first, then `route.ts`.
 */

export { admission, mayAdminister, type Person, type Role, type Standing, standing } from './access.js';
export {
  type AgentGroup,
  type AgentGroupId,
  type AgentGroupSettings,
  type Engage,
  isId,
  type MessagingGroup,
  type MessagingGroupId,
  type MessagingGroupSettings,
  type Millis,
  type Quarantine,
  type Session,
  type SessionId,
  type SessionKey,
  type SessionMode,
  type StrangerPolicy,
  type WiredAgent,
  type WiredChat,
  type Wiring,
  type WiringId,
  type WiringSettings,
} from './entities.js';
export { RegistryError, type RegistryErrorCode } from './errors.js';
export { patternComplaint, patternMatches } from './pattern.js';
export { openRegistry, Registry, type RegistryOptions } from './registry.js';
export { type DropReason, type MessageFacts, type RouteDecision, route } from './route.js';
export { type Engine, migrate, type Tables } from './schema.js';
