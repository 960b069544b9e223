/**
 * One command of `nanoclaw`, declared once. From the declaration come its parser, its help, its completion, its place in
 * the control socket and what an agent may do with it from inside.
 *
 * A command gets a context that can do no more than its kind needs: one that only reads has nothing to write with.
 */
import type { AgentGroupId } from '@nanoclaw/registry';
import type { Json } from '@nanoclaw/session-db';
import { z } from 'zod';
import { Problem } from '../errors/index.ts';
import type { LiveContext, ReadContext, WriteContext } from './contexts.ts';
import type { View } from './view.ts';

/** A command of the table. */
export type OperatorCommand =
  /** Changes nothing; with a running host or without one. */
  | (CommandDeclaration & {
      readonly kind: 'reads';
      /** Checks the parameters and gives what is to be run. Throws a `Problem` (exit code 2) for one that is wrong. */
      prepare(raw: unknown): Invocation<ReadContext>;
    })
  /** Changes something; without a running host it holds the lease on the data folder meanwhile. */
  | (CommandDeclaration & {
      readonly kind: 'changes';
      /** Checks the parameters and gives what is to be run. Throws a `Problem` (exit code 2) for one that is wrong. */
      prepare(raw: unknown): Invocation<WriteContext>;
    })
  /** Needs the running host itself. */
  | (CommandDeclaration & {
      readonly kind: 'live';
      /** Checks the parameters and gives what is to be run. Throws a `Problem` (exit code 2) for one that is wrong. */
      prepare(raw: unknown): Invocation<LiveContext>;
    });

/** The declaration of a command: all that its parser, its help and its completion need. */
export interface CommandDeclaration {
  /** Its words after `nanoclaw`: `groups`, `create`. */
  readonly path: readonly string[];
  /** Another last word for it. */
  readonly alias?: string;
  /** What it does, as one line without a full stop. */
  readonly summary: string;
  /** Each parameter is made with `argument`, `option` or `flag`. */
  readonly parameters: z.ZodObject;
  /** How its result is shown to a person. */
  readonly view: View;
  /** Whether agents may use it. */
  readonly agents: AgentAccess;
}

/**
 * Whether an agent may use it from inside: `never`; only with the scope `all`; or, with the narrower scopes too, for
 * what is its own.
 */
export type AgentAccess = 'never' | 'all' | 'own';

/** A command with its parameters, checked. */
export interface Invocation<Operator> {
  /** The same, confined to what belongs to one agent; `undefined` when it names something that does not. */
  confinedTo(own: AgentGroupId, context: ReadContext): Promise<Invocation<Operator> | undefined>;
  /** Runs it. Gives plain data. Rejects with a `Problem`, or with what the registry refuses. */
  run(context: Operator): Promise<Json>;
}

/** A command as it is written down: the type of its parameters is inferred from their schema. */
interface CommandDefinition<Operator, Shape extends z.ZodRawShape>
  extends Omit<CommandDeclaration, 'parameters' | 'agents'> {
  readonly parameters: z.ZodObject<Shape>;
  /** `never`, `all`, or how the parameters are confined to what belongs to one agent. */
  readonly agents: 'never' | 'all' | Confine<z.output<z.ZodObject<Shape>>>;
  readonly run: (context: Operator, parameters: z.output<z.ZodObject<Shape>>) => Promise<unknown>;
}

/** Confines parameters to what belongs to one agent; `undefined` when they name something that does not. */
export type Confine<Parameters> = (
  parameters: Parameters,
  own: AgentGroupId,
  context: ReadContext,
) => Promise<Parameters | undefined>;

/** Declares a command that changes nothing. */
export function reads<Shape extends z.ZodRawShape>(
  declaration: CommandDefinition<ReadContext, Shape>,
): OperatorCommand {
  return { ...declarationOf(declaration), kind: 'reads', prepare: (raw) => prepareInvocation(declaration, raw) };
}

/** Declares a command that changes something. */
export function changes<Shape extends z.ZodRawShape>(
  declaration: CommandDefinition<WriteContext, Shape>,
): OperatorCommand {
  return { ...declarationOf(declaration), kind: 'changes', prepare: (raw) => prepareInvocation(declaration, raw) };
}

/** Declares a command that only a running host can do. */
export function liveOnly<Shape extends z.ZodRawShape>(
  declaration: CommandDefinition<LiveContext, Shape>,
): OperatorCommand {
  return { ...declarationOf(declaration), kind: 'live', prepare: (raw) => prepareInvocation(declaration, raw) };
}

function declarationOf<Operator, Shape extends z.ZodRawShape>(
  declaration: CommandDefinition<Operator, Shape>,
): CommandDeclaration {
  const { path, alias, summary, parameters, view, agents } = declaration;
  return {
    path,
    ...(alias === undefined ? {} : { alias }),
    summary,
    parameters,
    view,
    agents: typeof agents === 'function' ? 'own' : agents,
  };
}

function prepareInvocation<Operator, Shape extends z.ZodRawShape>(
  declaration: CommandDefinition<Operator, Shape>,
  raw: unknown,
): Invocation<Operator> {
  return invocation(declaration, checkedParameters(declaration, raw));
}

function invocation<Operator, Shape extends z.ZodRawShape>(
  declaration: CommandDefinition<Operator, Shape>,
  parameters: z.output<z.ZodObject<Shape>>,
): Invocation<Operator> {
  const { agents } = declaration;
  return {
    confinedTo: async (own, context) => {
      const confined = typeof agents === 'function' ? await agents(parameters, own, context) : undefined;
      return confined && invocation(declaration, confined);
    },
    run: async (context) => toJson(await declaration.run(context, parameters)),
  };
}

/** The parameters of a command, checked. Throws a `Problem` (exit code 2) that names the one that is wrong. */
export function checkedParameters<Shape extends z.ZodRawShape>(
  command: { readonly path: readonly string[]; readonly parameters: z.ZodObject<Shape> },
  raw: unknown,
): z.output<z.ZodObject<Shape>> {
  const parsed = command.parameters.strict().safeParse(raw);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const [name] = issue?.path ?? [];
  const shape: Readonly<Record<string, unknown>> = command.parameters.shape;
  const declaredAs = typeof name === 'string' ? shape[name] : undefined;
  const of =
    typeof name === 'string' && declaredAs instanceof z.ZodType
      ? parameterLabel(name, parameterMeta(declaredAs))
      : 'Parameters';
  throw new Problem(
    `${of}: ${issue?.message ?? 'not acceptable'}. Nothing was changed. See \`nanoclaw ${command.path.join(' ')} --help\`.`,
    2,
  );
}

/** A result as data and nothing else, as it also arrives over the control socket. */
function toJson(value: unknown): Json {
  return value === undefined ? null : JSON.parse(JSON.stringify(value));
}

// ── Parameters ──────────────────────────────────────────────────────────────────────────────────────────────────────

const Meta = z.object({
  help: z.string().min(1),
  place: z.enum(['argument', 'option', 'flag']),
  /** What stands for its value in the help. */
  value: z.string(),
  /** All values there are, for help and completion. */
  choices: z.array(z.string()),
  isRepeatable: z.boolean(),
  /** Refused to every agent, whatever its scope. */
  isOperatorsOnly: z.boolean(),
});

/** How a parameter is written and explained. */
export type ParameterMeta = z.output<typeof Meta>;

interface ParameterOptions {
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly isRepeatable?: boolean;
  readonly isOperatorsOnly?: boolean;
}

/** Declares a positional parameter: `groups get GROUP`. Optional where the schema is. */
export function argument<Schema extends z.ZodType>(schema: Schema, help: string, options: ParameterOptions = {}) {
  return described(schema, 'argument', help, options);
}

/** Declares a named parameter: `--name NAME`. Optional where the schema is; one that may be repeated gives an array. */
export function option<Schema extends z.ZodType>(schema: Schema, help: string, options: ParameterOptions = {}) {
  return described(schema, 'option', help, options);
}

/** Declares a named parameter without a value: `--all`. */
export function flag(help: string, options: ParameterOptions = {}) {
  return described(z.boolean().default(false), 'flag', help, options);
}

function described<Schema extends z.ZodType>(
  schema: Schema,
  place: ParameterMeta['place'],
  help: string,
  options: ParameterOptions,
): Schema {
  const meta: ParameterMeta = {
    help,
    place,
    value: options.value ?? '',
    choices: [...(options.choices ?? [])],
    isRepeatable: options.isRepeatable ?? false,
    isOperatorsOnly: options.isOperatorsOnly ?? false,
  };
  return schema.meta({ nanoclaw: meta });
}

/** How a parameter of a command is written. Throws when it was declared without. */
function parameterMeta(schema: z.ZodType): ParameterMeta {
  return Meta.parse(schema.meta()?.['nanoclaw']);
}

/** The parameters of a command with how they are written, in the order of their declaration. */
export function parametersOf(command: Pick<CommandDeclaration, 'parameters'>): readonly ParameterDescription[] {
  const missing = command.parameters.safeParse({}).error?.issues ?? [];
  const required = new Set(missing.map(({ path }) => path[0]));
  return Object.entries(command.parameters.shape).map(([name, schema]) => {
    if (!(schema instanceof z.ZodType)) throw new TypeError(`The parameter ${name} is no schema.`);
    return { name, isOptional: !required.has(name), ...parameterMeta(schema) };
  });
}

/** A parameter of a command, as help and completion show it. */
export interface ParameterDescription extends ParameterMeta {
  /** Its key in the schema, such as `messagesPerPrompt`. */
  readonly name: string;
  /** Whether the command runs without it. */
  readonly isOptional: boolean;
}

/** The name of a parameter as it is typed: `--messages-per-prompt`, or `GROUP` for an argument. */
export function parameterLabel(name: string, { place }: Pick<ParameterMeta, 'place'>): string {
  return place === 'argument' ? name.toUpperCase() : `--${kebabCase(name)}`;
}

/** `messagesPerPrompt` as `messages-per-prompt`. */
export function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
