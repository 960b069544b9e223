/** `create_agent`: another agent, to which the requesting one can write. On an admin's message at once, else with an approval. */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentGroup, AgentGroupId, Registry } from '@nanoclaw/registry';
import { type JsonObject, replaceFile } from '@nanoclaw/session-db';
import { beginning, nameProblem } from '@nanoclaw/session-db/text';
import { type ActionResult, actingAdmin, destinationsOf, freeName, type SessionHandle } from '../session/index.ts';
import { type Action, type ApprovedAction, type EffectContext, failed } from './action.ts';
import { askApproval, quoted } from './approval.ts';

const INSTRUCTIONS_LENGTH_MAX = 20_000;

/** How many agents one may have to write to: what it creates is among them. */
const AGENTS_MAX = 20;

/** Where an agent keeps what it knows; put into its prompt at every start. */
const NOTES_FILE = 'CLAUDE.md';

/** Creates the agent, or asks whether it may be created. */
export const createAgent: Action = async (request, ports) => {
  const { session, row } = request;
  const agent = newAgentOf(row.content, session, row.id);
  if (typeof agent === 'string') return failed(agent);
  const { registry, now } = ports;
  const parent = await registry.agentGroup(session.agentGroupId);
  if (parent === undefined) return failed('This agent is no longer registered; nothing was changed.');
  // A host that died half way goes on: whether it may be done was decided then.
  if ((await registry.agentGroupByFolder(agent.folder)) !== undefined)
    return createWithDestinations(session, parent, agent, ports);
  const agents = (await registry.destinations.list(parent.id)).filter(({ target }) => target.type === 'agent');
  if (agents.length >= AGENTS_MAX) {
    return failed(`An agent has at most ${AGENTS_MAX} agents to write to; nothing was changed.`);
  }
  const admin = await actingAdmin(session.files, row, parent.id, registry, now());
  if (admin === undefined) {
    const { length } = agent.instructions;
    const begin = length === 0 ? '' : ` Its instructions, of ${length} characters, begin:`;
    const what = `${quoted(parent.name, 60)} asks to create an agent named ${quoted(agent.name)}.${begin}`;
    return askApproval(request, { what, why: agent.instructions }, { action: 'create_agent', ...agent }, ports);
  }
  const result = await createWithDestinations(session, parent, agent, ports);
  await registry.audit.add({
    at: now(),
    actor: admin,
    action: 'create_agent',
    target: agent.folder,
    outcome: 'done',
    detail: { name: agent.name, by: parent.id, session: session.id, causedBy: row.inReplyTo },
  });
  return result;
};

/** Creates it, once it was approved. */
export const createApprovedAgent: ApprovedAction = async ({ session, payload }, ports) => {
  const { rowId } = payload;
  const agent = typeof rowId === 'string' ? newAgentOf(payload, session, rowId) : '';
  const parent = await ports.registry.agentGroup(session.agentGroupId);
  if (typeof agent === 'string' || parent === undefined) {
    return failed('The request or its agent no longer exists; nothing was changed.');
  }
  return createWithDestinations(session, parent, agent, ports);
};

/** What is to be created, checked. */
interface NewAgent extends JsonObject {
  readonly name: string;
  readonly instructions: string;
  /** Of its own, and the same each time the row is looked at. */
  readonly folder: string;
}

/** What is to be created, or why it cannot be. */
function newAgentOf({ name, instructions = '' }: JsonObject, session: SessionHandle, rowId: string): NewAgent | string {
  if (typeof name !== 'string' || typeof instructions !== 'string') {
    return 'name must be a text, and instructions too; nothing was changed.';
  }
  const problem = nameProblem('agent', name);
  if (problem !== undefined) return `name must be a text of another kind: ${problem} Nothing was changed.`;
  if (instructions.length > INSTRUCTIONS_LENGTH_MAX) {
    return `instructions must have at most ${INSTRUCTIONS_LENGTH_MAX} characters; nothing was changed.`;
  }
  const digest = createHash('sha256')
    .update(JSON.stringify([session.id, rowId]))
    .digest('hex');
  return { name, instructions, folder: `${slug(name)}-${digest.slice(0, 12)}` };
}

/** A name as a part of a folder's name: its small letters and digits. */
function slug(name: string): string {
  const letters = name
    .normalize('NFKD')
    .replaceAll(/\p{M}+/gu, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
  return letters === '' ? 'agent' : beginning(letters, 40);
}

/** Creates the agent with its instructions, and each a destination of the other. Each step is done once. */
async function createWithDestinations(
  session: SessionHandle,
  parent: AgentGroup,
  agent: NewAgent,
  ports: EffectContext,
): Promise<ActionResult> {
  const { registry, now } = ports;
  const child = (await registry.agentGroupByFolder(agent.folder)) ?? (await registerAgent(parent, agent, ports));
  const name = await destinationTo(parent.id, child, slug(child.name), registry);
  await destinationTo(child.id, parent, slug(parent.name), registry);
  const destinations = await destinationsOf(session, registry);
  await session.write((files) => files.setRouting({ destinations, replyTo: files.routing().replyTo }, now()));
  const isReached = destinations.some((one) => one.name === name);
  const how = isReached ? `write to it as ${name}.` : 'this session may write only to its own chat, and not to it.';
  return { status: 'ok', result: { text: `${child.name} was created; ${how}`, destination: name } };
}

/**
 * Its instructions are on disk before there is an agent, so nothing but the host has ever been in that folder. It gets the
 * model and the network of the agent that asked, and nothing else of it: no packages, servers, mounts or commands.
 */
async function registerAgent(
  parent: AgentGroup,
  agent: NewAgent,
  { registry, data }: EffectContext,
): Promise<AgentGroup> {
  const folder = data.agent(agent.folder);
  mkdirSync(folder, { recursive: true });
  if (agent.instructions !== '') {
    replaceFile(join(folder, NOTES_FILE), `${agent.instructions}\n`, 0o644);
  }
  const { provider, model, effort, messagesPerPrompt, network } = parent;
  return registry.createAgentGroup({
    folder: agent.folder,
    name: agent.name,
    provider,
    model,
    effort,
    assistantName: null,
    messagesPerPrompt,
    network,
    commandScope: 'none',
  });
}

/** The name under which one agent knows another; made where it knows none, numbered where it is taken. */
async function destinationTo(from: AgentGroupId, to: AgentGroup, wanted: string, registry: Registry): Promise<string> {
  const known = await registry.destinations.list(from);
  const same = known.find(({ target }) => target.type === 'agent' && target.agentGroupId === to.id);
  if (same !== undefined) return same.name;
  const name = freeName(wanted, new Set(known.map((one) => one.name)));
  await registry.destinations.create({ agentGroupId: from, name, target: { type: 'agent', agentGroupId: to.id } });
  return name;
}
