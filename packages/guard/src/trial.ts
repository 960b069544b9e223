/**
 * What must fail in a process of the guard, tried from within, in earnest: whatever closes it in is believed only as far as
 * it was seen to hold. A part of the program `guard-main`.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

/** What is tried, in the order in which it is told. */
export const PROTECTIONS = ['network', 'processes', 'files', 'writing', 'privileges', 'systemCalls'] as const;

/** One thing that a process of the guard must not be able to do. */
export type Protection = (typeof PROTECTIONS)[number];

/** What is to be tried. */
export interface TrialTargets {
  /** Where the host listens on the loopback address. */
  readonly port: number;
  /** The host's own process, and when it was started as the kernel counts it; `undefined` where it does not say. */
  readonly host: { readonly pid: number; readonly start: string } | undefined;
  /** A folder that may not be written to. */
  readonly sessions: string;
}

/** Tries everything; gives what could be done. */
export async function tried(targets: TrialTargets): Promise<Protection[]> {
  const open: Record<Protection, boolean> = {
    network: await connects(targets.port),
    // Where the kernel shows no processes as files, there is nothing of ours that hides them.
    processes: targets.host === undefined || startOf(targets.host.pid) === targets.host.start,
    files: canDo(() => readFileSync('/etc/passwd')),
    writing: canDo(() => writeAndRemove(join(targets.sessions, '.guard-trial'))),
    privileges: hasPrivileges(),
    systemCalls: !/^Seccomp:\t2$/m.test(ownStatus()),
  };
  return PROTECTIONS.filter((protection) => open[protection]);
}

/** This process as the kernel shows it to all that see it; `undefined` where it shows none. */
export function thisProcess(): TrialTargets['host'] {
  const stat = statOf('self');
  return stat === undefined ? undefined : { pid: Number.parseInt(stat, 10), start: startIn(stat) };
}

/** When a process was started, as the kernel counts it; `undefined` where it is not seen. */
function startOf(pid: number): string | undefined {
  const stat = statOf(pid);
  return stat === undefined ? undefined : startIn(stat);
}

function startIn(stat: string): string {
  // The name of the program, in brackets, may hold anything.
  return stat.split(') ').at(-1)?.split(' ')[19] ?? '';
}

function statOf(pid: number | 'self'): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined; // no such process, or no such file system
  }
}

/** Whether it could become more than it is, or is more already: but for the one right to read what agents wrote. */
function hasPrivileges(): boolean {
  const status = ownStatus();
  const capabilities = BigInt(`0x${/^CapPrm:\t([\da-f]+)$/m.exec(status)?.[1] ?? 'f'}`);
  return (capabilities & ~DAC_READ_SEARCH) !== 0n || !/^NoNewPrivs:\t1$/m.test(status);
}

const DAC_READ_SEARCH = 1n << 2n;

function ownStatus(): string {
  try {
    return readFileSync('/proc/self/status', 'utf8');
  } catch {
    return ''; // no such file system: nothing is known to hold
  }
}

function writeAndRemove(path: string): void {
  writeFileSync(path, '', { flag: 'wx' });
  rmSync(path);
}

function canDo(what: () => unknown): boolean {
  try {
    what();
    return true;
  } catch {
    return false; // that it fails is what is wanted
  }
}

function connects(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}
