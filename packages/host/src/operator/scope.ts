/**
 * The operator commands from inside a container: an agent's `cli_request`. The scope is the agent group's, as the operator
 * has set it; what belongs to the agent is decided from the registry. No scope lets an agent widen a scope, its own or
 * another's, give people roles, or decide what people were asked.
 */
import { type AgentGroupId, agentActor, type CommandScope } from '@nanoclaw/registry';
import type { Json } from '@nanoclaw/session-db';
import { Problem } from '../errors/index.ts';
import { parseCommandLine } from './arguments.ts';
import { type OperatorCommand, parametersOf } from './command.ts';
import type { ReadContext } from './contexts.ts';
import { asProblem, type CommandContexts, type PreparedCommand, prepare, runPrepared } from './run.ts';
import { OPERATOR_COMMANDS, TOPICS } from './table.ts';

/** The result of a command, for the agent. */
export type AgentCommandResult =
  | { readonly type: 'done'; readonly result: Json }
  /** One sentence. Nothing was changed. */
  | { readonly type: 'refused'; readonly reason: string };

/**
 * Runs a command, given by its words without `nanoclaw` in front, for an agent. Rejects only for unexpected errors. All but
 * reading is in the audit log, in the agent's name.
 */
export async function runAgentCommand(
  words: readonly string[],
  scope: CommandScope,
  agentGroupId: AgentGroupId,
  contexts: CommandContexts,
): Promise<AgentCommandResult> {
  try {
    if (scope === 'none') throw refusal('This agent may use no commands');
    const request = parseCommandLine(words, OPERATOR_COMMANDS, TOPICS);
    if (request.type === 'version') return { type: 'done', result: contexts.read.version };
    if (request.type === 'help') return { type: 'done', result: request.text };
    if (request.data !== undefined) throw refusal('--data is not for agents');
    const { command, raw } = request;
    refuseOutOfScope(scope, command, Object.keys(raw));
    const prepared = await confined(prepare(command, raw), scope, agentGroupId, contexts.read);
    const write = { ...contexts.write, actor: agentActor(agentGroupId) };
    return { type: 'done', result: await runPrepared(prepared, { ...contexts, write }, raw) };
  } catch (error) {
    const problem = asProblem(error);
    if (problem instanceof Problem) return { type: 'refused', reason: problem.message };
    throw error;
  }
}

/** What the declaration alone forbids. */
function refuseOutOfScope(
  scope: Exclude<CommandScope, 'none'>,
  command: OperatorCommand,
  given: readonly string[],
): void {
  const name = `\`${command.path.join(' ')}\``;
  if (command.agents === 'never') throw refusal(`${name} is not for agents`);
  const forbidden = parametersOf(command).find((each) => each.isOperatorsOnly && given.includes(each.name));
  if (forbidden) throw refusal(`Only the operator may set ${forbidden.name}`);
  if (scope === 'all') return;
  if (command.agents === 'all') throw refusal(`${name} is not within this agent's scope`);
  if (scope === 'read' && command.kind !== 'reads') throw refusal('This agent may only read');
}

/** With a scope narrower than `all`, limited to what is the agent's own. */
async function confined(
  prepared: PreparedCommand,
  scope: Exclude<CommandScope, 'none'>,
  own: AgentGroupId,
  context: ReadContext,
): Promise<PreparedCommand> {
  if (scope === 'all') return prepared;
  switch (prepared.kind) {
    case 'reads':
      return { ...prepared, invocation: (await prepared.invocation.confinedTo(own, context)) ?? refuseForeign() };
    case 'changes':
      return { ...prepared, invocation: (await prepared.invocation.confinedTo(own, context)) ?? refuseForeign() };
    case 'live':
      return { ...prepared, invocation: (await prepared.invocation.confinedTo(own, context)) ?? refuseForeign() };
  }
}

function refuseForeign(): never {
  throw refusal('It does not belong to this agent');
}

function refusal(what: string): Problem {
  return new Problem(`${what}; nothing was changed. Ask the operator.`, 8);
}
