/** Processor time and memory of processes, as Linux has them. */
import { readdirSync, readFileSync } from 'node:fs';

/** A process and all its descendants. */
export function family(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const fields = stat(Number(name));
    if (fields !== undefined) parents.set(Number(name), Number(fields[1]));
  }
  const members = [pid];
  for (const member of members) {
    for (const [child, parent] of parents) if (parent === member) members.push(child);
  }
  return members;
}

/** What each of these processes has used so far, in milliseconds, all its threads together. */
export function processorMs(pids: readonly number[]): ReadonlyMap<number, number> {
  return new Map(
    pids.map((pid) => {
      const threads = entries(`/proc/${pid}/task`);
      // Nanoseconds, where the ticks of `stat` are ten milliseconds each.
      const used = threads.map((id) => Number(read(`/proc/${pid}/task/${id}/schedstat`)?.split(' ')[0] ?? 0));
      return [pid, used.reduce((sum, ns) => sum + ns, 0) / 1e6];
    }),
  );
}

/** What was used between two looks. What has ended in between counts nothing, what has begun counts whole. */
export function usedMs(before: ReadonlyMap<number, number>, after: ReadonlyMap<number, number>): number {
  return [...after].reduce((sum, [pid, ms]) => sum + Math.max(0, ms - (before.get(pid) ?? 0)), 0);
}

/** Memory that they hold, in bytes. */
export function residentBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const kilobytes = /^VmRSS:\s+(\d+)/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
    return sum + Number(kilobytes ?? 0) * 1_024;
  }, 0);
}

/** Files, sockets and pipes that a process has open. */
export function descriptors(pid: number): number {
  return entries(`/proc/${pid}/fd`).length;
}

/** The fields of `/proc/PID/stat` from the state on. */
function stat(pid: number): string[] | undefined {
  return read(`/proc/${pid}/stat`)
    ?.replace(/^.*\) /, '')
    .split(' ');
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // It has ended.
    return undefined;
  }
}

function entries(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    // It has ended.
    return [];
  }
}
