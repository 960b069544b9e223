/**
 * Loads a module that the configuration names: a channel, a driver. Whatever is wrong with one, be it missing, broken, without
 * the export it should have, slow, or given options that it does not take, is one sentence for the operator; the host goes on
 * without it.
 */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Clock } from '@nanoclaw/session-db';
import { execaNode } from 'execa';
import { resolve as resolvePackage } from 'import-meta-resolve';
import { messageOf, systemCode, type UncaughtErrors } from '../errors/index.ts';
import type { ModuleReference } from './references.ts';

/** A module that cannot be used. The message is a clause that says why, and what to do. */
export class ModuleError extends Error {
  override readonly name = 'ModuleError';
}

/** Where modules are looked for, and how long one may take. */
export interface LoadOptions {
  /** Absolute. */
  readonly dataFolder: string;
  /** The folders in it that agents can write: nothing is loaded from there. */
  readonly agentFolders: readonly string[];
  /** The timer for the limit of time. */
  readonly clock: Pick<Clock, 'setTimer'>;
  /** How long loading, and making what the module makes, may take, in milliseconds; 10 000 where it is left out. */
  readonly loadMaxMs?: number;
  /** Learns whose code is where; left out where nothing runs on. */
  readonly uncaught?: Pick<UncaughtErrors, 'addModule'>;
}

/** A module of a port, checked as far as that can be done without knowing the port. */
export interface LoadedModule {
  /** The file that it was loaded from, absolute. */
  readonly file: string;
  /**
   * Checks the options by the module's schema and makes the thing. Rejects with a `ModuleError` for options that are wrong, for
   * a module that throws or takes too long, and for a thing that `is` does not know.
   */
  create<Thing>(what: Made<Thing>, ports: object): Promise<Thing>;
}

/** What a module of a port is to make. */
export interface Made<Thing> {
  /** `channel`, `driver`: for the sentence. */
  readonly kind: string;
  /** Whether a value is one. */
  readonly is: (value: unknown) => value is Thing;
}

/** Loads the module of `origin`, such as `channel "desk"`. Rejects with a `ModuleError`. */
export async function loadModule(
  origin: string,
  reference: ModuleReference,
  options: LoadOptions,
): Promise<LoadedModule> {
  const file = locate(reference.module, options);
  // Before its first line runs, which may throw later.
  options.uncaught?.addModule(origin, folderOf(file, reference.module));
  const loaded = await inTime(options, () => imported(file));
  const module = typeof loaded === 'object' && loaded !== null && 'default' in loaded ? loaded.default : undefined;
  if (!isPortModule(module)) {
    throw new ModuleError(
      `its default export is not { options, create }, with a schema of its options and a function that makes it (module ${reference.module})`,
    );
  }
  return {
    file,
    create: async (what, ports) => {
      const thing = await inTime(options, async () => {
        try {
          return await module.create(await checkedOptions(module, reference), ports);
        } catch (error) {
          if (error instanceof ModuleError) throw error;
          throw new ModuleError(`it could not be made: ${await mistakeText(error, file)}`, { cause: error });
        }
      });
      if (what.is(thing)) return thing;
      throw new ModuleError(`what its module makes is not a ${what.kind} (module ${reference.module})`);
    },
  };
}

/** The absolute path of a module's file, links followed. Throws a `ModuleError` for one that is not there, or not to be loaded. */
export function locate(
  module: string,
  { dataFolder, agentFolders }: Pick<LoadOptions, 'dataFolder' | 'agentFolders'>,
): string {
  const path = isFilePath(module) ? resolve(dataFolder, module) : packageFile(module, dataFolder);
  let real: string;
  try {
    real = realpathSync(path);
    if (!statSync(real).isFile()) throw new ModuleError(`${path} is not a file`);
  } catch (error) {
    if (error instanceof ModuleError) throw error;
    const isMissing = systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR';
    const why = isMissing ? `there is no file ${path}` : `${path} cannot be read (${messageOf(error)})`;
    throw new ModuleError(why, { cause: error });
  }
  const writable = agentFolders.find((folder) => real.startsWith(`${realFolder(folder)}${sep}`));
  if (writable === undefined) return real;
  throw new ModuleError(`${path} is in ${writable}, which agents can write; keep it beside that folder, not in it`);
}

/** Where a module's own code is: beside a file, and in the whole package of one. */
function folderOf(file: string, module: string): string {
  const beside = dirname(file);
  if (isFilePath(module)) return beside;
  for (let folder = beside; folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
  }
  return beside;
}

/** Whether a reference names a file, and not a package. */
export function isFilePath(module: string): boolean {
  return module.startsWith('.') || isAbsolute(module);
}

/** What a module of any port exports. */
interface PortModule {
  readonly options: {
    readonly '~standard': { readonly validate: (value: unknown) => unknown };
  };
  readonly create: (options: unknown, ports: object) => unknown;
}

function isPortModule(value: unknown): value is PortModule {
  if (typeof value !== 'object' || value === null || !('create' in value) || !('options' in value)) return false;
  const { create, options } = value;
  if (typeof create !== 'function' || options === null) return false;
  if (typeof options !== 'object' && typeof options !== 'function') return false;
  const standard = '~standard' in options ? options['~standard'] : undefined;
  return (
    typeof standard === 'object' &&
    standard !== null &&
    'validate' in standard &&
    typeof standard.validate === 'function'
  );
}

async function checkedOptions(module: PortModule, { options }: ModuleReference): Promise<unknown> {
  const result = await module.options['~standard'].validate(options);
  if (typeof result !== 'object' || result === null) throw new ModuleError('its schema gives no result');
  if ('issues' in result && Array.isArray(result.issues)) {
    const [issue]: readonly unknown[] = result.issues;
    throw new ModuleError(`its options are wrong: ${issueText(issue)}`);
  }
  return 'value' in result ? result.value : undefined;
}

function issueText(issue: unknown): string {
  if (typeof issue !== 'object' || issue === null) return 'not acceptable';
  const message = 'message' in issue ? String(issue.message) : 'not acceptable';
  const path: readonly unknown[] = 'path' in issue && Array.isArray(issue.path) ? issue.path : [];
  const keys = path.map((part) => String(typeof part === 'object' && part !== null && 'key' in part ? part.key : part));
  return keys.length === 0 ? message : `"${keys.join('.')}": ${message}`;
}

async function imported(file: string): Promise<unknown> {
  try {
    // One that was changed is loaded anew when what it makes is made anew.
    return await import(/* @vite-ignore */ `${pathToFileURL(file).href}#${statSync(file).mtimeMs}`);
  } catch (error) {
    throw new ModuleError(`its module cannot be loaded: ${await mistakeText(error, file)}`, { cause: error });
  }
}

/** What went wrong in a module, and where. Some loaders draw pictures of a mistake; its first line says what it is. */
async function mistakeText(error: unknown, file: string): Promise<string> {
  const what = messageOf(error).split('\n')[0] ?? '';
  const place = placeIn(error instanceof Error ? error.stack : undefined, file) ?? (await syntaxMistake(error, file));
  return place === undefined ? what : `${what} (line ${place.line} of ${place.file})`;
}

interface Place {
  readonly file: string;
  readonly line: string;
}

/** Where a stack trace leads to: in the module's own file if it does, else in a file beside or below it. */
function placeIn(stack: string | undefined, file: string): Place | undefined {
  const places = [...(stack?.matchAll(/(\/[^\s()#?]+\.[cm]?[jt]sx?)(?:[#?][\d.]+)?:(\d+)/g) ?? [])].map(
    ([, path = '', line = '']): Place => ({ file: path.replace(/^\/\/(?=\/)/, ''), line }),
  );
  return places.find((each) => each.file === file) ?? places.find((each) => each.file.startsWith(dirname(file)));
}

/**
 * Where a file is no JavaScript. An import keeps that to itself, so Node is asked again; it runs nothing of the file. `undefined`
 * when the mistake is in another file, which this one imports.
 */
async function syntaxMistake(error: unknown, file: string): Promise<Place | undefined> {
  if (!(error instanceof SyntaxError)) return undefined;
  const { stderr } = await execaNode(file, { nodeOptions: ['--check'], ipc: false, reject: false, stdin: 'ignore' });
  return placeIn(stderr, file);
}

/** Packages that the operator has installed in the data folder come first, then those that came with the host. */
function packageFile(name: string, dataFolder: string): string {
  for (const base of [pathToFileURL(join(dataFolder, 'config.json')).href, import.meta.url]) {
    try {
      return fileURLToPath(resolvePackage(name, base));
    } catch (error) {
      if (systemCode(error) !== 'ERR_MODULE_NOT_FOUND') {
        throw new ModuleError(`the package ${name} cannot be used: ${messageOf(error)}`, { cause: error });
      }
    }
  }
  throw new ModuleError(
    `there is no package ${name} here; install it in ${dataFolder} with a package manager, or name a file as ./name.js`,
  );
}

function realFolder(folder: string): string {
  try {
    return realpathSync(folder);
  } catch {
    return folder; // it is made later, where it is said to be
  }
}

async function inTime<T>({ clock, loadMaxMs = 10_000 }: LoadOptions, work: () => Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const cancel = clock.setTimer(loadMaxMs, () => {
    late.reject(new ModuleError(`it did not come up within ${loadMaxMs / 1_000} s`));
  });
  try {
    return await Promise.race([work(), late.promise]);
  } finally {
    cancel();
  }
}
