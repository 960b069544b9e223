/** Runs a command of the table, for the control socket, the command line and, limited to a scope, for agents. */
import { RegistryError, type RegistryErrorCode } from '@nanoclaw/registry';
import { isBusy, type Json, type JsonObject, SqliteError } from '@nanoclaw/session-db';
import { type ExitCode, messageOf, Problem } from '../errors/index.ts';
import { type Invocation, type OperatorCommand, parametersOf } from './command.ts';
import type { Changing, Live, Reading } from './contexts.ts';

/** A command with its parameters, of whichever kind, ready to be run. */
export type Prepared =
  | { readonly kind: 'reads'; readonly command: OperatorCommand; readonly invocation: Invocation<Reading> }
  | { readonly kind: 'changes'; readonly command: OperatorCommand; readonly invocation: Invocation<Changing> }
  | { readonly kind: 'live'; readonly command: OperatorCommand; readonly invocation: Invocation<Live> };

/** Checks the parameters as they were typed. Throws a `Problem` (exit code 2). */
export function prepare(command: OperatorCommand, raw: unknown): Prepared {
  switch (command.kind) {
    case 'reads':
      return { kind: command.kind, command, invocation: command.prepare(raw) };
    case 'changes':
      return { kind: command.kind, command, invocation: command.prepare(raw) };
    case 'live':
      return { kind: command.kind, command, invocation: command.prepare(raw) };
  }
}

/** Does what a command of the table says. Throws a `Problem`. */
export function run(prepared: Prepared, operators: Operators, raw: JsonObject): Promise<Json> {
  if (prepared.kind === 'reads') return runReading(prepared, operators.reading);
  return runChanging(prepared, operators.changing, raw);
}

/** The same host as what only looks sees it and as what changes something does. */
export interface Operators {
  readonly reading: Reading;
  readonly changing: Changing;
}

/** Does what only looks. Throws a `Problem`. */
export async function runReading(
  { invocation }: Extract<Prepared, { kind: 'reads' }>,
  operator: Reading,
): Promise<Json> {
  return told(() => invocation.run(operator));
}

/** Does what changes something, and writes it into the audit log, also when it was refused. Throws a `Problem`. */
export async function runChanging(
  prepared: Exclude<Prepared, { kind: 'reads' }>,
  operator: Changing,
  raw: JsonObject,
): Promise<Json> {
  let value: Json;
  try {
    value = await told(() => done(prepared, operator));
  } catch (error) {
    await note(prepared.command, operator, raw, messageOf(error));
    throw error;
  }
  await note(prepared.command, operator, raw, 'done');
  return value;
}

function done(prepared: Exclude<Prepared, { kind: 'reads' }>, operator: Changing): Promise<Json> {
  if (prepared.kind === 'changes') return prepared.invocation.run(operator);
  const { live } = operator;
  if (live === undefined) throw notRunning(operator.data.root, prepared.command.path);
  return prepared.invocation.run({ ...operator, live });
}

/** Says that only a running host can do it. */
export function notRunning(dataFolder: string, path: readonly string[]): Problem {
  return new Problem(
    `No host is running on ${dataFolder}, and \`nanoclaw ${path.join(' ')}\` needs one; nothing was changed. ` +
      'Start it with `nanoclaw start`.',
    9,
  );
}

async function note(command: OperatorCommand, operator: Changing, raw: JsonObject, outcome: string): Promise<void> {
  const { registry, actor, now } = operator;
  const named = parametersOf(command).filter(({ place }) => place === 'argument');
  const target = named.flatMap(({ name }) => (typeof raw[name] === 'string' ? [raw[name]] : [])).join(' ');
  await registry.audit.add({ at: now(), actor, action: command.path.join(' '), target, outcome, detail: raw });
}

async function told<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw asProblem(error);
  }
}

/** What the registry or a session's file refuses, as a `Problem`; any other error as it is. */
export function asProblem(error: unknown): unknown {
  if (error instanceof RegistryError) return new Problem(error.message, EXIT_CODE_OF[error.code], { cause: error });
  if (error instanceof SqliteError) {
    const what = isBusy(error)
      ? 'The file of a session is being written just now; nothing was changed. Try again in a moment.'
      : `The file of a session cannot be used (${error.message}); it was left as it is. ` +
        '`nanoclaw restore FROM --session SESSION` brings one back from a backup.';
    return new Problem(what, isBusy(error) ? 7 : 4, { cause: error });
  }
  return error;
}

const EXIT_CODE_OF: Readonly<Record<RegistryErrorCode, ExitCode>> = {
  invalid: 2,
  missing: 6,
  conflict: 7,
  'in-use': 7,
  unavailable: 4,
  'newer-schema': 4,
};
