/** The programs that the suite has drivers run: a few steps, as a script for `sh` or as a function of this process. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunProgram, RunProgramPorts } from '../in-process.ts';

/** A small program. It works in its working directory and does its steps one after the other. */
export interface ContractProgram {
  /** After the last one it leaves with exit code 0. */
  readonly steps: readonly ContractStep[];
  /**
   * What it does when it is asked to leave: it leaves at once by default, takes no notice, or cleans up for a tenth of a
   * second, makes a file and leaves with an exit code.
   */
  readonly onStop?:
    | 'leave'
    | 'ignore'
    | {
        /** The file that it makes, relative to the working directory. */
        readonly file: string;
        /** The code that it leaves with after that, 0 to 255. */
        readonly exitCode: number;
      };
}

/** One thing that a program does. */
export type ContractStep =
  /** Prints text, without adding a line end. */
  | { readonly type: 'print'; readonly text: string; readonly to?: 'stdout' | 'stderr' }
  /** Prints `line 1`, `line 2` and so on, each a line. */
  | { readonly type: 'print-lines'; readonly count: number }
  /** Makes a file. */
  | { readonly type: 'write'; readonly file: string }
  /** Writes its whole environment into a file, each variable a line `NAME=value`. */
  | { readonly type: 'save-environment'; readonly file: string }
  /** Writes the short name of its time zone into a file. */
  | { readonly type: 'save-time-zone'; readonly file: string }
  /** Waits until a file is there. */
  | { readonly type: 'wait-for'; readonly file: string }
  /** Makes a file again and again, for ever. */
  | { readonly type: 'beat'; readonly file: string }
  /** Starts a process that makes a file again and again, for ever, whatever signal comes but SIGKILL. */
  | { readonly type: 'start-beating-child'; readonly file: string }
  | { readonly type: 'exit'; readonly code: number };

/** The program as a script for `sh`. */
export function shellScript({ steps, onStop = 'leave' }: ContractProgram): string {
  const trap =
    onStop === 'leave'
      ? []
      : [
          onStop === 'ignore'
            ? "trap '' TERM"
            : `trap ${quoted(`sleep 0.1; : >${quoted(onStop.file)}; exit ${onStop.exitCode}`)} TERM`,
        ];
  return [...trap, ...steps.map(shellStep)].join('\n');
}

/**
 * The program as one for `inProcess`. Its command is `['sh', '-c', JSON.stringify(program), folder]`, with the
 * working directory as seen from inside.
 */
export const contractProgram: RunProgram = async ([text = '', folder = ''], ports) => {
  const program: ContractProgram = JSON.parse(text);
  const { onStop = 'leave', steps } = program;
  for (const step of steps) {
    const code = await inProcessStep(step, folder, ports, onStop !== 'ignore');
    if (code !== undefined) return code;
    if (!ports.signal.aborted || onStop === 'ignore') continue;
    if (onStop === 'leave') return 0;
    await pause(100);
    writeFileSync(join(folder, onStop.file), '');
    return onStop.exitCode;
  }
  return 0;
};

function shellStep(step: ContractStep): string {
  switch (step.type) {
    case 'print':
      return `printf %s ${quoted(step.text)}${step.to === 'stderr' ? ' >&2' : ''}`;
    case 'print-lines':
      return `i=0; while [ $i -lt ${step.count} ]; do i=$((i+1)); echo "line $i"; done`;
    case 'write':
      return `: >${quoted(step.file)}`;
    // Under another name first: a file that is there is whole.
    case 'save-environment':
      return `env >saving; mv saving ${quoted(step.file)}`;
    case 'save-time-zone':
      return `date +%Z >saving; mv saving ${quoted(step.file)}`;
    case 'wait-for':
      return `until [ -e ${quoted(step.file)} ]; do sleep 0.02; done`;
    case 'beat':
      return `while :; do : >${quoted(step.file)}; sleep 0.02; done`;
    case 'start-beating-child':
      return `sh -c ${quoted(`trap "" TERM HUP; while :; do : >${quoted(step.file)}; sleep 0.02; done`)} &`;
    case 'exit':
      return `exit ${step.code}`;
  }
}

/** Gives the exit code where the step is the last one. */
async function inProcessStep(
  step: ContractStep,
  folder: string,
  { env, signal, write }: RunProgramPorts,
  isObedient: boolean,
): Promise<number | undefined> {
  const path = (file: string) => join(folder, file);
  const mayGoOn = () => existsSync(folder) && !(isObedient && signal.aborted);
  switch (step.type) {
    case 'print':
      write(step.text);
      return undefined;
    case 'print-lines':
      write(numberedLines(step.count));
      return undefined;
    case 'write':
      writeFileSync(path(step.file), '');
      return undefined;
    case 'save-environment':
      writeFileSync(
        path(step.file),
        Object.entries(env)
          .map(([name, value]) => `${name}=${value}\n`)
          .join(''),
      );
      return undefined;
    case 'save-time-zone':
      writeFileSync(path(step.file), `${env['TZ'] ?? ''}\n`);
      return undefined;
    case 'wait-for':
      while (mayGoOn() && !existsSync(path(step.file))) await pause(LOOK_EVERY_MS);
      return undefined;
    case 'beat':
      while (mayGoOn()) {
        writeFileSync(path(step.file), '');
        await pause(LOOK_EVERY_MS);
      }
      return undefined;
    case 'start-beating-child':
      throw new Error('A program of this process starts no other.');
    case 'exit':
      return step.code;
  }
}

/** What the step `print-lines` prints. */
export function numberedLines(count: number): string {
  return Array.from({ length: count }, (_, n) => `line ${n + 1}\n`).join('');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

const LOOK_EVERY_MS = 5;

function pause(ms: number): Promise<void> {
  // tidy: allow sleep — a program of the suite waits, as the programs of other drivers do
  return new Promise((resolve) => setTimeout(resolve, ms));
}
