/**
 * @packageDocumentation
 * The central database of NanoClaw and the rules of routing. Read `entities.ts` first, then `route.ts`.
 */

export {
  admission,
  mayAdminister,
  mayAnswer,
  mayDecide,
  type Person,
  type Role,
  type Standing,
  standing,
} from './access.js';
export type { OptionalSettings } from './agent-settings.js';
export type {
  Approval,
  ApprovalKind,
  ApprovalOutcome,
  Approvals,
  Asked,
  DecisionResult,
  NewApproval,
} from './approvals.js';
export type { Audit, AuditEntry } from './audit.js';
export type { Destination, Destinations, DestinationTarget } from './destinations.js';
export type { Engine } from './dialect.js';
export type { Dropped, DroppedMessages } from './dropped.js';
export {
  type Actor,
  type AgentGroup,
  type AgentGroupId,
  type AgentGroupSettings,
  type ApprovalId,
  agentActor,
  type CommandScope,
  type DestinationId,
  type Engage,
  isActor,
  isId,
  isUserId,
  type Json,
  type JsonObject,
  type McpServer,
  type MessagingGroup,
  type MessagingGroupId,
  type MessagingGroupSettings,
  type Millis,
  type MountWish,
  type Packages,
  type Place,
  type Quarantine,
  type QuestionId,
  type Session,
  type SessionId,
  type SessionKey,
  type SessionMode,
  type StrangerPolicy,
  type UserId,
  userId,
  type WiredAgent,
  type WiredChat,
  type Wiring,
  type WiringId,
  type WiringSettings,
} from './entities.js';
export { RegistryError, type RegistryErrorCode } from './errors.js';
export type { Mail, Mails } from './mail.js';
export { patternComplaint, patternMatches } from './pattern.js';
export type { Membership, People, RoleGrant, User } from './people.js';
export type { AnswerResult, NewQuestion, Question, QuestionOutcome, Questions } from './questions.js';
export { openRegistry, Registry, type RegistryOptions } from './registry.js';
export { type DropReason, type MessageFacts, type RouteDecision, route } from './route.js';
export { migrate, type Tables } from './schema.js';
