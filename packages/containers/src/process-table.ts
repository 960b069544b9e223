/**
 * What the operating system knows of processes, as far as the process driver needs it.
 *
 * A process number alone names no process: it is reused. So a process is known by number and `identity`, which for one
 * number never repeats: on Linux the boot and the clock tick in which it began, elsewhere the second in which it began.
 */
import { readdir, readFile } from 'node:fs/promises';
import { execa } from 'execa';

/** Looks at processes and signals groups of them. */
export interface ProcessTable {
  /** The process with this number, or `undefined` if there is none. */
  state(pid: number): Promise<ProcessState | undefined>;
  /** Numbers of the processes of a group, those that are dead but not yet collected left out. */
  group(groupId: number): Promise<number[]>;
  /** Whether the process was started with `entry` (`NAME=value`) in its environment; `false` where it cannot be seen. */
  hasEnvironment(pid: number, entry: string): Promise<boolean>;
  /** Sends a signal to each process of a group; `false` if there was none. Throws when it is not permitted. */
  signalGroup(groupId: number, signal: 'SIGTERM' | 'SIGKILL'): boolean;
}

/** A process as seen at one moment. */
export interface ProcessState {
  /** With the process number, names one process for ever. */
  readonly identity: string;
  /** Dead, its exit not yet collected by its parent: where no init collects orphans it stays so for ever. */
  readonly isZombie: boolean;
}

/** The part of Node's `process` that is used, so that this library does not reach for it itself. */
export interface HostProcess {
  /** As `process.platform`: `linux` is looked at through `/proc`. */
  readonly platform: string;
  /** As `process.kill`: signals a process, or a group where the number is negative. */
  kill(pid: number, signal: 'SIGTERM' | 'SIGKILL'): unknown;
}

/** The table of this machine; give it Node's `process`. `/proc` on Linux, `ps` elsewhere. */
export function processTable(host: HostProcess): ProcessTable {
  const signalGroup: ProcessTable['signalGroup'] = (groupId, signal) => {
    try {
      host.kill(-groupId, signal);
      return true;
    } catch (error) {
      if (errorCode(error) === 'ESRCH') return false;
      throw error;
    }
  };
  return { ...(host.platform === 'linux' ? procTable() : psTable()), signalGroup };
}

/** The error code of a failed system call, such as `ENOENT`; `undefined` for any other error. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

type Seeing = Omit<ProcessTable, 'signalGroup'>;

function procTable(): Seeing {
  return {
    async state(pid) {
      const stat = await procFile(`${pid}/stat`);
      if (stat === undefined) return undefined;
      // Ticks count from the boot, so that without the boot a process of before a restart could be taken for one of after.
      const boot = await procFile('sys/kernel/random/boot_id');
      const { state, startTicks } = parseProcStat(stat);
      return { identity: `${boot?.trim() ?? ''}/${startTicks}`, isZombie: isDead(state) };
    },
    async group(groupId) {
      const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
      const members = await Promise.all(
        pids.map(async (pid) => {
          const stat = await procFile(`${pid}/stat`);
          if (stat === undefined) return [];
          const { state, group } = parseProcStat(stat);
          return group === groupId && !isDead(state) ? [pid] : [];
        }),
      );
      return members.flat();
    },
    async hasEnvironment(pid, entry) {
      const environment = await procFile(`${pid}/environ`);
      return environment !== undefined && environment.split('\0').includes(entry);
    },
  };
}

function psTable(): Seeing {
  return {
    async state(pid) {
      const found = (await ps(['-o', 'stat=,lstart=', '-p', String(pid)])).trim();
      const match = /^(\S+)\s+(.+)$/.exec(found);
      if (match === null) return undefined;
      const [, state = '', identity = ''] = match;
      return { identity, isZombie: isDead(state) };
    },
    async group(groupId) {
      const rows = (await ps(['-A', '-o', 'pid=,pgid=,stat='])).trim().split('\n');
      return rows.flatMap((row) => {
        const [pid, group, state = ''] = row.trim().split(/\s+/);
        return Number(group) === groupId && !isDead(state) ? [Number(pid)] : [];
      });
    },
    // `ps` shows an environment, where it does, mixed up with the arguments: any process could pretend.
    hasEnvironment: async () => false,
  };
}

/** Fields of `/proc/<pid>/stat`, see proc_pid_stat(5). The second is the program's name and may hold anything. */
export function parseProcStat(stat: string): { state: string; group: number; startTicks: string } {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', group: Number(fields[2]), startTicks: fields[19] ?? '' };
}

function isDead(state: string): boolean {
  return state.startsWith('Z') || state.startsWith('X');
}

/** A file below `/proc`, or `undefined` if its process is gone or belongs to another user. */
async function procFile(name: string): Promise<string | undefined> {
  try {
    return await readFile(`/proc/${name}`, 'utf8');
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM') return undefined;
    throw error;
  }
}

async function ps(options: string[]): Promise<string> {
  // A fixed zone and language, for the starting time is compared as text.
  const result = await execa('/bin/ps', options, { env: { LC_ALL: 'C', TZ: 'UTC' }, extendEnv: false, reject: false });
  // 1 is how `ps` says that no such process exists.
  if (result.exitCode !== 0 && result.exitCode !== 1) throw new Error(`ps failed: ${result.shortMessage}`);
  return result.stdout;
}
