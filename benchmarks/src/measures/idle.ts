/**
 * What a daemon costs that nobody speaks to: its start, its first reply, and then its processor time, memory and descriptors, with
 * sessions that were all used before and have nothing to do.
 */
import { cpSync, mkdtempSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openSqlite } from '@nanoclaw/session-db/node';
import { Daemon, TerminalChat } from '../contestants/daemon.ts';
import { shown } from '../figures.ts';
import { descriptors, family, processorMs, residentBytes, usedMs } from '../processor-time.ts';
import { markdown } from '../table.ts';

/** The costs of one daemon. */
export interface IdleCost {
  /** From its start to the first reply, in milliseconds. */
  readonly firstReplyMs: number;
  /** Of the daemon and its guard in a minute, in milliseconds of one processor; once it was quiet. */
  readonly processorMsPerMinute: number;
  /** Until a stretch of ten seconds was as quiet as it ever gets, in seconds from the start. */
  readonly settledS: number;
  /** Resident, of the daemon and its guard, in bytes. */
  readonly bytes: number;
  /** Of the daemon. */
  readonly descriptors: number;
}

/** The table of idle daemons, written as it comes. */
export async function idleTable(
  root: string,
  sizes: readonly number[],
  onProgress: (sentence: string) => void,
): Promise<Readonly<Record<string, IdleCost>>> {
  const costs: Record<string, IdleCost> = {};
  const head = ['sessions', 'first reply, s', 'settled, s', 'processor, ms a minute', 'memory, MB', 'descriptors'];
  process.stdout.write(`\n### A daemon with nothing to do\n\n${markdown([head, head.map(() => '---')])}\n`);
  for (const sessions of sizes) {
    onProgress(`idle: a daemon with ${sessions} sessions`);
    const cost = await idle(mkdtempSync(join(root, 'idle-')), sessions, WATCH_MS);
    costs[sessions] = cost;
    const figures = [
      cost.firstReplyMs / 1_000,
      cost.settledS,
      cost.processorMsPerMinute,
      cost.bytes / 1e6,
      cost.descriptors,
    ];
    process.stdout.write(`${markdown([[`${sessions}`, ...figures.map(shown)]])}\n`);
  }
  return costs;
}

/** A run that has answered leaves after this time, and what it was is settled within the double of it. */
const IDLE_EXIT_MS = 1_000;
const runHasLeft = () => sleep(5 * IDLE_EXIT_MS);

const WATCH_MS = 60_000;
const STRETCH_MS = 10_000;
const SETTLED_MAX_S = 600;
/** A stretch that costs no more than a fifth above the one before it is quiet. */
const QUIET = 1.2;

/** Starts a daemon on a folder with so many sessions, and watches it for `watchMs` once it is quiet. */
export async function idle(folder: string, sessions: number, watchMs: number): Promise<IdleCost> {
  if (sessions > 0) await fill(folder, sessions);
  const begun = performance.now();
  const daemon = await Daemon.start(folder, 1, IDLE_EXIT_MS);
  try {
    let firstReplyMs = performance.now() - begun;
    if (sessions > 0) {
      const chat = await TerminalChat.join(folder, 'main');
      await chat.ask();
      firstReplyMs = performance.now() - begun;
      await chat.close();
    }
    await runHasLeft();
    const cost = async (ms: number) => {
      const before = processorMs(family(daemon.pid));
      await sleep(ms);
      return usedMs(before, processorMs(family(daemon.pid)));
    };
    let last = await cost(STRETCH_MS);
    while (performance.now() - begun < SETTLED_MAX_S * 1_000) {
      const next = await cost(STRETCH_MS);
      if (next <= 20 || (last <= next * QUIET && next <= last * QUIET)) break;
      last = next;
    }
    const settledS = (performance.now() - begun) / 1_000;
    const used = await cost(watchMs);
    const all = family(daemon.pid);
    return {
      firstReplyMs,
      settledS,
      processorMsPerMinute: used * (60_000 / watchMs),
      bytes: residentBytes(all),
      descriptors: descriptors(daemon.pid),
    };
  } finally {
    await daemon.stop();
  }
}

/** Makes a session by using it, and then copies of it. */
async function fill(folder: string, sessions: number): Promise<void> {
  const daemon = await Daemon.start(folder, 1, IDLE_EXIT_MS);
  const chat = await TerminalChat.join(folder, 'main');
  await chat.ask();
  await chat.close();
  await runHasLeft();
  await daemon.stop();
  const root = join(folder, 'sessions');
  const [agent = ''] = readdirSync(root);
  const [first = ''] = readdirSync(join(root, agent));
  const registry = openSqlite(join(folder, 'registry.db'), 'write');
  registry.exec('BEGIN');
  for (let i = 1; i < sessions; i += 1) {
    const id = `session-${i}`;
    cpSync(join(root, agent, first), join(root, agent, id), { recursive: true });
    registry.run(
      `INSERT INTO sessions (id, agent_group_id, messaging_group_id, thread_id, created_at)
       SELECT :id, agent_group_id, messaging_group_id, :id, created_at FROM sessions WHERE id = :first`,
      { id, first },
    );
  }
  registry.exec('COMMIT');
  registry.close();
}
