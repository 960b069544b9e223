/**
 * The host's configuration: one table of keys, each with its default, its environment variable and what it means.
 * `--help` prints the table; the file `config.json` in the data folder and the environment are checked against it.
 *
 * The environment wins over the file, and the file over the defaults.
 */
import { join, resolve } from 'node:path';
import { DEFAULT_SETTINGS } from '@nanoclaw/host/data';
import { Problem } from '@nanoclaw/host/errors';
import { MODULE_KEYS, type ModuleReferences, readConfigFile, readModuleReferences } from '@nanoclaw/host/modules';
import type { ConfigValue } from '@nanoclaw/host/operator';
import { BUILT_IN_PROVIDERS } from '@nanoclaw/host/runs';
import { isZone } from '@nanoclaw/session-db/text';
import { z } from 'zod';

const milliseconds = (min: number, max: number) => z.coerce.number().int().min(min).max(max);

const port = z.coerce.number().int().min(0).max(65_535);

const absolutePath = z.string().regex(/^\//, 'no absolute path');

const KEYS = {
  provider: key('NANOCLAW_PROVIDER', z.string(), DEFAULT_SETTINGS.provider, {
    help: 'who answers: offline, claude, or one of `providers`; auto takes claude when ANTHROPIC_API_KEY or ANTHROPIC_BASE_URL is set, else offline',
  }),
  driver: key('NANOCLAW_DRIVER', z.string(), DEFAULT_SETTINGS.driver, {
    help: 'what runs the agents: docker, podman, process, or one of `drivers`; auto takes docker, else podman, else plain processes without isolation',
  }),
  image: key('NANOCLAW_IMAGE', z.string(), DEFAULT_SETTINGS.image, {
    help: "the agents' image; empty: nanoclaw-agent:slim, or nanoclaw-agent:claude where claude answers",
  }),
  network: key(
    'NANOCLAW_NETWORK',
    z.string().regex(/^[A-Za-z0-9][\w.-]*$/, 'no name of a network'),
    DEFAULT_SETTINGS.network,
    {
      help: 'what agents in containers can reach: none, a network of the engine, or auto: none unless claude needs one',
    },
  ),
  mountAllowlist: key('NANOCLAW_MOUNT_ALLOWLIST', absolutePath, '~/.config/nanoclaw/mounts.json', {
    help: 'the list of folders of this machine that agents may be shown; nothing is allowed where it is missing',
  }),
  runMemoryMb: key(
    'NANOCLAW_RUN_MEMORY_MB',
    z.coerce.number().int().min(128).max(1_048_576),
    DEFAULT_SETTINGS.runMemoryMb,
    {
      help: 'memory of an agent in a container, in megabytes',
    },
  ),
  runCpus: key('NANOCLAW_RUN_CPUS', z.coerce.number().min(0.1).max(1_024), DEFAULT_SETTINGS.runCpus, {
    help: 'processors of an agent in a container; 0.5 is half of one',
  }),
  runPids: key('NANOCLAW_RUN_PIDS', z.coerce.number().int().min(64).max(100_000), DEFAULT_SETTINGS.runPids, {
    help: 'processes and threads of an agent in a container',
  }),
  bunPath: key('NANOCLAW_BUN', z.string().min(1), DEFAULT_SETTINGS.bunPath, {
    help: 'the Bun that runs the agents: a name or a path',
  }),
  claudeBinary: key('NANOCLAW_CLAUDE_BINARY', z.string(), DEFAULT_SETTINGS.claudeBinary, {
    help: 'the executable of the Claude Agent SDK',
  }),
  timeZone: key(
    'NANOCLAW_TIME_ZONE',
    z.string().refine((name) => name === '' || isZone(name), 'no such IANA time zone'),
    DEFAULT_SETTINGS.timeZone,
    {
      help: "the agents' time zone (IANA name); empty: this machine's",
    },
  ),
  runsMax: key('NANOCLAW_RUNS_MAX', z.coerce.number().int().min(1).max(1_000), DEFAULT_SETTINGS.runsMax, {
    help: 'how many agents may run at once',
  }),
  placeMaxMs: key('NANOCLAW_PLACE_MAX_MS', milliseconds(60_000, 86_400_000), DEFAULT_SETTINGS.placeMaxMs, {
    help: 'how long an agent may go without ending anything while others wait for its place, in milliseconds',
  }),
  idleExitMs: key('NANOCLAW_IDLE_EXIT_MS', milliseconds(1_000, 86_400_000), DEFAULT_SETTINGS.idleExitMs, {
    help: 'how long an agent with nothing to do stays, in milliseconds',
  }),
  stopGraceMs: key('NANOCLAW_STOP_GRACE_MS', milliseconds(0, 600_000), DEFAULT_SETTINGS.stopGraceMs, {
    help: 'what an agent that is stopped gets to finish, in milliseconds',
  }),
  drainMs: key('NANOCLAW_DRAIN_MS', milliseconds(0, 600_000), DEFAULT_SETTINGS.drainMs, {
    help: 'how long a stopping host waits for what is under way, in milliseconds',
  }),
  answerMs: key('NANOCLAW_ANSWER_MS', milliseconds(1_000, 86_400_000), 300_000, {
    help: 'how long --say waits for the answer, in milliseconds',
  }),
  keepDays: key('NANOCLAW_KEEP_DAYS', z.coerce.number().int().min(1).max(3_650), DEFAULT_SETTINGS.keepDays, {
    help: 'after how many days what has ended is forgotten',
  }),
  webhookPort: key('NANOCLAW_WEBHOOK_PORT', port, 8_787, {
    help: 'where webhooks are taken, on this machine only; nothing listens while there is no endpoint; 0: any free port',
  }),
  healthPort: key('NANOCLAW_HEALTH_PORT', port, DEFAULT_SETTINGS.healthPort, {
    help: 'where /health, /ready and /metrics are served, on this machine only; 0: nowhere',
  }),
  logLevel: key('NANOCLAW_LOG', z.enum(['debug', 'info', 'warn', 'error', 'silent']), 'info', {
    help: 'what goes into the log',
  }),
} as const;

/** The configuration, checked. */
export type Config = { readonly [K in keyof typeof KEYS]: z.output<(typeof KEYS)[K]['schema']> };

/**
 * Reads the configuration of a data folder. Throws a `Problem` (exit code 2) that names the key, where its value came
 * from and what would be right.
 */
export function readConfig(dataFolder: string, env: Readonly<Record<string, string | undefined>>): Config {
  return Object.fromEntries(configValues(dataFolder, env).map((each) => [each.key, each.value])) as Config;
}

/** Every key, in the order of the table. Throws as {@link readConfig} does. */
export function configValues(
  dataFolder: string,
  env: Readonly<Record<string, string | undefined>>,
): readonly ConfigValue[] {
  const file = join(dataFolder, 'config.json');
  const stored = readConfigFile(file);
  const { providers, drivers } = readModuleReferences(dataFolder);
  for (const name of Object.keys(stored)) {
    if (!(name in KEYS) && !MODULE_KEYS.some((each) => each === name)) {
      throw new Problem(
        `${file} has the key "${name}", which does not exist; nothing was done. The keys are: ${[...Object.keys(KEYS), ...MODULE_KEYS].join(', ')}.`,
        2,
      );
    }
  }
  return Object.entries(KEYS).map(([name, { variable, schema, fallback, help }]) => {
    const fromEnv = env[variable];
    const isInEnv = fromEnv !== undefined && fromEnv !== '';
    const source = isInEnv ? 'environment' : name in stored ? 'file' : 'default';
    const value = atHome(isInEnv ? fromEnv : (stored[name] ?? fallback), env);
    const parsed = schema.safeParse(value);
    const where = isInEnv ? variable : `"${name}" in ${file}`;
    const unknown = unknownName(name, value, { providers, drivers });
    if (parsed.success && unknown === undefined) return { key: name, value: parsed.data, source, variable, help };
    const reason = unknown ?? parsed.error?.issues.map((issue) => issue.message).join('; ');
    throw new Problem(`${where} is ${JSON.stringify(value)}: ${reason}. Nothing was done; correct it.`, 2);
  });
}

/** Why a provider or driver is none that there is; `undefined` for one that there is, and for every other key. */
function unknownName(
  name: string,
  value: unknown,
  { providers, drivers }: Pick<ModuleReferences, 'providers' | 'drivers'>,
): string | undefined {
  if (name === 'provider') return unlessIn([...PROVIDERS, ...Object.keys(providers)], value, 'providers');
  return name === 'driver' ? unlessIn([...DRIVERS, ...Object.keys(drivers)], value, 'drivers') : undefined;
}

function unlessIn(known: readonly string[], value: unknown, ownKey: string): string | undefined {
  if (known.some((each) => each === value)) return undefined;
  return `it must be one of ${known.join(', ')}; modules of your own are named under "${ownKey}" in config.json`;
}

const PROVIDERS = ['auto', ...BUILT_IN_PROVIDERS];
const DRIVERS = ['auto', 'docker', 'podman', 'process'] as const;

/** The data folder as an absolute path: the option, else `NANOCLAW_DATA`, else `data` in the current folder. */
export function dataFolderOf(option: string | undefined, env: Readonly<Record<string, string | undefined>>): string {
  return resolve(option ?? (env['NANOCLAW_DATA'] || 'data'));
}

/** The table of keys as text, a line each, for `--help`. */
export function configHelp(): string {
  const rows = Object.entries(KEYS).map(([name, { variable, fallback, help }]) => [
    `${name} / ${variable}`,
    `${help} (${fallback === '' ? 'empty' : fallback})`,
  ]);
  const width = Math.max(...rows.map(([left]) => left?.length ?? 0));
  return rows.map(([left, right]) => `  ${left?.padEnd(width)}  ${right}`).join('\n');
}

/** `~/` at the beginning of a value is the home folder, as in a shell. */
function atHome(value: unknown, env: Readonly<Record<string, string | undefined>>): unknown {
  return typeof value === 'string' && value.startsWith('~/') ? join(env['HOME'] ?? '/', value.slice(2)) : value;
}

function key<Schema extends z.ZodType>(
  variable: string,
  schema: Schema,
  fallback: z.output<Schema> & (string | number),
  { help }: { help: string },
) {
  return { variable, schema, fallback, help };
}
