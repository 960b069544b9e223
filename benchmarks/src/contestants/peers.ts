/**
 * What a user would take instead: durable queues, each with its own recommended client and its own worker process, on servers that
 * sync what they accept. They are installed on demand, and the servers are Debian's.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { Contestant, Opened } from '../contestant.ts';

const PEERS = fileURLToPath(new URL('../../peers', import.meta.url));

export const PLAINJOB = peer('plainjob', 'plainjob.mjs', undefined);
export const BULLMQ = peer('BullMQ, AOF always', 'bullmq.mjs', {
  package: 'redis-server',
  path: '/usr/bin/redis-server',
});
export const GRAPHILE_WORKER = peer('graphile-worker', 'graphile-worker.mjs', {
  package: 'postgresql',
  path: '/usr/lib/postgresql',
});
export const PG_BOSS = peer('pg-boss, notify', 'pg-boss.mjs', { package: 'postgresql', path: '/usr/lib/postgresql' });

/** What a file in `peers/` gives. */
interface PeerProgram {
  start(folder: string): Promise<{ ask(): Promise<void>; pids(): number[]; close(): Promise<void> }>;
}

interface Server {
  /** Of Debian. */
  readonly package: string;
  /** There once it is installed. */
  readonly path: string;
}

function peer(name: string, file: string, server: Server | undefined): Contestant {
  return {
    name,
    group: 'peer',
    open: async (folder) => {
      if (!existsSync(`${PEERS}/node_modules`)) await installed('pnpm', ['install', '--dir', PEERS]);
      if (server !== undefined && !existsSync(server.path)) {
        await installed('apt-get', ['install', '-y', '--no-install-recommends', server.package]);
      }
      const program = (await import(`${PEERS}/${file}`)) as PeerProgram;
      const started = await program.start(folder);
      // Sessions are nothing that a queue has: whatever is asked is one more job.
      return {
        ask: () => started.ask(),
        pids: () => started.pids(),
        [Symbol.asyncDispose]: () => started.close(),
      } satisfies Opened;
    },
  };
}

/** Installs something, or says what is missing. */
async function installed(program: string, args: readonly string[]): Promise<void> {
  const { exitCode, all } = await execa(program, args, { all: true, reject: false, stdin: 'ignore' });
  if (exitCode !== 0) throw new Error(`${[program, ...args].join(' ')} failed: ${all?.trim().split('\n').at(-1)}`);
}
