/**
 * @packageDocumentation
 * The central database of NanoClaw and the rules of routing. Read `entities.ts` first, then `route.ts`.
 */

export { admission, mayAdminister, mayAnswer, mayDecide, type Person, standing } from './access.ts';
export type { Approval } from './approvals.ts';
export { isInstanceName } from './channel-instances.ts';
export type { Destination, DestinationTarget, ReachableDestination } from './destinations.ts';
export {
  type Actor,
  type AgentGroup,
  type AgentGroupId,
  type AgentGroupSettings,
  type ApprovalId,
  agentActor,
  type CommandScope,
  type Engage,
  isId,
  isUserId,
  type McpServer,
  type MessagingGroup,
  type MessagingGroupId,
  type MessagingGroupSettings,
  type Packages,
  type QuestionId,
  type Role,
  type Session,
  type SessionId,
  type SessionKey,
  type UserId,
  userId,
  type WiredChat,
  type Wiring,
  type WiringId,
  type WiringSettings,
} from './entities.ts';
export { RegistryError, type RegistryErrorCode } from './errors.ts';
export { isOpen } from './is-open.ts';
export type { Question } from './questions.ts';
export { type EffectiveReach, reachOf } from './reach.ts';
export { type NewWiring, openRegistry, Registry } from './registry.ts';
export { type RouteDecision, route } from './route.ts';
export { migrate } from './schema.ts';
export type { Tables } from './tables.ts';
