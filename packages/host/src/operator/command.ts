/**
 * One command of `nanoclaw`, declared once. From the declaration come its parser, its help, its completion, its place in
 * the control socket and what an agent may do with it from inside.
 *
 * A command gets an operator that can do no more than its kind needs: what only reads has nothing to write with.
 */
import type { AgentGroupId } from '@nanoclaw/registry';
import type { Json } from '@nanoclaw/session-db';
import { z } from 'zod';
import { Problem } from '../errors/index.ts';
import type { Changing, Live, Reading } from './contexts.ts';
import type { View } from './view.ts';

/** A command of the table. */
export type OperatorCommand =
  /** Looks and changes nothing, with a running host or without one. */
  | (Declared & { readonly kind: 'reads'; prepare(raw: unknown): Invocation<Reading> })
  /** Changes something; without a running host it holds the lease on the data folder meanwhile. */
  | (Declared & { readonly kind: 'changes'; prepare(raw: unknown): Invocation<Changing> })
  /** Asks something of the running host itself. */
  | (Declared & { readonly kind: 'live'; prepare(raw: unknown): Invocation<Live> });

/** What every command says of itself. */
export interface Declared {
  /** Its words after `nanoclaw`: `groups`, `create`. */
  readonly path: readonly string[];
  /** Another last word for it. */
  readonly alias?: string;
  /** What it does, as one line without a full stop. */
  readonly summary: string;
  readonly parameters: z.ZodObject;
  readonly view: View;
  readonly agents: AgentUse;
}

/**
 * Whether an agent may use it from inside: `never`; only with the scope `all`; or, with the narrower scopes too, for
 * what is its own.
 */
export type AgentUse = 'never' | 'all' | 'own';

/** A command with its parameters, checked. */
export interface Invocation<Operator> {
  /** The same for one agent's own things only; `undefined` when it names something that is not its own. */
  within(own: AgentGroupId, operator: Reading): Promise<Invocation<Operator> | undefined>;
  /** Does it. Gives plain data. Throws a `Problem`, or what the registry refuses. */
  run(operator: Operator): Promise<Json>;
}

/** What is written down of a command: `Parameters` is inferred from its schema. */
interface Declaration<Operator, Shape extends z.ZodRawShape> extends Omit<Declared, 'parameters' | 'agents'> {
  readonly parameters: z.ZodObject<Shape>;
  /** The parameters as far as they concern the agent's own things, or `undefined`. A word where no looking is needed. */
  readonly agents: 'never' | 'all' | Confine<z.output<z.ZodObject<Shape>>>;
  readonly run: (operator: Operator, parameters: z.output<z.ZodObject<Shape>>) => Promise<unknown>;
}

/** Limits parameters to what belongs to one agent; `undefined` when they name something that does not. */
export type Confine<Parameters> = (
  parameters: Parameters,
  own: AgentGroupId,
  operator: Reading,
) => Promise<Parameters | undefined>;

/** A command that only looks. */
export function reads<Shape extends z.ZodRawShape>(declaration: Declaration<Reading, Shape>): OperatorCommand {
  return { ...declared(declaration), kind: 'reads', prepare: (raw) => prepared(declaration, raw) };
}

/** A command that changes something. */
export function changes<Shape extends z.ZodRawShape>(declaration: Declaration<Changing, Shape>): OperatorCommand {
  return { ...declared(declaration), kind: 'changes', prepare: (raw) => prepared(declaration, raw) };
}

/** A command that only a running host can do. */
export function asks<Shape extends z.ZodRawShape>(declaration: Declaration<Live, Shape>): OperatorCommand {
  return { ...declared(declaration), kind: 'live', prepare: (raw) => prepared(declaration, raw) };
}

function declared<Operator, Shape extends z.ZodRawShape>(declaration: Declaration<Operator, Shape>): Declared {
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

function prepared<Operator, Shape extends z.ZodRawShape>(
  declaration: Declaration<Operator, Shape>,
  raw: unknown,
): Invocation<Operator> {
  return invocation(declaration, checkedParameters(declaration, raw));
}

function invocation<Operator, Shape extends z.ZodRawShape>(
  declaration: Declaration<Operator, Shape>,
  parameters: z.output<z.ZodObject<Shape>>,
): Invocation<Operator> {
  const { agents } = declaration;
  return {
    within: async (own, operator) => {
      const confined = typeof agents === 'function' ? await agents(parameters, own, operator) : undefined;
      return confined && invocation(declaration, confined);
    },
    run: async (operator) => plain(await declaration.run(operator, parameters)),
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
    typeof name === 'string' && declaredAs instanceof z.ZodType ? label(name, parameterMeta(declaredAs)) : 'Parameters';
  throw new Problem(
    `${of}: ${issue?.message ?? 'not acceptable'}. Nothing was changed. See \`nanoclaw ${command.path.join(' ')} --help\`.`,
    2,
  );
}

/** A result as data and nothing else, as it also arrives over the control socket. */
function plain(value: unknown): Json {
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

/** A word in its place: `groups get GROUP`. Optional where the schema is. */
export function argument<Schema extends z.ZodType>(schema: Schema, help: string, options: ParameterOptions = {}) {
  return described(schema, 'argument', help, options);
}

/** A named value: `--name NAME`. Optional where the schema is; one that may be repeated gives an array. */
export function option<Schema extends z.ZodType>(schema: Schema, help: string, options: ParameterOptions = {}) {
  return described(schema, 'option', help, options);
}

/** A name without a value: `--all`. */
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
export function parametersOf(command: Pick<Declared, 'parameters'>): readonly ParameterDeclared[] {
  const missing = command.parameters.safeParse({}).error?.issues ?? [];
  const required = new Set(missing.map(({ path }) => path[0]));
  return Object.entries(command.parameters.shape).map(([name, schema]) => {
    if (!(schema instanceof z.ZodType)) throw new TypeError(`The parameter ${name} is no schema.`);
    return { name, isOptional: !required.has(name), ...parameterMeta(schema) };
  });
}

/** A parameter of a command. */
export interface ParameterDeclared extends ParameterMeta {
  readonly name: string;
  readonly isOptional: boolean;
}

/** The name of a parameter as it is typed: `--messages-per-prompt`, or `GROUP` for an argument. */
export function label(name: string, { place }: Pick<ParameterMeta, 'place'>): string {
  return place === 'argument' ? name.toUpperCase() : `--${kebab(name)}`;
}

/** `messagesPerPrompt` as `messages-per-prompt`. */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
