/**
 * What of `config.json` names modules: channels, providers and drivers of other people, by the names that the operator gives
 * them. The program that reads the rest of the file leaves these three keys to this one.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type JsonObject, replaceFile } from '@nanoclaw/session-db';
import { isName } from '@nanoclaw/session-db/text';
import { z } from 'zod';
import { messageOf, Problem, parseJson, systemCode } from '../errors/index.ts';

/** The keys of `config.json` that are read here. */
export const MODULE_KEYS = ['channels', 'providers', 'drivers'] as const;

/** The name of a channel, provider or driver: 1 to 64 small letters, digits and dashes, beginning with a letter. */
export const InstanceName = z
  .string()
  .refine(
    (name) => isName('provider', name),
    'a name has 1 to 64 small letters, digits or "-", and begins with a letter',
  );

/** The name of a channel of the configuration. `agent` is taken: in addresses it stands for another agent. */
export const ChannelName = InstanceName.refine((name) => name !== 'agent', 'in addresses "agent" is another agent');

/** The names of the channels that may come with the program. */
export const BUILT_IN_CHANNELS: readonly string[] = ['terminal', 'webhook'];

const Reference = z.strictObject({
  module: z.string().min(1),
  options: z.record(z.string(), z.json()).default({}),
});

const ChannelReference = Reference.extend({ newChats: z.enum(['ask', 'answer']).default('ask') });

const Modules = z.object({
  channels: z.record(ChannelName, ChannelReference).default({}),
  providers: z.record(InstanceName, Reference).default({}),
  drivers: z.record(InstanceName, Reference).default({}),
});

/** A module with its options, as the configuration has them; the module's own schema has not seen them yet. */
export interface ModuleReference {
  /** The name of a package, or the path of a file: absolute, or from the data folder and then beginning with `./`. */
  readonly module: string;
  /** As they stand there; `{}` where there are none. */
  readonly options: JsonObject;
}

/** A channel of the configuration. */
export interface ChannelReference extends ModuleReference {
  /** What becomes of messages from chats that no agent is wired to. */
  readonly newChats: 'ask' | 'answer';
}

/** All modules of a configuration, by their names. */
export interface ModuleReferences {
  /** By the name of the channel's instance. */
  readonly channels: Readonly<Record<string, ChannelReference>>;
  /** By the name under which agent groups ask for it. */
  readonly providers: Readonly<Record<string, ModuleReference>>;
  /** By the name under which the configuration chooses one. */
  readonly drivers: Readonly<Record<string, ModuleReference>>;
}

/** No modules. */
export const NO_MODULES: ModuleReferences = { channels: {}, providers: {}, drivers: {} };

/**
 * The modules that `config.json` in the data folder names; none where there is no file. Throws a `Problem` (exit code 2) that
 * names the key which is wrong.
 */
export function readModuleReferences(dataFolder: string): ModuleReferences {
  const file = join(dataFolder, 'config.json');
  const parsed = Modules.safeParse(readConfigFile(file));
  if (parsed.success) return parsed.data;
  const { issues } = parsed.error;
  // A key that is misspelled is missing as well, and says more.
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  const path = issue?.path.join('.') ?? '';
  throw new Problem(`"${path}" in ${file}: ${issueText(issue)}. Nothing was done; correct it.`, 2);
}

function issueText(issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code === 'invalid_key') return issue.issues[0]?.message ?? 'not acceptable';
  if (issue?.code !== 'unrecognized_keys') return issue?.message ?? 'not acceptable';
  const keys = Object.keys((issue.path[0] === 'channels' ? ChannelReference : Reference).shape);
  const unknown = issue.keys.map((key) => JSON.stringify(key)).join(', ');
  return `it has ${unknown}, which does not exist there. Its keys are: ${keys.join(', ')}`;
}

/**
 * Writes a channel into `config.json`, or takes it out with `undefined`; all else in the file stays. The file is replaced
 * whole. Throws a `Problem` (exit code 2) when the file is no JSON object, and the file system's error.
 */
export function writeChannelReference(
  dataFolder: string,
  instance: string,
  reference: ChannelReference | undefined,
): void {
  const file = join(dataFolder, 'config.json');
  const before = readConfigFile(file);
  const { [instance]: _, ...others } = readModuleReferences(dataFolder).channels;
  const channels = reference === undefined ? others : { ...others, [instance]: reference };
  const text = `${JSON.stringify({ ...before, channels }, null, 2)}\n`;
  replaceFile(file, text, 0o600);
}

/**
 * All keys of a configuration file; none where there is no file. Throws a `Problem` (exit code 2) when it cannot be read or is no
 * JSON object.
 */
export function readConfigFile(file: string): Readonly<Record<string, unknown>> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return {};
    throw new Problem(`${file} cannot be read (${messageOf(error)}); nothing was done. Make it readable.`, 2);
  }
  const wrong = (what: string, cause?: unknown) =>
    new Problem(`${file} ${what}; nothing was done. Correct it, or remove it for the defaults.`, 2, { cause });
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    throw wrong(`is not valid JSON (${messageOf(error)})`, error);
  }
  const object = z.record(z.string(), z.unknown()).safeParse(value);
  if (object.success) return object.data;
  throw wrong('is valid JSON, but not an object in { }');
}
