/**
 * The rows of the registry's tables, as both engines give them. What a column means is said where its value is made: in
 * `entities.ts`, or beside the operations on it.
 */
import type { Generated } from 'kysely';
import type {
  Actor,
  AgentGroupId,
  ApprovalId,
  ApprovalKind,
  ApprovalOutcome,
  CommandScope,
  DestinationId,
  Engage,
  MessagingGroup,
  MessagingGroupId,
  Millis,
  QuestionId,
  QuestionOutcome,
  Role,
  SessionId,
  SessionMode,
  StrangerPolicy,
  UserId,
  WiringId,
  WiringSettings,
} from './entities.ts';

/** The tables as Kysely sees them. */
export interface Tables {
  /** Agents, by their id. */
  agent_groups: AgentGroupRow;
  /** Chats, by their id. */
  messaging_groups: MessagingGroupRow;
  /** Which agent is in which chat. */
  wirings: WiringRow;
  /** Conversations, with when something in them falls due. */
  sessions: SessionRow;
  /** Threads in which an agent that was mentioned goes on listening. */
  engaged_threads: EngagedThreadRow;
  /** People, by their id. */
  users: UserRow;
  /** Owners and admins. */
  roles: RoleRow;
  /** Who may talk to which agent. */
  memberships: MembershipRow;
  /** The address books of agents. */
  destinations: DestinationRow;
  /** Messages that went to no agent, counted by chat and reason. */
  questions: QuestionRow;
  /** What waits, or waited, for a decision. */
  approvals: ApprovalRow;
  /** Messages that went to no agent, counted by sender and chat. */
  dropped_messages: DroppedMessagesRow;
  /** Who has changed what. */
  audit_log: AuditRow;
  /** Messages from agent to agent on their way. */
  mail: MailRow;
  /** The instances of channels that this install has had. */
  channel_instances: ChannelInstanceRow;
}

export interface AgentGroupRow {
  id: AgentGroupId;
  folder: string;
  name: string;
  provider: string;
  model: string | null;
  effort: string | null;
  assistant_name: string | null;
  messages_per_prompt: number;
  /** JSON, like the next three; `agent-settings.ts` knows what is in them. */
  skills: string;
  mcp_servers: string;
  packages: string;
  mounts: string;
  image: string | null;
  network: string | null;
  command_scope: CommandScope;
  created_at: Millis;
}

export interface MessagingGroupRow {
  id: MessagingGroupId;
  channel_type: string;
  platform_id: string;
  name: string;
  kind: MessagingGroup['kind'];
  strangers: StrangerPolicy;
  /** 0 or 1: the SQLite driver binds no booleans. */
  denied: number;
  created_at: Millis;
}

export interface WiringRow {
  id: WiringId;
  messaging_group_id: MessagingGroupId;
  agent_group_id: AgentGroupId;
  engage_mode: Engage['mode'];
  /** Empty in the modes that have no pattern, and only there. */
  engage_pattern: string;
  sender_scope: WiringSettings['senderScope'];
  otherwise: WiringSettings['otherwise'];
  session_mode: SessionMode;
  reach: WiringSettings['reach'];
  priority: number;
  created_at: Millis;
}

export interface SessionRow {
  id: SessionId;
  agent_group_id: AgentGroupId;
  /** NULL: one session for all chats of the agent. */
  messaging_group_id: MessagingGroupId | null;
  /** NULL: the chat's own session. */
  thread_id: string | null;
  /** Computed by the database from the three above; never NULL. */
  session_key: Generated<string>;
  next_due_at: Millis | null;
  quarantine_reason: string | null;
  quarantined_until: Millis | null;
  created_at: Millis;
}

export interface EngagedThreadRow {
  wiring_id: WiringId;
  thread_id: string;
  engaged_at: Millis;
}

export interface UserRow {
  id: UserId;
  name: string;
  created_at: Millis;
}

export interface RoleRow {
  user_id: UserId;
  role: Role['role'];
  /** NULL: of everything. */
  agent_group_id: AgentGroupId | null;
  /** Computed by the database: the agent group or `*`; never NULL. */
  scope: Generated<string>;
  granted_by: Actor;
  created_at: Millis;
}

export interface MembershipRow {
  user_id: UserId;
  agent_group_id: AgentGroupId;
  added_by: Actor;
  created_at: Millis;
}

export interface DestinationRow {
  id: DestinationId;
  agent_group_id: AgentGroupId;
  name: string;
  /** Either this or the next is NULL. */
  messaging_group_id: MessagingGroupId | null;
  target_agent_group_id: AgentGroupId | null;
  created_at: Millis;
}

export interface QuestionRow {
  id: QuestionId;
  session_id: SessionId;
  message_id: string;
  channel_type: string;
  platform_id: string;
  thread_id: string | null;
  title: string;
  question: string;
  /** A JSON array of texts. */
  options: string;
  asked_of: UserId | null;
  created_at: Millis;
  expires_at: Millis;
  /** NULL while it is open, and so are the next three. */
  outcome: QuestionOutcome['type'] | null;
  outcome_option: number | null;
  outcome_by: UserId | null;
  outcome_at: Millis | null;
  told_at: Millis | null;
}

export interface ApprovalRow {
  id: ApprovalId;
  kind: ApprovalKind;
  subject: string;
  agent_group_id: AgentGroupId | null;
  messaging_group_id: MessagingGroupId | null;
  session_id: SessionId | null;
  requested_by: Actor;
  summary: string;
  /** A JSON object. */
  payload: string;
  /** NULL while no user holds the card, and so are the next three. */
  asked_of: UserId | null;
  asked_channel_type: string | null;
  asked_platform_id: string | null;
  asked_thread_id: string | null;
  created_at: Millis;
  expires_at: Millis;
  /** NULL while it is open, and so are the next two. */
  outcome: ApprovalOutcome['type'] | null;
  outcome_by: Actor | null;
  outcome_at: Millis | null;
  applied_at: Millis | null;
}

export interface DroppedMessagesRow {
  channel_type: string;
  platform_id: string;
  reason: string;
  count: number;
  first_seen: Millis;
  last_seen: Millis;
}

export interface AuditRow {
  id: Generated<number>;
  at: Millis;
  actor: Actor;
  action: string;
  target: string;
  outcome: string;
  /** A JSON object. */
  detail: string;
}

export interface MailRow {
  id: string;
  from_session_id: SessionId;
  to_session_id: SessionId;
  inbound_id: string;
  root: string;
  hop: number;
  at: Millis;
}

export interface ChannelInstanceRow {
  name: string;
  type: string;
  first_seen: Millis;
}
