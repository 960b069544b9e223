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
} from './access.ts';
export type { OptionalSettings } from './agent-settings.ts';
export type {
  Approval,
  ApprovalKind,
  ApprovalOutcome,
  Approvals,
  Asked,
  DecisionResult,
  NewApproval,
} from './approvals.ts';
export type { Audit, AuditEntry } from './audit.ts';
export {
  type ChannelInstance,
  type ChannelInstances,
  type ClaimResult,
  isInstanceName,
} from './channel-instances.ts';
export type { Destination, Destinations, DestinationTarget, ReachableDestination } from './destinations.ts';
export type { Engine } from './dialect.ts';
export type { Dropped, DroppedMessages } from './dropped.ts';
export {
  type Actor,
  type Address,
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
} from './entities.ts';
export { RegistryError, type RegistryErrorCode } from './errors.ts';
export { isOpen, type ListOptions } from './is-open.ts';
export type { Mail, Mails } from './mail.ts';
export { patternComplaint, patternMatches } from './pattern.ts';
export type { Membership, People, RoleGrant, User } from './people.ts';
export type { AnswerResult, NewQuestion, Question, QuestionOutcome, Questions } from './questions.ts';
export { openRegistry, Registry, type RegistryOptions } from './registry.ts';
export { type DropReason, type MessageFacts, type RouteDecision, route } from './route.ts';
export { migrate, type Tables } from './schema.ts';
