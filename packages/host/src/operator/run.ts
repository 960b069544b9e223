/** Runs a command of the table, for the control socket, the command line and, limited to a scope, for agents. */
import { RegistryError, type RegistryErrorCode } from '@nanoclaw/registry';
import { isBusy, type Json, type JsonObject, SqliteError } from '@nanoclaw/session-db';
import { type ExitCode, messageOf, Problem } from '../errors/index.ts';
import { type Invocation, type OperatorCommand, parametersOf } from './command.ts';
import type { LiveContext, ReadContext, WriteContext } from './contexts.ts';

/** A command with its parameters, ready to be run. */
export type PreparedCommand =
  | { readonly kind: 'reads'; readonly command: OperatorCommand; readonly invocation: Invocation<ReadContext> }
  | { readonly kind: 'changes'; readonly command: OperatorCommand; readonly invocation: Invocation<WriteContext> }
  | { readonly kind: 'live'; readonly command: OperatorCommand; readonly invocation: Invocation<LiveContext> };

/** Checks the parameters as they were typed. Throws a `Problem` (exit code 2). */
export function prepare(command: OperatorCommand, raw: unknown): PreparedCommand {
  switch (command.kind) {
    case 'reads':
      return { kind: command.kind, command, invocation: command.prepare(raw) };
    case 'changes':
      return { kind: command.kind, command, invocation: command.prepare(raw) };
    case 'live':
      return { kind: command.kind, command, invocation: command.prepare(raw) };
  }
}

/** Runs a command. `raw`: its parameters as they were typed, for the audit log. Rejects with a `Problem`. */
export function runPrepared(prepared: PreparedCommand, contexts: CommandContexts, raw: JsonObject): Promise<Json> {
  if (prepared.kind === 'reads') return runRead(prepared, contexts.read);
  return runWrite(prepared, contexts.write, raw);
}

/** The contexts of one host: for commands that only read, and for those that change something. */
export interface CommandContexts {
  /** For commands that change nothing. */
  readonly read: ReadContext;
  /** For commands that change something. */
  readonly write: WriteContext;
}

/** Runs a command that only reads. Rejects with a `Problem`. */
export async function runRead(
  { invocation }: Extract<PreparedCommand, { kind: 'reads' }>,
  context: ReadContext,
): Promise<Json> {
  return withProblems(() => invocation.run(context));
}

/** Runs a command that changes something, and writes it into the audit log, also when it was refused. Rejects with a `Problem`. */
export async function runWrite(
  prepared: Exclude<PreparedCommand, { kind: 'reads' }>,
  context: WriteContext,
  raw: JsonObject,
): Promise<Json> {
  let value: Json;
  try {
    value = await withProblems(() => invokeWrite(prepared, context));
  } catch (error) {
    await addToAudit(prepared.command, context, raw, messageOf(error));
    throw error;
  }
  await addToAudit(prepared.command, context, raw, 'done');
  return value;
}

function invokeWrite(prepared: Exclude<PreparedCommand, { kind: 'reads' }>, context: WriteContext): Promise<Json> {
  if (prepared.kind === 'changes') return prepared.invocation.run(context);
  const { live } = context;
  if (live === undefined) throw notRunning(context.data.root, prepared.command.path);
  return prepared.invocation.run({ ...context, live });
}

/** The `Problem` (exit code 9) that a command needs a running host. */
export function notRunning(dataFolder: string, path: readonly string[]): Problem {
  return new Problem(
    `No host is running on ${dataFolder}, and \`nanoclaw ${path.join(' ')}\` needs one; nothing was changed. ` +
      'Start it with `nanoclaw start`.',
    9,
  );
}

async function addToAudit(
  command: OperatorCommand,
  context: WriteContext,
  raw: JsonObject,
  outcome: string,
): Promise<void> {
  const { registry, actor, now } = context;
  const named = parametersOf(command).filter(({ place }) => place === 'argument');
  const target = named.flatMap(({ name }) => (typeof raw[name] === 'string' ? [raw[name]] : [])).join(' ');
  await registry.audit.add({ at: now(), actor, action: command.path.join(' '), target, outcome, detail: raw });
}

async function withProblems<T>(action: () => Promise<T>): Promise<T> {
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
