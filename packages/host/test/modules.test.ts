/** Modules that the configuration names: whatever is wrong with one is a sentence, and stops nothing else. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LoadOptions, loadModule, locate, ModuleError } from '../src/modules/load.ts';
import { type ModuleReferences, readModuleReferences, writeChannelReference } from '../src/modules/references.ts';

let root: string;
let options: LoadOptions;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'nano-modules-')));
  const clock = {
    setTimer: (ms: number, action: () => void) => {
      const timer = setTimeout(action, ms);
      return () => clearTimeout(timer);
    },
  };
  options = { dataFolder: root, agentFolders: [join(root, 'groups')], clock, loadMaxMs: 10_000 };
});
afterEach(() => rmSync(root, { recursive: true }));

function write(path: string, text: string): string {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
  return `./${path}`;
}

/** A schema that takes an object with a whole number as `port`, and what a module makes with it. */
const SCHEMA = `{ '~standard': { version: 1, vendor: 'test', validate: (value) => Number.isInteger(value?.port)
  ? { value } : { issues: [{ message: 'it must be a whole number', path: ['port'] }] } } }`;
const thing = { kind: 'thing', is: (value: unknown): value is { port: number } => Object(value).port > 0 };

async function made(module: string, given: Record<string, number | string> = { port: 7 }): Promise<unknown> {
  return (await loadModule('channel "mine"', { module, options: given }, options)).create(thing, { hello: 'world' });
}

describe('a module', () => {
  it('is a file of the data folder, given its options and what the host has for it', async () => {
    const module = write(
      'line.js',
      `export default { options: ${SCHEMA}, create: (options, ports) => ({ ...options, ...ports }) };`,
    );
    expect(await made(module)).toEqual({ port: 7, hello: 'world' });
  });

  it('may be in a folder of its own, and make its thing later', async () => {
    const module = write(
      'own/line.js',
      `export default { options: ${SCHEMA}, async create(options) { return options; } };`,
    );
    expect(await made(module)).toEqual({ port: 7 });
  });

  it('is a package that was installed in the data folder, also one that is for import alone', async () => {
    write(
      'node_modules/@some/line/package.json',
      '{ "name": "@some/line", "type": "module", "exports": { ".": { "import": "./main.js" } } }',
    );
    write('node_modules/@some/line/main.js', `export default { options: ${SCHEMA}, create: (options) => options };`);
    expect(await made('@some/line')).toEqual({ port: 7 });
  });

  it('that was changed is loaded as it is now', async () => {
    const module = write('line.js', `export default { options: ${SCHEMA}, create: () => ({ port: 1 }) };`);
    expect(await made(module)).toEqual({ port: 1 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    write('line.js', `export default { options: ${SCHEMA}, create: () => ({ port: 2 }) };`);
    expect(await made(module)).toEqual({ port: 2 });
  });

  const BROKEN: readonly (readonly [what: string, text: string, sentence: RegExp, given?: Record<string, string>])[] = [
    // Where, is another loader's affair here: `test/examples.test.ts` has it.
    ['is no JavaScript', 'export default {', /^its module cannot be loaded: /],
    [
      'throws when it is loaded',
      "\nthrow new Error('no licence');",
      /^its module cannot be loaded: no licence \(line 2 of \/.*\/broken\.mjs\)$/,
    ],
    [
      'imports a file that throws',
      "import './beside.mjs';",
      /^its module cannot be loaded: not here \(line 3 of \/.*\/beside\.mjs\)$/,
    ],
    ['imports what is not there', "import 'not-there-at-all';", /^its module cannot be loaded: .*not-there-at-all/],
    ['has no default export', 'export const create = () => ({});', /^its default export is not \{ options, create \}/],
    ['has a default export that is null', 'export default null;', /^its default export is not/],
    ['has a function for a default export', 'export default () => ({});', /^its default export is not/],
    [
      'has options that are no schema',
      'export default { options: {}, create: () => ({}) };',
      /^its default export is not/,
    ],
    [
      'does not take its options',
      `export default { options: ${SCHEMA}, create: () => ({ port: 1 }) };`,
      /^its options are wrong: "port": it must be a whole number$/,
      { port: 'x' },
    ],
    [
      'throws when it makes its thing',
      `export default { options: ${SCHEMA}, create() { throw new Error('the port is taken'); } };`,
      /^it could not be made: the port is taken \(line 2 of \/.*\/broken\.mjs\)$/,
    ],
    [
      'makes something else',
      `export default { options: ${SCHEMA}, create: () => 'a text' };`,
      /^what its module makes is not a thing/,
    ],
    ['never comes up', 'await new Promise(() => undefined);', /^it did not come up within 0.3 s$/],
    [
      'never makes its thing',
      `export default { options: ${SCHEMA}, create: () => new Promise(() => undefined) };`,
      /^it did not come up within 0.3 s$/,
    ],
    [
      'has a schema that throws',
      `export default { options: { '~standard': { validate() { throw new Error('no schema today'); } } }, create: () => 1 };`,
      /no schema today/,
    ],
  ];

  for (const [what, text, sentence, given] of BROKEN) {
    it(`that ${what} is refused with a sentence`, async () => {
      write('beside.mjs', "\n\nthrow new Error('not here');");
      // Only these use it up.
      if (what.startsWith('never')) options = { ...options, loadMaxMs: 300 };
      const failure = await made(write('broken.mjs', text), given).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(ModuleError);
      expect(Object(failure).message).toMatch(sentence);
    });
  }

  it.each([
    ['a file that is not there', './missing.js', /^there is no file .*missing\.js$/],
    ['a folder', './groups', /is not a file$/],
    ['a package that is not there', '@some/missing', /^there is no package @some\/missing here; install it in /],
    ['a URL', 'https://example.org/line.js', /^the package https:\/\/example\.org\/line\.js cannot be used/],
    ['a built-in module', 'node:fs', /^the package node:fs cannot be used/],
  ])('that is %s is refused with a sentence', (_what, module, sentence) => {
    mkdirSync(join(root, 'groups'), { recursive: true });
    expect(() => locate(module, options)).toThrow(sentence);
  });

  it('that an agent can write is not loaded, by its path, through a link or as a package', () => {
    write('groups/main/evil.js', '');
    symlinkSync(join(root, 'groups', 'main', 'evil.js'), join(root, 'innocent.js'));
    write('groups/main/package/package.json', '{ "name": "evil", "exports": "./main.js" }');
    write('groups/main/package/main.js', '');
    mkdirSync(join(root, 'node_modules'));
    symlinkSync(join(root, 'groups', 'main', 'package'), join(root, 'node_modules', 'evil'));
    for (const module of ['./groups/main/evil.js', './innocent.js', './x/../groups/main/evil.js', 'evil']) {
      expect(() => locate(module, options)).toThrow(/which agents can write/);
    }
  });
});

describe('the configuration', () => {
  it('may name no module, and have other keys', () => {
    expect(readModuleReferences(root)).toEqual({ channels: {}, providers: {}, drivers: {} });
    expect(read('{ "runsMax": 3 }')).toEqual({ channels: {}, providers: {}, drivers: {} });
  });

  it.each([
    ['{ "channels": { "Line": { "module": "./x.js" } } }', /"channels\.Line" in .*a name has 1 to 64 small letters/],
    ['{ "channels": { "a:b": { "module": "./x.js" } } }', /"channels\.a:b"/],
    ['{ "channels": { "line": {} } }', /"channels\.line\.module"/],
    [
      '{ "channels": { "line": { "module": "./x.js", "option": {} } } }',
      /"channels\.line" in .*: it has "option", which does not exist there\. Its keys are: module, options, newChats\./,
    ],
    ['{ "drivers": { "fast": { "modul": "./x.js" } } }', /it has "modul", .*\. Its keys are: module, options\./],
    ['{ "channels": { "line": { "module": "./x.js", "newChats": "maybe" } } }', /"channels\.line\.newChats"/],
    ['{ "providers": [] }', /"providers"/],
    ['{ "drivers": { "fast": "./x.js" } }', /"drivers\.fast"/],
    ['[]', /is valid JSON, but not an object in \{ \}; nothing was done/],
    ['{', /is not valid JSON \(line 1, column 2\); nothing was done/],
    ['{\n  "runsMax": 3,\n}', /is not valid JSON \(line 3, column 1\)/],
  ])('%s is refused with one sentence that names the key', (text, sentence) => {
    expect(() => read(text)).toThrow(sentence);
  });

  it('keeps everything else when a channel is written into it and taken out', () => {
    read('{ "runsMax": 3, "channels": { "one": { "module": "./one.js" } } }');
    writeChannelReference(root, 'two', { module: '@some/two', options: { port: 7 }, newChats: 'answer' });
    expect(Object.keys(readModuleReferences(root).channels)).toEqual(['one', 'two']);
    writeChannelReference(root, 'one', undefined);
    expect(readModuleReferences(root).channels).toEqual({
      two: { module: '@some/two', options: { port: 7 }, newChats: 'answer' },
    });
  });
});

function read(text: string): ModuleReferences {
  write('config.json', text);
  return readModuleReferences(root);
}
