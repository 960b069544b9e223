/**
 * Where an agent may write to and where its answers go: the tables `destinations` and `session_routing` of `inbound.db`.
 * The host writes them as a whole; the runner reads them as its address book, the host as the agent's permission.
 */
import type { Address, Destination } from './messages.ts';
import type { Sqlite } from './sqlite/index.ts';

/** Where an agent may write, and where it answers. */
export interface Routing {
  /** Where this agent may write to; its permission to send. */
  readonly destinations: readonly Destination[];
  /** Where an answer goes that names no place; `null` when there is none. */
  readonly replyTo: Address | null;
}

/** Reads the routing, destinations in the order of their names. */
export function readRouting(db: Sqlite): Routing {
  const destinations = db.all<DestinationRow>(
    'SELECT name, display_name, type, channel_type, platform_id, agent_group_id FROM destinations ORDER BY name',
  );
  const reply = db.all<AddressRow>('SELECT channel_type, platform_id, thread_id FROM session_routing')[0];
  return { destinations: destinations.flatMap((row) => destination(row) ?? []), replyTo: replyAddress(reply) };
}

/** Replaces the routing and raises its version. Inside a transaction of the caller. */
export function writeRouting(db: Sqlite, { destinations, replyTo }: Routing): void {
  db.run('DELETE FROM destinations');
  for (const one of destinations) {
    db.run(
      `INSERT INTO destinations (name, display_name, type, channel_type, platform_id, agent_group_id)
       VALUES (:name, :displayName, :type, :channelType, :platformId, :agentGroupId)`,
      {
        name: one.name,
        displayName: one.displayName,
        type: one.type,
        channelType: one.type === 'channel' ? one.channelType : null,
        platformId: one.type === 'channel' ? one.platformId : null,
        agentGroupId: one.type === 'agent' ? one.agentGroupId : null,
      },
    );
  }
  db.run(
    `UPDATE session_routing SET channel_type = :channelType, platform_id = :platformId, thread_id = :threadId,
       destinations_version = destinations_version + 1`,
    {
      channelType: replyTo?.channelType ?? null,
      platformId: replyTo?.platformId ?? null,
      threadId: replyTo?.threadId ?? null,
    },
  );
}

/** Whether two routings say the same, in whatever order their destinations stand. */
export function sameRouting(a: Routing, b: Routing): boolean {
  return routingText(a) === routingText(b);
}

function routingText({ destinations, replyTo }: Routing): string {
  const rows = destinations.map((one) => [
    one.name,
    one.displayName,
    ...(one.type === 'channel' ? [one.channelType, one.platformId] : [one.agentGroupId]),
  ]);
  const address = replyTo && [replyTo.channelType, replyTo.platformId, replyTo.threadId];
  return JSON.stringify([rows.map((row) => JSON.stringify(row)).toSorted(), address]);
}

interface AddressRow {
  readonly channel_type: string | null;
  readonly platform_id: string | null;
  readonly thread_id: string | null;
}

interface DestinationRow {
  readonly name: string;
  readonly display_name: string;
  readonly type: string;
  readonly channel_type: string | null;
  readonly platform_id: string | null;
  readonly agent_group_id: string | null;
}

function replyAddress(row: AddressRow | undefined): Address | null {
  if (row === undefined || row.channel_type === null || row.platform_id === null) return null;
  return { channelType: row.channel_type, platformId: row.platform_id, threadId: row.thread_id };
}

function destination(row: DestinationRow): Destination | undefined {
  const named = { name: row.name, displayName: row.display_name };
  if (row.type === 'channel' && row.channel_type !== null && row.platform_id !== null) {
    return { ...named, type: 'channel', channelType: row.channel_type, platformId: row.platform_id };
  }
  if (row.type === 'agent' && row.agent_group_id !== null) {
    return { ...named, type: 'agent', agentGroupId: row.agent_group_id };
  }
  return undefined;
}
