/**
 * `container.json`: all of an agent's configuration, written by the host and read once. Environment variables configure
 * nothing here; credentials reach the provider alone.
 */
import { readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { inexactness, PROTOCOL_VERSION } from '@nanoclaw/session-db/protocol';
import { isZone, nameProblem } from '@nanoclaw/session-db/text';
import { EFFORTS, type Effort, type McpServer } from '../provider.ts';

/** What `container.json` says, checked. */
export interface AgentConfig {
  readonly agentGroupId: string;
  readonly assistantName: string;
  readonly provider: ProviderChoice;
  /** `undefined`: the provider's own default. */
  readonly model: string | undefined;
  /** `undefined`: the provider's own default. */
  readonly effort: Effort | undefined;
  /** Servers of more tools, by name. */
  readonly mcpServers: Readonly<Record<string, McpServer>>;
  /** Which of the skills in the folder of skills the model is told of. */
  readonly skills: 'all' | readonly string[];
  /** IANA name. */
  readonly timeZone: string;
  /** `undefined`: the runner's own figures. */
  readonly idleExitMs: number | undefined;
  readonly messagesPerPrompt: number | undefined;
}

/** Who answers: a provider by its name, where its module is, and what it needs to be told. */
export interface ProviderChoice {
  /** The provider's name, under which its continuation is kept. */
  readonly name: string;
  /** An absolute path, or the name of a package; `undefined` for a provider that comes with the program. */
  readonly module: string | undefined;
  /** For the module's schema to check. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** The configuration cannot be used; the message is one sentence that names the key. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** The host speaks another version of the protocol than this program; the message names both. */
export class ProtocolMismatchError extends Error {
  override readonly name = 'ProtocolMismatchError';
}

/** Reads and checks the file. Throws `ConfigError`, or `ProtocolMismatchError`, with one sentence for the operator. */
export function readConfig(path: string): AgentConfig {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(
      `The configuration ${path} cannot be read (${error instanceof Error ? error.message : String(error)}).`,
    );
  }
  return parseConfig(text, path);
}

/** The configuration in the text of a file; `path` is for the messages only. */
export function parseConfig(text: string, path: string): AgentConfig {
  const json = jsonObject(text, path);
  const wrong: Wrong = (what) => new ConfigError(`${path}: ${what} Nothing was started; write the file again.`);

  const string = (key: string): string | undefined => {
    const value = json[key];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'string' || value === '') throw wrong(`"${key}" must be a text.`);
    return value;
  };
  const required = (key: string): string => {
    const value = string(key);
    if (value === undefined) throw wrong(`"${key}" is missing.`);
    return value;
  };
  const count = (key: string, max: number): number | undefined => {
    const value = json[key];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > max) {
      throw wrong(`"${key}" must be a whole number from 1 to ${max}.`);
    }
    return value;
  };

  const unknown = Object.keys(json).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) throw wrong(`"${unknown}" is not a key of it; the keys are ${KEYS.join(', ')}.`);
  if (json['protocolVersion'] !== PROTOCOL_VERSION) {
    throw new ProtocolMismatchError(
      `${path} is for protocol version ${JSON.stringify(json['protocolVersion'])} and this runner has version ` +
        `${PROTOCOL_VERSION}. Nothing was started; use a runner image of the host's version.`,
    );
  }
  const timeZone = required('timeZone');
  if (!isZone(timeZone)) throw wrong(`"timeZone" must be an IANA name, and ${JSON.stringify(timeZone)} is none.`);
  return {
    agentGroupId: required('agentGroupId'),
    assistantName: required('assistantName'),
    provider: providerChoice(json['provider'], wrong),
    model: string('model'),
    effort: effort(json['effort'], wrong),
    mcpServers: mcpServers(json['mcpServers'], wrong),
    skills: skills(json['skills'], wrong),
    timeZone,
    idleExitMs: count('idleExitMs', 86_400_000),
    messagesPerPrompt: count('messagesPerPrompt', 1_000),
  };
}

const KEYS: readonly string[] = [
  'protocolVersion',
  'agentGroupId',
  'assistantName',
  'provider',
  'model',
  'effort',
  'mcpServers',
  'skills',
  'timeZone',
  'idleExitMs',
  'messagesPerPrompt',
];

type Wrong = (what: string) => ConfigError;

function effort(value: unknown, wrong: Wrong): Effort | undefined {
  if (value === undefined || value === null) return undefined;
  const found = EFFORTS.find((known) => known === value);
  if (found === undefined) throw wrong(`"effort" must be one of ${EFFORTS.join(', ')}.`);
  return found;
}

function skills(value: unknown, wrong: Wrong): 'all' | readonly string[] {
  if (value === undefined || value === null || value === 'all') return 'all';
  if (!isTexts(value)) throw wrong('"skills" must be "all" or a list of names.');
  return value;
}

function mcpServers(value: unknown, wrong: Wrong): Record<string, McpServer> {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw wrong('"mcpServers" must be an object of servers by name.');
  return Object.fromEntries(
    Object.entries(value).map(([name, server]) => {
      const problem = nameProblem('MCP server', name);
      if (problem !== undefined) throw wrong(`"mcpServers" has the name ${JSON.stringify(name)}. ${problem}`);
      return [name, mcpServer(server, (what) => wrong(`the MCP server "${name}" ${what}`))];
    }),
  );
}

/** As MCP clients commonly write it: a `command` with `args` and `env`, or `"type": "http"` with `url` and `headers`. */
function mcpServer(server: unknown, wrong: Wrong): McpServer {
  if (!isObject(server)) throw wrong('must be an object.');
  const { type = 'stdio', command, args = [], env = {}, url, headers = {} } = server;
  const keys = type === 'http' ? ['type', 'url', 'headers'] : ['type', 'command', 'args', 'env'];
  if (type !== 'stdio' && type !== 'http') throw wrong('must have the "type" "stdio" or "http".');
  const unknown = Object.keys(server).find((key) => !keys.includes(key));
  if (unknown !== undefined)
    throw wrong(`cannot have the key "${unknown}"; of type ${type} it has ${keys.join(', ')}.`);
  if (type === 'http') {
    if (typeof url !== 'string' || !/^https?:\/\//.test(url) || !URL.canParse(url)) {
      throw wrong('needs a "url" that begins with http:// or https://.');
    }
    if (!isTextsByName(headers)) throw wrong('must have texts as "headers".');
    return { type, url, headers };
  }
  if (typeof command !== 'string' || command === '') throw wrong('needs a "command", the program that is the server.');
  if (!isTexts(args)) throw wrong('must have a list of texts as "args".');
  if (!isTextsByName(env)) throw wrong('must have texts as "env".');
  return { type, command, args, env };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item: unknown) => typeof item === 'string');
}

function isTextsByName(value: unknown): value is Readonly<Record<string, string>> {
  return isObject(value) && Object.values(value).every((item) => typeof item === 'string');
}

function providerChoice(value: unknown, wrong: Wrong): ProviderChoice {
  if (!isObject(value)) throw wrong('"provider" must be an object with the "name" of a provider.');
  const { name, module, options = {} } = value;
  const unknown = Object.keys(value).find((key) => !['name', 'module', 'options'].includes(key));
  if (unknown !== undefined) throw wrong(`"provider" cannot have the key "${unknown}"; it has name, module, options.`);
  if (typeof name !== 'string' || name === '') throw wrong('"provider" needs a "name".');
  if (module !== undefined && !isModuleName(module)) {
    throw wrong('the "module" of "provider" must be an absolute path or the name of a package.');
  }
  if (!isObject(options)) throw wrong('the "options" of "provider" must be an object.');
  return { name, module, options };
}

/** Neither a relative path, which has no place to start from, nor a URL. */
function isModuleName(value: unknown): value is string {
  return typeof value === 'string' && (isAbsolute(value) || /^(@[\w-][\w.-]*\/)?\w[\w.-]*(\/[\w./-]+)?$/.test(value));
}

function jsonObject(text: string, path: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`${path} is not JSON (${error instanceof Error ? error.message : String(error)}).`);
  }
  const inexact = inexactness(text);
  if (inexact !== undefined) throw new ConfigError(`${path} cannot be used. ${inexact}`);
  if (!isObject(value)) throw new ConfigError(`${path} must hold a JSON object.`);
  return value;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
