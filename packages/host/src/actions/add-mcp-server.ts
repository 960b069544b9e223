/** `add_mcp_server`: an MCP server for the agent. Always needs an approval. */
import type { McpServer } from '@nanoclaw/registry';
import type { JsonObject } from '@nanoclaw/session-db';
import { isName } from '@nanoclaw/session-db/text';
import { type Action, type ApprovedAction, failed } from './action.ts';
import { askApproval, quoted, reasonOf } from './approval.ts';

/** A program by its name or its path, without anything that a shell would read. */
const COMMAND = /^[A-Za-z0-9@/][A-Za-z0-9@/._+-]{0,199}$/;

/** What an admin would not see as it is: control characters, and those that turn or break a line. */
const UNSHOWN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

const ARGS_MAX = 50;
const ARG_LENGTH_MAX = 500;
const SERVERS_MAX = 20;
const TOO_MANY = `An agent has at most ${SERVERS_MAX} servers; nothing was changed.`;

/** Asks whether the server may be added. */
export const addMcpServer: Action = async (request, ports) => {
  const { content } = request.row;
  const server = serverOf(content);
  if (server === undefined) {
    return failed('name must be a short name, command a program, and args a list of plain texts; nothing was changed.');
  }
  const agent = await ports.registry.agentGroup(request.session.agentGroupId);
  if (agent === undefined) return failed('This agent is no longer registered; nothing was changed.');
  if (agent.mcpServers.some(({ name }) => name === server.name)) {
    return failed(`There is a server named ${server.name} already; nothing was changed. Choose another name.`);
  }
  if (agent.mcpServers.length >= SERVERS_MAX) return failed(TOO_MANY);
  const line = [server.command, ...server.args].map((word) => quoted(word, ARG_LENGTH_MAX)).join(' ');
  const what = `${quoted(agent.name, 60)} asks to add the MCP server ${server.name}, which runs ${line}. Its reason:`;
  const { name, command, args } = server;
  return askApproval(
    request,
    { what, why: reasonOf(content) },
    { action: 'add_mcp_server', name, command, args },
    ports,
  );
};

/** Adds it and restarts the agent. */
export const addApprovedMcpServer: ApprovedAction = async ({ session, payload }, { registry, replaceOutdatedRuns }) => {
  const server = serverOf(payload);
  const agent = await registry.agentGroup(session.agentGroupId);
  if (server === undefined || agent === undefined) {
    return failed('The request or its agent no longer exists; nothing was changed.');
  }
  const known = agent.mcpServers.find(({ name }) => name === server.name);
  if (known !== undefined && JSON.stringify(known) !== JSON.stringify(server)) {
    return failed(`Another server named ${server.name} was added meanwhile; nothing was changed.`);
  }
  if (known === undefined) {
    if (agent.mcpServers.length >= SERVERS_MAX) return failed(TOO_MANY);
    await registry.updateAgentGroup(agent.id, { mcpServers: [...agent.mcpServers, server] });
  }
  await replaceOutdatedRuns();
  return { status: 'ok', result: { text: `The tools of ${server.name} are available from now on.` } };
};

function serverOf({ name, command, args = [] }: JsonObject): McpServer | undefined {
  if (typeof name !== 'string' || !isName('MCP server', name)) return undefined;
  if (typeof command !== 'string' || !COMMAND.test(command)) return undefined;
  if (!Array.isArray(args) || args.length > ARGS_MAX) return undefined;
  const texts = args.filter((arg) => typeof arg === 'string' && arg.length <= ARG_LENGTH_MAX && !UNSHOWN.test(arg));
  return texts.length === args.length ? { name, command, args: texts } : undefined;
}
