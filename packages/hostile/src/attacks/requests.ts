/** Rows that are well formed and ask for what an agent may not have; and files that an agent sends and should not. */
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject, OpenSqlite } from '@nanoclaw/session-db';
import type { Attack, Place } from '../attack.ts';

interface Row {
  readonly id?: string;
  readonly kind?: string;
  readonly to?: readonly [string, string];
  readonly deliverAfter?: number;
  readonly content: JsonObject;
}

/** Writes rows as the owner of the file can, and rings. */
function written({ outbound }: Place, openSqlite: OpenSqlite, rows: readonly Row[]): void {
  const db = openSqlite(outbound.database, 'write');
  try {
    db.exec('PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE');
    let seq = db.all<{ seq: number | null }>('SELECT max(seq) AS seq FROM messages_out')[0]?.seq ?? -1;
    for (const { id, kind = 'chat', to = [null, null], deliverAfter, content } of rows) {
      seq += 2;
      db.run(
        `INSERT INTO messages_out (seq, id, run_id, timestamp, deliver_after, kind, channel_type, platform_id, content)
         VALUES (:seq, :id, 'forged', :now, :deliverAfter, :kind, :channel, :chat, :content)`,
        {
          seq,
          id: id ?? `forged-${seq}`,
          now: Date.now(),
          deliverAfter: deliverAfter ?? null,
          kind,
          channel: to[0],
          chat: to[1],
          content: JSON.stringify(content),
        },
      );
    }
    db.exec('COMMIT');
  } finally {
    db.close();
  }
  writeFileSync(outbound.bell, String(Date.now()));
}

const action = (content: JsonObject): Row => ({ kind: 'system', content });

const REQUESTS: Record<string, readonly [readonly Row[], RegExp]> = {
  'to speak in the chat of another': [
    [{ to: ['terminal', 'innocent'], content: { text: 'I am the other one' } }],
    /dead|may not|not a destination|failed/,
  ],
  'to speak on a channel that there is not': [
    [{ to: ['nowhere', 'x'], content: { text: 'x' } }],
    /dead|failed|no channel|not a destination/,
  ],
  'for a command of the operator': [
    [action({ action: 'command', words: ['roles', 'grant', 'attacker', 'owner'] })],
    /dead|unknown|refused|not allowed|failed/,
  ],
  'for software': [
    [action({ action: 'install_packages', apt: ['evil'], reason: 'because' })],
    /approval|waits|install_packages/,
  ],
  'for an action that there is not': [[action({ action: 'format_disk' })], /unknown|dead|failed|format_disk/],
  'for an action that is no text': [[action({ action: { toString: 1 } })], /dead|failed|unknown/],
  'for a reminder in the year 9999': [
    [{ deliverAfter: 253_370_764_800_000, content: { text: 'x' } }],
    /scheduled|held|dead|failed|refused/,
  ],
  'for six thousand deliveries next year': [
    Array.from({ length: 6_000 }, (_, n) => ({
      id: `later-${n}`,
      deliverAfter: Date.now() + 31_536_000_000,
      content: { text: 'x' },
    })),
    /held/,
  ],
  'to edit a message that there is not': [
    [{ content: { operation: 'edit', seq: 4_002, text: 'x' } }],
    /dead|failed|no such|not there/,
  ],
  'for a question with a thousand choices': [
    [
      {
        content: {
          operation: 'ask_question',
          question: 'Which?',
          options: Array.from({ length: 1_000 }, (_, n) => `choice ${n}`),
        },
      },
    ],
    /dead|failed|choices|options|too many/,
  ],
  'to drive the terminal of whoever reads it': [
    [{ content: { text: '\u001b[2J\u001b]0;owned\u0007 \u009b31m done' } }],
    /done/,
  ],
  'for a text of 700 000 characters without a space': [[{ content: { text: 'x'.repeat(700_000) } }], /xxxx/],
  'for a text of 100 000 code fences': [[{ content: { text: '```\n'.repeat(100_000) } }], /```/],
};

/** Files that are announced in a message, by what lies there. */
const SENT: Record<string, readonly [readonly string[], (folder: string, place: Place) => void, RegExp]> = {
  'a link to the file of another session': [
    ['x'],
    (folder, { victim }) => symlinkSync(victim, join(folder, 'x')),
    /link|not a (plain|regular) file|could not be sent|dead|refused/,
  ],
  'a link to a file of the host': [
    ['x'],
    (folder, { hostFile }) => symlinkSync(hostFile, join(folder, 'x')),
    /link|not a (plain|regular) file|dead|refused/,
  ],
  'a second name of a file of the host': [
    ['x'],
    (folder, { hostFile }) => linkSync(hostFile, join(folder, 'x')),
    /name|link|dead|refused/,
  ],
  'a pipe': [['x'], (folder) => execFileSync('mkfifo', [join(folder, 'x')]), /not a (plain|regular) file|dead|refused/],
  'a device': [
    ['x'],
    (folder) => execFileSync('mknod', [join(folder, 'x'), 'c', '1', '5']),
    /not a (plain|regular) file|dead|refused/,
  ],
  'a folder': [['x'], (folder) => mkdirSync(join(folder, 'x')), /not a (plain|regular) file|dead|refused/],
  'a file of four terabytes': [
    ['x'],
    (folder) => {
      writeFileSync(join(folder, 'x'), '');
      truncateSync(join(folder, 'x'), 2 ** 42);
    },
    /too (big|large)|bytes|dead|refused/,
  ],
  'a file that is not there': [['x'], () => undefined, /not there|missing|no such|dead|refused/],
  'a name that leads out': [['../../../inbound/inbound.db'], () => undefined, /name|dead|refused/],
  'an absolute name': [['/etc/passwd'], () => undefined, /name|dead|refused/],
  'a name with a line in it': [['a\nb'], (folder) => writeFileSync(join(folder, 'a\nb'), 'x'), /name|dead|refused/],
  'five thousand files': [
    Array.from({ length: 5_000 }, (_, n) => `f${n}`),
    (folder) => {
      for (let n = 0; n < 5_000; n += 1) writeFileSync(join(folder, `f${n}`), 'x');
    },
    /too many|files|dead|refused/,
  ],
};

/** Requests, and files that are sent. */
export const REQUESTED: readonly Attack[] = [
  ...Object.entries(REQUESTS).map(
    ([name, [rows, named]]): Attack => ({
      name,
      kind: 'a row asks',
      act: (place, openSqlite) => written(place, openSqlite, rows),
      named,
    }),
  ),
  ...Object.entries(SENT).map(
    ([name, [names, put, named]]): Attack => ({
      name,
      kind: 'it sends',
      act: (place, openSqlite) => {
        const id = `sent-${Date.now()}`;
        const folder = join(place.outbound.files, id);
        mkdirSync(folder, { recursive: true });
        put(folder, place);
        written(place, openSqlite, [{ id, content: { text: 'look', files: [...names] } }]);
      },
      named,
    }),
  ),
];
