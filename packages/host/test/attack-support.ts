/** What the attacks share: a whole host in which one session is hostile and another one is a bystander. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type SessionFolder, type Sqlite, sessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { pino } from 'pino';
import { until, WholeHost, type WholeHostOptions } from './whole-host.ts';

/** One row as a container may write it. */
export interface ForgedRow {
  readonly id?: string;
  readonly kind?: string;
  readonly inReplyTo?: string | null;
  readonly address?: readonly [string | null, string | null, string | null];
  readonly deliverAfter?: number;
  readonly content: unknown;
}

export class AttackedHost {
  readonly whole: WholeHost;
  /** The lines of the log. */
  readonly log: string[] = [];

  constructor(options: WholeHostOptions = {}) {
    const logger = pino({ level: 'info' }, { write: (line: string) => void this.log.push(line) });
    this.whole = new WholeHost({
      ...options,
      options: { log: { logger, rotate: () => undefined }, ...options.options },
    });
  }

  /** Two chats, each with a session that has answered once. The first one is the attacker's. */
  async start(): Promise<SessionFolder> {
    const { whole } = this;
    await whole.wire(2);
    await whole.host.start();
    await whole.say(0, 'first', 'hello');
    await until(() => whole.platform.shown.length === 1);
    const folder = this.sessions()[0];
    if (folder === undefined) throw new Error('There is no session.');
    await whole.say(1, 'first', 'hello');
    await until(() => whole.platform.shown.length === 2);
    return folder;
  }

  /** What a counter of the host stands at, by its name and label; 0 while it was never raised. Needs a port for figures. */
  async counted(counter: string): Promise<number> {
    const figures = await fetch(`http://127.0.0.1:${this.whole.healthPort}/metrics`);
    const lines = (await figures.text()).split('\n');
    return Number(lines.find((line) => line.startsWith(`nanoclaw_${counter} `))?.split(' ')[1] ?? 0);
  }

  /** Waits until a counter of the host has been raised. */
  async untilCounted(counter: string): Promise<void> {
    while ((await this.counted(counter)) === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  }

  sessions(): SessionFolder[] {
    const root = join(this.whole.data.root, 'sessions');
    // In the order in which they were made: a folder is listed in any.
    const made = readdirSync(root).flatMap((agent) => readdirSync(join(root, agent)).map((id) => ({ agent, id })));
    return made
      .toSorted((a, b) => a.id.localeCompare(b.id, 'en', { numeric: true }))
      .map(({ agent, id }) => sessionFolder(join(root, agent, id)));
  }

  /** The bystander says something and is answered; gives after how many milliseconds. */
  async bystander(id: string): Promise<number> {
    const { platform } = this.whole;
    const asked = performance.now();
    await this.whole.say(1, id, `still there, ${id}?`);
    await until(() =>
      platform.shown.some(({ message }) => message.kind === 'text' && message.text.includes(`there, ${id}?`)),
    );
    return performance.now() - asked;
  }

  close(): Promise<void> {
    return this.whole.close();
  }
}

/** Writes rows into a session's `outbound.db` as whoever owns it can. */
export function forge(folder: SessionFolder, rows: readonly ForgedRow[]): void {
  asContainer(folder, (db) => {
    db.exec('BEGIN IMMEDIATE');
    let seq = db.all<{ seq: number | null }>('SELECT max(seq) AS seq FROM messages_out')[0]?.seq ?? -1;
    for (const { id, kind = 'chat', inReplyTo = null, address = [null, null, null], deliverAfter, content } of rows) {
      seq += 2;
      db.run(
        `INSERT INTO messages_out (seq, id, run_id, in_reply_to, timestamp, deliver_after, kind, channel_type, platform_id,
           thread_id, content) VALUES (:seq, :id, 'forged', :inReplyTo, :now, :deliverAfter, :kind, :a, :b, :c, :content)`,
        {
          seq,
          id: id ?? `forged-${seq}`,
          inReplyTo,
          now: Date.now(),
          kind,
          deliverAfter: deliverAfter ?? null,
          a: address[0],
          b: address[1],
          c: address[2],
          content: typeof content === 'string' ? content : JSON.stringify(content),
        },
      );
    }
    db.exec('COMMIT');
  });
}

/** Does with a session's `outbound.db` what only its owner can. */
export function asContainer(folder: SessionFolder, action: (db: Sqlite) => void): void {
  const db = openSqlite(folder.outbound.database, 'write');
  try {
    db.exec('PRAGMA busy_timeout = 5000');
    db.exec('PRAGMA ignore_check_constraints = ON');
    action(db);
  } finally {
    db.close();
  }
}
