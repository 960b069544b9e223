/** What a container does while its host looks: loops, locks, exchanged files, trees without end. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { OpenSqlite } from '@nanoclaw/session-db';
import { type Attack, again, type Place } from '../attack.ts';

/** Holds a database in a transaction as long as the attack lasts, and rings, so that the host looks. */
async function held(openSqlite: OpenSqlite, path: string, begin: string, place: Place): Promise<void> {
  const db = openSqlite(path, begin.includes('IMMEDIATE') || begin.includes('EXCLUSIVE') ? 'write' : 'read');
  try {
    db.exec(begin);
    db.all('SELECT count(*) FROM sqlite_schema');
    while (Date.now() < place.until) {
      writeFileSync(place.outbound.bell, '');
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  } finally {
    db.close();
  }
}

/** Puts one thing after another in place of a file. */
function exchanged(path: string, place: Place): void {
  const mine = `${path}.mine`;
  copyFileSync(path, mine);
  const put = [
    () => copyFileSync(mine, `${path}.new`),
    () => symlinkSync(place.victim, `${path}.new`),
    () => symlinkSync('/dev/zero', `${path}.new`),
    () => linkSync(mine, `${path}.new`),
  ];
  again(place, (n) => {
    rmSync(`${path}.new`, { force: true });
    put[n % put.length]?.();
    renameSync(`${path}.new`, path);
  });
}

/** A host says so when a lock has been held for 5 s, at the next time that it needs the file. */
const LOCK_LASTS_MS = 15_000;

/** A host says so once three stretches of a second at most were full. */
const FLOOD_LASTS_MS = 5_000;

const ACTIONS: readonly Omit<Attack, 'kind'>[] = [
  {
    name: 'touches its bell in a tight loop',
    lastsMs: FLOOD_LASTS_MS,
    act: (place) => again(place, (n) => utimesSync(place.outbound.bell, n, n)),
    named: /bell-/,
  },
  {
    name: 'writes its bell in a tight loop',
    lastsMs: FLOOD_LASTS_MS,
    act: (place) => {
      const file = openSync(place.outbound.bell, 'w');
      again(place, () => writeSync(file, 'x', 0));
      closeSync(file);
    },
    named: /bell-/,
  },
  {
    name: 'makes and removes its bell in a tight loop',
    lastsMs: FLOOD_LASTS_MS,
    act: (place) =>
      again(place, () => {
        rmSync(place.outbound.bell, { force: true });
        writeFileSync(place.outbound.bell, '');
      }),
    named: /bell-/,
  },
  {
    name: 'touches its heartbeat in a tight loop, in the year 2100',
    act: (place) => again(place, () => utimesSync(place.outbound.heartbeat, 4_102_444_800, 4_102_444_800)),
  },
  {
    name: 'commits as fast as it can',
    lastsMs: FLOOD_LASTS_MS,
    act: (place, openSqlite) => {
      const db = openSqlite(place.outbound.database, 'write');
      db.exec('PRAGMA busy_timeout = 5000; PRAGMA synchronous = 0');
      again(place, (n) => {
        db.exec(`UPDATE container_state SET updated_at = ${n}`);
        writeFileSync(place.outbound.bell, String(n));
      });
      db.close();
    },
    named: /bell-flood/,
  },
  {
    name: 'holds a read lock on inbound.db',
    act: (place, openSqlite) => held(openSqlite, place.inbound.database, 'BEGIN', place),
    lastsMs: LOCK_LASTS_MS,
    named: /inbound-locked/,
  },
  {
    name: 'holds a read lock on its own file',
    act: (place, openSqlite) => held(openSqlite, place.outbound.database, 'BEGIN', place),
  },
  {
    name: 'holds the write lock on its own file',
    act: (place, openSqlite) => held(openSqlite, place.outbound.database, 'BEGIN IMMEDIATE', place),
  },
  {
    name: 'holds everything on its own file',
    act: (place, openSqlite) => held(openSqlite, place.outbound.database, 'BEGIN EXCLUSIVE', place),
    lastsMs: LOCK_LASTS_MS,
    named: /outbound-locked/,
  },
  {
    name: 'exchanges its database in a tight loop',
    act: (place) => exchanged(place.outbound.database, place),
    named: /not-a-file|link|plain file|quarantine/,
  },
  { name: 'exchanges its bell in a tight loop', act: (place) => exchanged(place.outbound.bell, place), named: /bell-/ },
  {
    name: 'takes all rights from its folder',
    act: (place) => chmodSync(place.outbound.root, 0),
    // Root needs no rights, and nothing is amiss for it.
    ...(process.getuid?.() !== 0 && { named: /unreadable|EACCES|not-a-file/ }),
  },
  {
    name: 'takes all rights from its database',
    act: (place) => chmodSync(place.outbound.database, 0),
  },
  {
    name: 'puts a link in place of its folder of files',
    act: (place) => {
      rmSync(place.outbound.files, { recursive: true, force: true });
      symlinkSync(place.inbound.root, place.outbound.files);
    },
  },
  {
    name: 'digs a folder of 5 000 levels',
    act: (place) => {
      process.chdir(place.agent);
      for (let n = 0; n < 5_000 && Date.now() < place.until; n += 1) {
        mkdirSync('deeper-and-deeper-it-goes');
        process.chdir('deeper-and-deeper-it-goes');
      }
    },
  },
  {
    name: 'makes files without end in its folder',
    act: (place) => again(place, (n) => writeFileSync(join(place.outbound.root, `file-${n}`), '')),
  },
  {
    name: 'makes folders without end among its files',
    act: (place) => {
      mkdirSync(place.outbound.files, { recursive: true });
      again(place, (n) => mkdirSync(join(place.outbound.files, `message-${n}`)));
    },
  },
  {
    name: 'leaves a process of its own session that ignores what it is told',
    act: () => {
      spawn('sh', ['-c', 'trap "" TERM INT HUP; exec sleep 30'], { detached: true, stdio: 'ignore' }).unref();
    },
  },
  {
    name: 'prints without end',
    act: (place) => again(place, (n) => void writeSync(1, `${'noise '.repeat(100)}${n}\n`)),
  },
  {
    name: 'removes everything that it has',
    act: (place) => rmSync(place.outbound.root, { recursive: true, force: true }),
  },
];

/** Live attacks, each for as long as it is told. */
export const LIVE: readonly Attack[] = ACTIONS.map((attack) => ({ ...attack, kind: 'while it is looked at, it' }));
