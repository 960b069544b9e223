/**
 * What a host takes from the process that it runs in, and what it is where its program hands nothing over: the clock, chance,
 * ids and the machine. The one file of this package that knows a process; everything else is handed what it needs.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { HostProcess } from '@nanoclaw/containers';
import type { Clock } from '@nanoclaw/session-db';
import { systemCode } from '../errors/index.ts';
import type { LoopDelay, OpenFiles } from '../observability/index.ts';
import type { Machine } from '../runs/index.ts';

/** The world of a host. */
export interface HostPorts {
  /** The wall clock and the timers. */
  readonly clock: Clock;
  /** A clock that is never set, in milliseconds from anywhere. */
  readonly monotonic: () => number;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** A new id that nothing else has. */
  readonly newId: () => string;
  /** A new secret that nobody can guess. */
  readonly newSecret: () => string;
  /** How late the event loop has been since it was last asked. */
  readonly loopDelay: () => LoopDelay;
  /** The id of the host's process. */
  readonly pid: number;
  /** How many files this process has open, and may have. */
  readonly openFiles: () => OpenFiles;
  /** A folder for private copies, each of which is removed after its use. */
  readonly scratch: string;
  /** The host's own environment and user. */
  readonly machine: Machine;
  /** The process whose children runs without isolation are. */
  readonly process: HostProcess;
}

/** The ports of this process. Disposing of them ends the watch on its event loop. */
export function processPorts(): HostPorts & Disposable {
  const loop = watchedLoop();
  const uid = process.getuid?.();
  const gid = process.getgid?.();
  return {
    clock: {
      now: () => Date.now(),
      setTimer: (delayMs, action) => {
        const timer = setTimeout(action, delayMs);
        return () => clearTimeout(timer);
      },
    },
    monotonic: () => performance.now(),
    random: () => Math.random(),
    newId: () => randomUUID(),
    newSecret: () => randomBytes(32).toString('base64url'),
    loopDelay: loop.delay,
    pid: process.pid,
    openFiles,
    scratch: tmpdir(),
    machine: { env: process.env, user: uid === undefined || gid === undefined ? undefined : { uid, gid } },
    process,
    [Symbol.dispose]: () => loop.stop(),
  };
}

/** Sockets and pipes count as files. Where the system does not say, there is no limit and nothing is open. */
function openFiles(): OpenFiles {
  // Node has raised its own limit as far as it may at its start.
  const limits = read('/proc/self/limits')?.match(/^Max open files +(\d+)/m)?.[1];
  return { open: entries('/proc/self/fd'), max: limits === undefined ? Number.POSITIVE_INFINITY : Number(limits) };
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}

function entries(folder: string): number {
  try {
    return readdirSync(folder).length;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return 0;
  }
}

/** Watches how late the event loop is, from when that is first asked. */
function watchedLoop(): { readonly delay: () => LoopDelay; readonly stop: () => void } {
  let histogram: ReturnType<typeof monitorEventLoopDelay> | undefined;
  return {
    delay: () => {
      if (histogram === undefined) {
        histogram = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
        histogram.enable();
        return { p50: 0, p99: 0, max: 0 };
      }
      const delay = {
        p50: late(histogram.percentile(50)),
        p99: late(histogram.percentile(99)),
        max: late(histogram.max),
      };
      histogram.reset();
      return delay;
    },
    stop: () => void histogram?.disable(),
  };
}

/** A look each second: an idle host is to be idle, and of how much of the time the loop is late samples tell as well. */
const LOOP_RESOLUTION_MS = 1_000;

/** What is measured is the time between two looks: what a look is late by is what is above its own interval. */
function late(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e6 - LOOP_RESOLUTION_MS);
}
