/**
 * Lets the simulation run the packages' own sources, as they are on disk, with the imports exchanged through which a
 * process touches its world, so that it can be stopped there: the file system, the SQLite driver, the host's control socket.
 *
 * The mutations come in here too: a source is changed as it is read, and the checkout is not.
 */
import { readFileSync } from 'node:fs';
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
 * From here on, the sources under `root` are loaded with the doubles in place, changed by `edits`. Node must have been
 * started with the export condition `source`, so that imports of `@nanoclaw/*` are their sources.
 * Throws `Error` when an edit's file is loaded and does not have its text exactly once: a mutation that changes
 * nothing would look like one that no seed finds.
 */
export function loadFromSource(root: string, edits: readonly Edit[]): void {
  const doubles = join(root, 'packages/simulation/src/doubles');
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const parent = context.parentURL?.startsWith('file:') === true ? fileURLToPath(context.parentURL) : '';
      const double = doubleOf(specifier, parent.slice(root.length + 1));
      if (double !== undefined) return nextResolve(pathToFileURL(join(doubles, double)).href, context);
      return nextResolve(specifier, context);
    },
    load(url, context, nextLoad) {
      if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context);
      const path = fileURLToPath(url);
      const source = edited(readFileSync(path, 'utf8'), path.slice(root.length + 1), edits);
      return { format: 'module', source: stripTypeScriptTypes(source), shortCircuit: true };
    },
  });
}

/** Where a package's import is exchanged, for the files that are simulated and for no others. */
function doubleOf(specifier: string, importer: string): string | undefined {
  const isSimulated = /^packages\/(session-db|registry|runner|containers|channels|delivery|sweep|host)\/src\//;
  if (!isSimulated.test(importer)) return undefined;
  if (specifier === 'node:fs') return 'file-system.ts';
  if (specifier === 'node:fs/promises') return 'file-system-promises.ts';
  if (specifier === 'better-sqlite3') return '../sqlite/driver.ts';
  return importer === 'packages/host/src/operator/index.ts' && specifier === './control.ts' ? 'control.ts' : undefined;
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
