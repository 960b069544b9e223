/**
 * How late the loop of a process is. Preloaded (`node --import`) into the hosts, which know nothing of it, and into a process
 * that has nothing to do, whose lateness is the machine's own. Asked by a message, it answers with the worst since it was last
 * asked, and begins anew. The host's own figure is no use here: it looks once a second, so as not to wake an idle machine.
 */
import { isMainThread } from 'node:worker_threads';

/** How late a loop was at most. */
export interface Lateness {
  /** In milliseconds. */
  readonly ms: number;
  /** For how much of that its process was given a processor, in milliseconds: the rest was the machine's doing, or a disk's. */
  readonly cpuMs: number;
}

const EVERY_MS = 10;

if (isMainThread && process.send !== undefined) begin();

function begin(): void {
  let last = { at: performance.now(), cpuMs: cpuMs() };
  let worst: Lateness = { ms: 0, cpuMs: 0 };
  const look = () => {
    const seen = { at: performance.now(), cpuMs: cpuMs() };
    const ms = Math.max(0, seen.at - last.at - EVERY_MS);
    if (ms > worst.ms) worst = { ms, cpuMs: Math.min(ms, seen.cpuMs - last.cpuMs) };
    last = seen;
  };
  setInterval(look, EVERY_MS).unref();
  process.on('message', () => {
    look();
    process.send?.(worst);
    worst = { ms: 0, cpuMs: 0 };
  });
  // It keeps no process alive.
  process.channel?.unref();
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
