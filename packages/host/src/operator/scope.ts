/**
 * The operator commands from inside a container: an agent's `cli_request`. The scope is the agent group's, as the operator
 * has set it; what is the agent's own is decided from the registry. No scope lets an agent widen a scope, its own or
 * another's, give people roles, or decide what people were asked.
 */
import { type AgentGroupId, agentActor, type CommandScope } from '@nanoclaw/registry';
import type { Json } from '@nanoclaw/session-db';
import { Problem } from '../errors/index.ts';
import { parseCommandLine } from './arguments.ts';
import { type OperatorCommand, parametersOf } from './command.ts';
import type { Reading } from './contexts.ts';
import { asProblem, type Operators, type Prepared, prepare, run } from './run.ts';
import { OPERATOR_COMMANDS, TOPICS } from './table.ts';

/** What came of it, for the agent. */
export type CommandAnswer =
  | { readonly type: 'done'; readonly result: Json }
  /** One sentence. Nothing was changed. */
  | { readonly type: 'refused'; readonly reason: string };

/**
 * Runs the words of a command, without `nanoclaw` in front, for an agent. Rejects only for what nobody thought of. All but
 * looking is in the audit log, in the agent's name.
 */
export async function runOperatorCommand(
  words: readonly string[],
  scope: CommandScope,
  agentGroupId: AgentGroupId,
  operators: Operators,
): Promise<CommandAnswer> {
  try {
    if (scope === 'none') throw refusal('This agent may use no commands');
    const request = parseCommandLine(words, OPERATOR_COMMANDS, TOPICS);
    if (request.type === 'version') return { type: 'done', result: operators.reading.version };
    if (request.type === 'help') return { type: 'done', result: request.text };
    if (request.data !== undefined) throw refusal('--data is not for agents');
    const { command, raw } = request;
    refuseBeyond(scope, command, Object.keys(raw));
    const prepared = await confined(prepare(command, raw), scope, agentGroupId, operators.reading);
    const changing = { ...operators.changing, actor: agentActor(agentGroupId) };
    return { type: 'done', result: await run(prepared, { ...operators, changing }, raw) };
  } catch (error) {
    const problem = asProblem(error);
    if (problem instanceof Problem) return { type: 'refused', reason: problem.message };
    throw error;
  }
}

/** What the declaration alone forbids. */
function refuseBeyond(scope: Exclude<CommandScope, 'none'>, command: OperatorCommand, given: readonly string[]): void {
  const name = `\`${command.path.join(' ')}\``;
  if (command.agents === 'never') throw refusal(`${name} is not for agents`);
  const forbidden = parametersOf(command).find((each) => each.isOperatorsOnly && given.includes(each.name));
  if (forbidden) throw refusal(`Only an operator may set ${forbidden.name}`);
  if (scope === 'all') return;
  if (command.agents === 'all') throw refusal(`${name} is not within this agent's scope`);
  if (scope === 'read' && command.kind !== 'reads') throw refusal('This agent may only look');
}

/** With a scope narrower than `all`, limited to what is the agent's own. */
async function confined(
  prepared: Prepared,
  scope: Exclude<CommandScope, 'none'>,
  own: AgentGroupId,
  operator: Reading,
): Promise<Prepared> {
  if (scope === 'all') return prepared;
  switch (prepared.kind) {
    case 'reads':
      return { ...prepared, invocation: (await prepared.invocation.within(own, operator)) ?? refuseForeign() };
    case 'changes':
      return { ...prepared, invocation: (await prepared.invocation.within(own, operator)) ?? refuseForeign() };
    case 'live':
      return { ...prepared, invocation: (await prepared.invocation.within(own, operator)) ?? refuseForeign() };
  }
}

function refuseForeign(): never {
  throw refusal("It is not this agent's own");
}

function refusal(what: string): Problem {
  return new Problem(`${what}; nothing was changed. Ask an operator.`, 8);
}
