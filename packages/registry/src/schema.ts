/**
 * The registry's tables: their row types, and the way from any older schema to this one.
 *
 * One schema for two engines. A single machine keeps it in SQLite, a team will share it on PostgreSQL; where they differ
 * is in `dialect.ts`. A migration that has been released is never edited: add the next one.
 *
 * What must hold is a constraint there, so that no code, no other program and no hand at a prompt can break it.
 */
import type { Generated, Kysely } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import type { Role } from './access.ts';
import type { ApprovalKind, ApprovalOutcome } from './approvals.ts';
import type { Engine } from './dialect.ts';
import type {
  Actor,
  AgentGroupId,
  ApprovalId,
  CommandScope,
  DestinationId,
  Engage,
  MessagingGroup,
  MessagingGroupId,
  Millis,
  QuestionId,
  SessionId,
  SessionMode,
  StrangerPolicy,
  UserId,
  WiringId,
  WiringSettings,
} from './entities.ts';
import { RegistryError } from './errors.ts';
import { agentsChatsWiringsSessions } from './migrations/0001-agents-chats-wirings-sessions.ts';
import { peopleAndWhatWaitsForThem } from './migrations/0002-people-and-what-waits-for-them.ts';
import { channelInstances } from './migrations/0003-channel-instances.ts';
import { openByAge } from './migrations/0004-open-by-age.ts';
import type { QuestionOutcome } from './questions.ts';

/** The tables as Kysely sees them. */
export interface Tables {
  agent_groups: AgentGroupRow;
  messaging_groups: MessagingGroupRow;
  wirings: WiringRow;
  sessions: SessionRow;
  engaged_threads: EngagedThreadRow;
  users: UserRow;
  roles: RoleRow;
  memberships: MembershipRow;
  destinations: DestinationRow;
  questions: QuestionRow;
  approvals: ApprovalRow;
  dropped_messages: DroppedMessagesRow;
  audit_log: AuditRow;
  mail: MailRow;
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
  /** NULL while nobody holds the card, and so are the next three. */
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

/**
 * Brings an empty or older database to this program's schema; nothing to do is fine.
 *
 * On SQLite the caller must hold the write lock around it (`openRegistry` does): there Kysely's migrator has neither a
 * lock nor a transaction of its own. Throws `newer-schema` and changes nothing when a newer program has been here. The
 * migrator notes the machine's time beside each migration; nothing else reads it.
 */
export async function migrate(db: Kysely<Tables>, engine: Engine): Promise<void> {
  const known = migrations(engine);
  await refuseNewerSchema(db, Object.keys(known));
  const { error } = await new Migrator({ db, provider: { getMigrations: async () => known } }).migrateToLatest();
  if (error !== undefined) throw error;
}

/** Static objects, in the order of their names; the name of the last one is the schema's version. */
function migrations(engine: Engine): Record<string, Migration> {
  return {
    '0001_agents_chats_wirings_sessions': agentsChatsWiringsSessions(engine),
    '0002_people_and_what_waits_for_them': peopleAndWhatWaitsForThem(engine),
    '0003_channel_instances': channelInstances(engine),
    '0004_open_by_age': openByAge,
  };
}

async function refuseNewerSchema(db: Kysely<Tables>, known: readonly string[]): Promise<void> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some((table) => table.name === 'kysely_migration')) return;
  const applied = await db
    .$extendTables<{ kysely_migration: { name: string } }>()
    .selectFrom('kysely_migration')
    .select('name')
    .orderBy('name')
    .execute();
  const unknown = applied.map((migration) => migration.name).filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw new RegistryError(
    'newer-schema',
    `The registry was written by a newer program: its schema is at ${unknown.at(-1)}, this program knows up to ` +
      `${known.at(-1)}. Nothing was changed. Start the newer program, or restore a backup made before the upgrade.`,
  );
}
