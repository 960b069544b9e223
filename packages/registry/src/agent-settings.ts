/**
 * The settings of an agent group that are lists, and so JSON in their columns: what they may hold, what is meant when
 * they are left out, and the way in and out of the row.
 */
import { nameProblem } from '@nanoclaw/session-db/text';
import { z } from 'zod';
import type { AgentGroupSettings } from './entities.ts';
import { RegistryError } from './errors.ts';
import type { AgentGroupRow } from './tables.ts';

/** What may be left out when an agent group is created. */
export type OptionalSettings = Pick<
  AgentGroupSettings,
  'skills' | 'mcpServers' | 'packages' | 'mounts' | 'image' | 'network' | 'commandScope'
>;

/** Nothing but the skills that all have. */
export const DEFAULT_SETTINGS = {
  skills: 'all',
  mcpServers: [],
  packages: { apt: [], npm: [] },
  mounts: [],
  image: null,
  network: null,
  commandScope: 'none',
} as const satisfies OptionalSettings;

type ListSettings = Pick<AgentGroupSettings, 'skills' | 'mcpServers' | 'packages' | 'mounts'>;
type ListColumns = Pick<AgentGroupRow, 'skills' | 'mcp_servers' | 'packages' | 'mounts'>;

/** What the columns are set to. Throws `invalid`. */
export function listColumns(settings: ListSettings): ListColumns {
  return {
    skills: json('skills', settings.skills),
    mcp_servers: json('mcpServers', settings.mcpServers),
    packages: json('packages', settings.packages),
    mounts: json('mounts', settings.mounts),
  };
}

/** What the columns are changed to; what is not among the changes is left out. Throws `invalid`. */
export function changedListColumns(changes: Partial<ListSettings>): Partial<ListColumns> {
  return {
    ...(changes.skills !== undefined && { skills: json('skills', changes.skills) }),
    ...(changes.mcpServers !== undefined && { mcp_servers: json('mcpServers', changes.mcpServers) }),
    ...(changes.packages !== undefined && { packages: json('packages', changes.packages) }),
    ...(changes.mounts !== undefined && { mounts: json('mounts', changes.mounts) }),
  };
}

/** What the columns say. */
export function listSettings(row: ListColumns): ListSettings {
  return {
    skills: LISTS.skills.parse(JSON.parse(row.skills)),
    mcpServers: LISTS.mcpServers.parse(JSON.parse(row.mcp_servers)),
    packages: LISTS.packages.parse(JSON.parse(row.packages)),
    mounts: LISTS.mounts.parse(JSON.parse(row.mounts)),
  };
}

/** Their names are looked at when they are written: what was written under older rules can be read and put right. */
const LISTS = Object.freeze({
  skills: z.union([z.literal('all'), distinct(z.string(), 100, (name) => name)]),
  mcpServers: distinct(
    z.strictObject({
      name: z.string(),
      command: z.string().min(1).max(500),
      args: z.array(z.string().max(1_000)).max(50),
    }),
    50,
    (server) => server.name,
  ),
  packages: z.strictObject({
    apt: distinct(z.string(), 50, (name) => name),
    npm: distinct(z.string(), 50, (name) => name),
  }),
  mounts: distinct(
    z.strictObject({
      source: z.string().startsWith('/').max(1_000),
      name: z.string(),
      isWritable: z.boolean(),
    }),
    50,
    (mount) => mount.name,
  ),
} satisfies { readonly [Setting in keyof ListSettings]: z.ZodType<ListSettings[Setting]> });

const SENTENCES: Readonly<Record<keyof ListSettings, string>> = {
  skills: 'The skills are "all", or at most 100 different names.',
  mcpServers:
    'There are at most 50 MCP servers, each with a name of its own, a command of ' +
    '1–500 characters and at most 50 arguments.',
  packages: 'There are at most 50 different packages each of Debian and of npm, by their names.',
  mounts: 'There are at most 50 mounts, each of an absolute path, under a name of its own.',
};

function json<Setting extends keyof ListSettings>(setting: Setting, value: ListSettings[Setting]): string {
  const parsed = LISTS[setting].safeParse(value);
  const problem = parsed.success ? namesProblem({ [setting]: value }) : SENTENCES[setting];
  if (problem === undefined) return JSON.stringify(parsed.data);
  throw new RegistryError('invalid', `${problem} Nothing was changed in the agent group.`);
}

function namesProblem({
  skills = 'all',
  mcpServers = [],
  packages,
  mounts = [],
}: Partial<ListSettings>): string | undefined {
  const problems = [
    ...(skills === 'all' ? [] : skills.map((name) => nameProblem('skill', name))),
    ...mcpServers.map(({ name }) => nameProblem('MCP server', name)),
    ...(packages?.apt ?? []).map((name) => nameProblem('Debian package', name)),
    ...(packages?.npm ?? []).map((name) => nameProblem('npm release', name)),
    ...mounts.map(({ name }) => nameProblem('mount', name)),
  ];
  return problems.find((problem) => problem !== undefined);
}

function distinct<Item extends z.ZodType>(item: Item, max: number, key: (value: z.infer<Item>) => string) {
  return z
    .array(item)
    .max(max)
    .refine((items) => new Set(items.map(key)).size === items.length);
}
