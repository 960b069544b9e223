// Opens a registry, asks for the session of each thread 0…n-1 of a chat, and prints the answers or the refusal as JSON.

import Database from 'better-sqlite3';
import type { AgentGroupId, MessagingGroupId } from '../../src/index.ts';
import { openRegistry } from '../../src/index.ts';

interface Order {
  readonly file: string;
  readonly idPrefix: string;
  readonly agentGroupId?: AgentGroupId;
  readonly messagingGroupId?: MessagingGroupId;
  readonly threads: number;
}

const { BECOME } = process.env;
if (BECOME !== undefined) {
  // SQLite is loaded with its first database, which has to be before the right to read it may be gone.
  new Database(':memory:').close();
  process.setgroups?.([]);
  process.setgid?.(Number(BECOME));
  process.setuid?.(Number(BECOME));
}

const order: Order = JSON.parse(process.argv[2] ?? '');
let made = 0;
try {
  await using registry = await openRegistry({
    file: order.file,
    now: () => 1_000,
    newId: () => `${order.idPrefix}-${(made += 1)}`,
  });
  const sessions: string[] = [];
  const { agentGroupId, messagingGroupId } = order;
  if (agentGroupId !== undefined && messagingGroupId !== undefined) {
    for (let thread = 0; thread < order.threads; thread += 1) {
      const key = { scope: 'thread', agentGroupId, messagingGroupId, threadId: String(thread) } as const;
      sessions.push((await registry.sessionFor(key)).id);
    }
  }
  process.stdout.write(JSON.stringify({ sessions }));
} catch (error) {
  process.stdout.write(JSON.stringify({ refused: error instanceof Error ? error.message : String(error) }));
}
