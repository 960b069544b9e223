/**
 * Databases and trees that chance has spoiled, read by the guard that a host uses: whatever they hold, it is an answer about
 * their own session, it shows nothing of another one, and the session read in between is read as ever.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Guard } from '@nanoclaw/guard';
import {
  createSession,
  HostSession,
  RunnerSession,
  runId,
  type SessionFolder,
  sessionFolder,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { SECRET } from './arena.ts';

/** What is spoiled. */
export type Mutated = 'databases' | 'trees';

/** What became of many. */
export interface Mutations {
  /** How often each answer was given. */
  readonly answers: ReadonlyMap<string, number>;
  /** What should not have been, each with its seed. */
  readonly breaches: readonly string[];
}

/** Spoils and reads `count` of them, from a seed on. */
export async function mutations(what: Mutated, seed: number, count: number): Promise<Mutations> {
  const root = mkdtempSync(join(tmpdir(), 'hostile-'));
  const copies = mkdtempSync(join(tmpdir(), 'hostile-guard-'));
  const guard = new Guard({
    sessions: root,
    scratch: copies,
    monotonic: () => performance.now(),
    onTrouble: () => undefined,
    setTimer: (delayMs, action) => {
      const timer = setTimeout(action, delayMs);
      return () => clearTimeout(timer);
    },
  });
  const answers = new Map<string, number>();
  const breaches: string[] = [];
  try {
    const honest = answered(join(root, 'honest'), 'honest');
    const victim = answered(join(root, 'victim'), SECRET);
    const kept = readFileSync(victim.outbound.database);
    const whole = answered(join(root, 'whole'), 'mine').outbound.database;
    for (let n = seed; n < seed + count; n += 1) {
      const chance = seeded(n);
      const folder = sessionFolder(join(root, `session-${n}`));
      createSession(folder.root);
      copyFileSync(whole, folder.outbound.database);
      if (what === 'databases') spoilDatabase(folder.outbound.database, chance);
      else spoilTree(folder, victim, chance);
      const read = await guard
        .reader(folder)
        .read({ acksAfter: 0, messagesAfter: 0, again: [], runEnded: chance(2) === 0 });
      answers.set(read.type, (answers.get(read.type) ?? 0) + 1);
      if (JSON.stringify(read).includes(SECRET)) breaches.push(`seed ${n}: it shows what another session said`);
      if (what === 'trees') {
        for (const file of await guard.spool(folder, 'm', NAMES)) {
          const type = file.type === 'stored' ? 'file stored' : 'file refused';
          answers.set(type, (answers.get(type) ?? 0) + 1);
          if (file.type === 'stored' && readFileSync(file.path).includes(SECRET))
            breaches.push(`seed ${n}: it sends what another session said`);
        }
      }
      const other = await guard.reader(honest).read({ acksAfter: 0, messagesAfter: 0, again: [] });
      if (other.type !== 'read') breaches.push(`seed ${n}: the honest session was not read: ${other.type}`);
      execFileSync('chmod', ['-R', 'u+rwX', folder.root]);
      rmSync(folder.root, { recursive: true, force: true });
      if (!readFileSync(victim.outbound.database).equals(kept))
        breaches.push(`seed ${n}: the file of another session has changed`);
    }
  } finally {
    guard[Symbol.dispose]();
    for (const folder of [root, copies]) rmSync(folder, { recursive: true, force: true });
  }
  return { answers, breaches };
}

const NAMES = ['a', 'b', 'c'];

/** Gives whole numbers below a limit, the same ones for the same seed. */
type Chance = (below: number) => number;

function seeded(seed: number): Chance {
  // mulberry32: 32 bits of state, enough to have a failure again.
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Bytes changed, pages exchanged or wiped, the end cut off, figures that SQLite counts with; a journal from nowhere. */
function spoilDatabase(path: string, chance: Chance): void {
  const bytes = readFileSync(path);
  const pages = bytes.length / PAGE_BYTES;
  const page = () => {
    const at = chance(pages) * PAGE_BYTES;
    return bytes.subarray(at, at + PAGE_BYTES);
  };
  const byte = () => void bytes.writeUInt8(chance(256), chance(bytes.length));
  const spoil = [
    byte,
    byte,
    byte,
    byte,
    () => void page().copy(page()),
    () => void page().fill(chance(2) * 255, chance(PAGE_BYTES)),
    () => void page().writeUInt16BE(chance(65_536), chance(12)),
    () => void page().writeUInt8(PAGE_TYPES[chance(PAGE_TYPES.length)] ?? 0, 0),
    () => void bytes.writeUInt32BE(chance(2 ** 32 - 1), chance(100)),
  ];
  for (let times = 1 + chance(3); times > 0; times -= 1) spoil[chance(spoil.length)]?.();
  writeFileSync(path, chance(8) === 0 ? bytes.subarray(0, chance(bytes.length)) : bytes);
  if (chance(6) > 0) return;
  writeFileSync(`${path}-journal`, Buffer.concat([JOURNAL_MAGIC, bytes.subarray(0, chance(9_000))]));
}

/** Interior and leaf pages of an index and of a table. */
const PAGE_TYPES = [2, 5, 10, 13];
const PAGE_BYTES = 4_096;
const JOURNAL_MAGIC = Buffer.from('d9d505f920a163d7', 'hex');

/** Puts things of every kind where the host looks, and where it does not. */
function spoilTree(folder: SessionFolder, victim: SessionFolder, chance: Chance): void {
  const { root, database, bell, heartbeat, files } = folder.outbound;
  mkdirSync(join(files, 'm'), { recursive: true });
  for (const name of NAMES) if (chance(3) > 0) writeFileSync(join(files, 'm', name), 'x'.repeat(chance(100)));
  const places = [
    database,
    `${database}-journal`,
    `${database}-wal`,
    bell,
    heartbeat,
    files,
    join(files, 'm'),
    join(root, 'new'),
  ];
  for (let times = 1 + chance(5); times > 0; times -= 1) {
    const place = chance(2) === 0 ? join(files, 'm', NAMES[chance(3)] ?? '') : (places[chance(places.length)] ?? root);
    try {
      // A container cannot write where its links lead; the process of this test could.
      if (!realpathSync(dirname(place)).startsWith(realpathSync(root))) continue;
      const isRight = chance(6) === 0 && !lstatSync(place).isSymbolicLink();
      if (isRight) chmodSync(place, chance(0o1000));
      else {
        rmSync(place, { recursive: true, force: true });
        put(place, victim, chance);
      }
    } catch {
      // What an earlier step has left does not let this one be: a tree like any other.
    }
  }
}

function put(place: string, victim: SessionFolder, chance: Chance): void {
  const targets = [
    victim.outbound.database,
    victim.outbound.root,
    '/dev/zero',
    '/proc/self/environ',
    'nowhere',
    '.',
    '..',
    place,
  ];
  const target = targets[chance(targets.length)] ?? place;
  switch (chance(7)) {
    case 0:
      return symlinkSync(target, place);
    case 1:
      return linkSync(victim.outbound.database, place);
    case 2:
      return void mkdirSync(place, { recursive: true });
    case 3:
      return void execFileSync('mkfifo', [place], { stdio: 'ignore' });
    case 4:
      writeFileSync(place, '');
      return truncateSync(place, chance(2 ** 40));
    case 5:
      return writeFileSync(place, Buffer.from(Array.from({ length: chance(200) }, () => chance(256))));
    default:
      return execFileSync('mknod', [place, 'c', '1', '5'], { stdio: 'ignore' }) && undefined;
  }
}

/** A session in which a run has taken one message and answered it. */
function answered(root: string, text: string): SessionFolder {
  const folder = createSession(root);
  using host = HostSession.open(folder, openSqlite);
  const run = runId('run-1');
  const asked = {
    id: 'm1',
    kind: 'chat',
    timestamp: 1,
    trigger: 'wakes',
    address: null,
    content: { text: 'hello' },
  } as const;
  host.enqueue(asked, 1_000);
  host.beginRun(run, 1_000);
  using runner = RunnerSession.open(folder, openSqlite, { runId: run, runnerVersion: '0', provider: 'offline' }, 1_000);
  const result = runner.claim(1_000, { work: 10, control: 10, context: 10 });
  if (result.type !== 'claimed') throw new Error(`The message was not claimed: ${result.type}.`);
  const claims = result.claimed.map(({ claim }) => claim);
  runner.finish(
    claims,
    { type: 'completed' },
    [{ id: 'r1', kind: 'chat', address: null, inReplyTo: 'm1', content: { text } }],
    1_100,
  );
  host.endRun(run);
  return folder;
}
