/**
 * Lets the simulation run the packages' own sources, as they are on disk, with the imports exchanged through which a
 * process touches its world, so that it can be stopped there: the file system, the SQLite driver, the host's control socket.
 *
 * The mutations come in here too: a source is changed as it is read, and the checkout is not.
 */
import { existsSync, readFileSync } from 'node:fs';
import { registerHooks, stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** One change of a source file, for a deliberate mistake. `find` stands in the file exactly once. */
export interface Edit {
  /** From the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/**
 * From here on, imports of `@nanoclaw/*` are their sources under `root` with the doubles in place, changed by `edits`.
 * Throws `Error` when an edit's file is loaded and does not have its text exactly once: a mutation that changes
 * nothing would look like one that nobody finds.
 */
export function loadFromSource(root: string, edits: readonly Edit[]): void {
  const doubles = join(root, 'packages/simulation/src/doubles');
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const parent = context.parentURL?.startsWith('file:') === true ? fileURLToPath(context.parentURL) : '';
      const double = doubleOf(specifier, parent.slice(root.length + 1));
      if (double !== undefined) return nextResolve(pathToFileURL(join(doubles, double)).href, context);
      const source = sourceOf(specifier);
      if (source !== undefined) return nextResolve(pathToFileURL(join(root, source)).href, context);
      if (specifier.startsWith('.') && specifier.endsWith('.js') && parent.endsWith('.ts')) {
        const url = new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL);
        if (existsSync(fileURLToPath(url))) return nextResolve(url.href, context);
      }
      return nextResolve(specifier, context);
    },
    load(url, context, nextLoad) {
      if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context);
      const path = fileURLToPath(url);
      const source = edited(readFileSync(path, 'utf8'), path.slice(root.length + 1), edits);
      return { format: 'module', source: javaScript(source), shortCircuit: true };
    },
  });
}

/** Where a package's import is exchanged, for the files that are simulated and for no others. */
function doubleOf(specifier: string, importer: string): string | undefined {
  const isSimulated = /^(packages\/(session-db|registry|runner|containers|channels|delivery|sweep)|apps\/host)\/src\//;
  if (!isSimulated.test(importer)) return undefined;
  if (specifier === 'node:fs') return 'file-system.ts';
  if (specifier === 'node:fs/promises') return 'file-system-promises.ts';
  if (specifier === 'better-sqlite3') return '../sqlite/driver.ts';
  return importer === 'apps/host/src/host.ts' && specifier === './control.js' ? 'control.ts' : undefined;
}

function sourceOf(specifier: string): string | undefined {
  const [, name, entry] = /^@nanoclaw\/([a-z-]+)(?:\/([a-z]+))?$/.exec(specifier) ?? [];
  if (name === undefined) return undefined;
  if (entry === undefined) return `packages/${name}/src/index.ts`;
  return name === 'session-db' ? `packages/${name}/src/sqlite/${entry}.ts` : `packages/${name}/src/${entry}/index.ts`;
}

function edited(source: string, file: string, edits: readonly Edit[]): string {
  let text = source;
  for (const edit of edits.filter((one) => one.file === file)) {
    const parts = text.split(edit.find);
    if (parts.length !== 2) {
      throw new Error(`${file} has ${parts.length - 1} places like ${JSON.stringify(edit.find)}, and must have one.`);
    }
    text = parts.join(edit.replace);
  }
  return text;
}

/** Without its types. Lines stay where they are, except in the few files whose constructors declare fields. */
function javaScript(source: string): string {
  try {
    return stripTypeScriptTypes(source);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX')) throw error;
    return stripTypeScriptTypes(source, { mode: 'transform' });
  }
}
