/** From what `container.json` says of a provider to the provider: finds its module, checks its options, makes it. */
import { isAbsolute } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Provider } from '../provider.ts';
import type { ProviderModule, ProviderPorts } from '../provider-module.ts';
import { ConfigError, type ProviderChoice } from './config.ts';

/** Where the modules of providers come from. */
export interface ProviderModules {
  /** The providers that come with the program: what loads the module of each, by name. */
  readonly builtIn: Readonly<Record<string, () => Promise<unknown>>>;
  /**
   * `(specifier) => import(specifier)`, written in the program, so that the name of a package is looked up from there.
   * Gets a package's name, or the URL of a file.
   */
  readonly load: (specifier: string) => Promise<unknown>;
}

/**
 * The provider of one run. Rejects with `ConfigError`, one sentence for the operator, when there is no such module, its
 * default export is no `ProviderModule`, its schema refuses the options, or it makes no provider of them.
 */
export async function loadProvider(
  choice: ProviderChoice,
  ports: ProviderPorts,
  modules: ProviderModules,
): Promise<Provider> {
  const label = choice.module === undefined ? `"${choice.name}"` : `"${choice.name}" (module ${choice.module})`;
  const wrong = (what: string): ConfigError =>
    new ConfigError(`The provider ${label} ${what}. Nothing was started; correct "provider" in the configuration.`);

  const loaded = await namespace(choice, modules, wrong);
  const module = isObject(loaded) ? loaded['default'] : undefined;
  if (!isProviderModule(module)) {
    throw wrong(
      'cannot be used: its module must have a default export with "options", a Standard Schema, and "create"',
    );
  }
  const options = await checked(module.options, choice.options, wrong);
  const provider: unknown = await attempted(
    async () => module.create(options, ports),
    (reason) => wrong(`could not be made (${reason})`),
  );
  if (!isProvider(provider)) throw wrong('cannot be used: "create" must give a provider with "name" and "start"');
  return provider;
}

async function namespace(
  { name, module }: ProviderChoice,
  { builtIn, load }: ProviderModules,
  wrong: (what: string) => ConfigError,
): Promise<unknown> {
  const own = Object.hasOwn(builtIn, name) ? builtIn[name] : undefined;
  if (module === undefined && own === undefined) {
    const known = Object.keys(builtIn).join(', ') || 'none';
    throw wrong(`is not one of those that come with this program (${known}), and no "module" is named for it`);
  }
  const specifier = module !== undefined && isAbsolute(module) ? pathToFileURL(module).href : module;
  return attempted(
    async () => (specifier === undefined ? own?.() : load(specifier)),
    (reason) => wrong(`cannot be loaded (${reason})`),
  );
}

async function checked(
  schema: StandardSchemaV1,
  options: unknown,
  wrong: (what: string) => ConfigError,
): Promise<unknown> {
  const result = await attempted(
    async () => schema['~standard'].validate(options),
    (reason) => wrong(`could not check its options (${reason})`),
  );
  if (result.issues === undefined) return result.value;
  throw wrong(`cannot take its options (${result.issues.map(issueText).join('; ')})`);
}

function issueText({ path = [], message }: StandardSchemaV1.Issue): string {
  const keys = path.map((part) => String(typeof part === 'object' ? part.key : part));
  return keys.length === 0 ? message : `${keys.join('.')}: ${message}`;
}

/** What foreign code gives; what it throws is turned into an error with the first line of its message. */
async function attempted<T>(work: () => Promise<T>, refusal: (reason: string) => ConfigError): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw refusal(message.split('\n', 1).join('').replace(/\.$/, ''));
  }
}

function isProviderModule(value: unknown): value is ProviderModule<unknown> {
  if (!isObject(value) || typeof value['create'] !== 'function') return false;
  const schema = value['options'];
  // A schema may be a function with properties, as those of arktype are.
  if ((typeof schema !== 'object' && typeof schema !== 'function') || schema === null) return false;
  const standard = '~standard' in schema ? schema['~standard'] : undefined;
  return isObject(standard) && typeof standard['validate'] === 'function';
}

function isProvider(value: unknown): value is Provider {
  return (
    isObject(value) && typeof value['name'] === 'string' && value['name'] !== '' && typeof value['start'] === 'function'
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
