/** `nanoclaw groups`: the agents. */
import type { AgentGroupId } from '@nanoclaw/registry';
import { z } from 'zod';
import { isSessionTrouble, Problem } from '../errors/index.ts';
import { BUILT_IN_PROVIDERS, DEFAULT_PROVIDER } from '../runs/index.ts';
import { argument, changes, liveOnly, type OperatorCommand, option, reads } from './command.ts';
import { ownGroup, ownGroupOnly } from './confine.ts';
import type { LiveHost, WriteContext } from './contexts.ts';
import { agentGroupNamed, notFound } from './lookup.ts';
import { groupArgument, groupOption, jsonOf, Text, TextOrNone, whole } from './parameters.ts';
import { column } from './view.ts';

const McpServers = jsonOf(
  z.array(z.strictObject({ name: z.string(), command: z.string(), args: z.array(z.string()).default([]) })),
);
const Mounts = jsonOf(
  z.array(z.strictObject({ source: z.string(), name: z.string(), isWritable: z.boolean().default(false) })),
);
const Names = z.string().transform((text) => text.split(/[\s,]+/).filter(Boolean));
const SCOPES = ['none', 'read', 'own', 'all'] as const;

/** What of an agent group may be given; all of it optional, so that creating and updating share it. */
const settings = {
  provider: option(
    Text.exactOptional(),
    `what answers: ${BUILT_IN_PROVIDERS.map((name) => `\`${name}\``).join(', ')}, one of "providers" in config.json, or \`${DEFAULT_PROVIDER}\` for the provider of the configuration; \`nanoclaw status\` lists all`,
  ),
  model: option(TextOrNone.exactOptional(), "the model; empty: the provider's own choice"),
  effort: option(TextOrNone.exactOptional(), "the reasoning effort; empty: the provider's own choice"),
  assistantName: option(TextOrNone.exactOptional(), 'what the agent calls itself; empty: its name', { value: 'name' }),
  messagesPerPrompt: option(whole(1, 1_000).exactOptional(), 'how many messages one prompt may take, 1 to 1000', {
    value: 'n',
  }),
  skills: option(
    z.union([z.literal('all'), Names]).exactOptional(),
    '`all`, or the names of its skills, separated by commas',
    { value: 'names' },
  ),
  mcpServers: option(McpServers.exactOptional(), 'its MCP servers: JSON, [{"name", "command", "args": []}, …]', {
    value: 'json',
    isOperatorsOnly: true,
  }),
  apt: option(Names.exactOptional(), 'Debian packages in its image, separated by commas; see `groups rebuild`', {
    value: 'names',
    isOperatorsOnly: true,
  }),
  npm: option(Names.exactOptional(), 'npm packages in its image, separated by commas; see `groups rebuild`', {
    value: 'names',
    isOperatorsOnly: true,
  }),
  mounts: option(
    Mounts.exactOptional(),
    'folders of this machine that it requests: JSON, [{"source", "name", "isWritable"}, …]; the allowlist decides',
    { value: 'json', isOperatorsOnly: true },
  ),
  network: option(TextOrNone.exactOptional(), 'the network of its runs; empty: what the configuration says', {
    isOperatorsOnly: true,
  }),
  commandScope: option(
    z.enum(SCOPES).exactOptional(),
    'which of these commands it may use from inside: none, read its own, also change its own, or all',
    { value: 'scope', choices: SCOPES, isOperatorsOnly: true },
  ),
} as const;

/** The commands about agent groups. */
export const groupCommands: readonly OperatorCommand[] = [
  reads({
    path: ['groups', 'list'],
    summary: 'list the agents',
    parameters: z.object({ group: groupOption }),
    agents: ownGroupOnly(),
    view: {
      type: 'table',
      columns: [
        column('ID', 'id', 'id'),
        column('FOLDER', 'folder'),
        column('NAME', 'name'),
        column('PROVIDER', 'provider'),
        column('MODEL', 'model'),
        column('COMMANDS', 'commandScope'),
      ],
      empty: 'There are no agents yet. The first start of the host creates one.',
    },
    run: async ({ registry }, { group }) =>
      group === undefined ? registry.agentGroups() : [await agentGroupNamed(registry, group)],
  }),
  reads({
    path: ['groups', 'get'],
    summary: 'show one agent',
    parameters: z.object({ group: groupArgument }),
    agents: ownGroup(),
    view: { type: 'record' },
    run: ({ registry }, { group }) => agentGroupNamed(registry, group),
  }),
  changes({
    path: ['groups', 'create'],
    summary: 'create an agent',
    parameters: z.object({
      folder: argument(Text, 'its folder: unique, fixed for life; a–z, 0–9, "_" or "-"'),
      name: option(Text.exactOptional(), 'its display name; the folder when left out'),
      ...settings,
    }),
    agents: 'all',
    view: { type: 'record' },
    run: ({ registry, live }, { apt, npm, ...given }) => {
      requireProvider(live, given.provider);
      return registry.createAgentGroup({
        name: given.folder,
        provider: DEFAULT_PROVIDER,
        model: null,
        effort: null,
        assistantName: null,
        messagesPerPrompt: 10,
        packages: { apt: apt ?? [], npm: npm ?? [] },
        ...given,
      });
    },
  }),
  changes({
    path: ['groups', 'update'],
    summary: 'change an agent; what is left out stays as it is',
    parameters: z.object({
      group: groupArgument,
      name: option(Text.exactOptional(), 'its display name'),
      ...settings,
    }),
    agents: ownGroup(),
    view: { type: 'record' },
    run: async (context, { group, apt, npm, ...given }) => {
      const { registry, live } = context;
      requireProvider(live, given.provider);
      const { id, packages } = await agentGroupNamed(registry, group);
      const after = await registry.updateAgentGroup(id, {
        ...given,
        ...((apt ?? npm) && { packages: { apt: apt ?? packages.apt, npm: npm ?? packages.npm } }),
      });
      if (after === undefined) throw notFound('agent group', group, 'groups list');
      await askAgain(context, id);
      return after;
    },
  }),
  changes({
    path: ['groups', 'delete'],
    summary: 'delete an agent that has no sessions any more; its folder stays on disk',
    parameters: z.object({ group: groupArgument }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ registry, data }, { group }) => {
      const { id, folder } = await agentGroupNamed(registry, group);
      if (!(await registry.deleteAgentGroup(id))) throw notFound('agent group', group, 'groups list');
      return {
        id,
        message: `The agent ${folder} was deleted, with its wirings. Its files stay in ${data.agent(folder)}.`,
      };
    },
  }),
  liveOnly({
    path: ['groups', 'rebuild'],
    summary: "build the image with an agent's packages and use it from now on",
    parameters: z.object({ group: groupArgument }),
    agents: 'never',
    view: { type: 'message' },
    run: async ({ registry, live, onProgress }, { group }) => {
      const { id, folder } = await agentGroupNamed(registry, group);
      const rebuilt = await live.rebuildImage(id, onProgress);
      if (rebuilt.type === 'failed') throw failedBuild(folder, rebuilt.reason);
      return { id, image: rebuilt.image, message: `The agent ${folder} now runs from ${rebuilt.image}.` };
    },
  }),
];

/** What waits for the model that the agent had need not wait for its time. */
async function askAgain(context: WriteContext, id: AgentGroupId): Promise<void> {
  const own = (await context.registry.sessions()).filter(({ key }) => key.agentGroupId === id);
  for (const session of own) {
    try {
      await context.sessions.withSession(session, ({ files }) => files.deferrals.retryNow(context.now()));
    } catch (error) {
      // One whose file cannot be used keeps none of the others from it.
      if (!isSessionTrouble(error)) throw error;
    }
    context.live?.poke(session.id);
  }
}

/**
 * Throws a `Problem` (exit code 2) for a provider that the running host has not. A host that is down is not asked, and one whose
 * program brings a driver of its own decides by itself who answers.
 */
function requireProvider(live: LiveHost | undefined, provider: string | undefined): void {
  const names = live?.status().providers.map(({ name }) => name) ?? [];
  if (provider === undefined || provider === DEFAULT_PROVIDER || names.length === 0 || names.includes(provider)) return;
  throw new Problem(
    `There is no provider ${JSON.stringify(provider)}; nothing was done. There are ${names.join(', ')}; ` +
      'another one is added under "providers" in config.json.',
    2,
  );
}

function failedBuild(folder: string, reason: string): Problem {
  return new Problem(`The image of ${folder} could not be built (${reason}). It keeps the image that it has.`, 1);
}
