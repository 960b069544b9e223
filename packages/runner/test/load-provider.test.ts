/** What a configuration may name as a provider, and the one sentence for everything that is none. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProviderChoice } from '../src/agent/config.ts';
import { loadProvider } from '../src/agent/load-provider.ts';
import { ConfigError, type Provider, type ProviderModule, type ProviderPorts } from '../src/index.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'nanoclaw-module-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

const PORTS: ProviderPorts = {
  clock: { now: () => 7, setTimer: () => () => undefined },
  env: { KEY: 'from the environment' },
  newId: () => '11111111-2222-3333-4444-555555555555',
  report: () => undefined,
  uid: 1,
};

const start: Provider['start'] = () => {
  throw new Error('It is not started here.');
};

/** A provider whose name shows what it was made of. */
const echo: ProviderModule<{ readonly word: string }> = {
  options: {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) =>
        typeof value === 'object' && value !== null && 'word' in value && typeof value.word === 'string'
          ? { value: { word: value.word.toUpperCase() } }
          : {
              issues: [
                { message: 'must be a text', path: ['word'] },
                { message: 'is no good', path: [{ key: 'a' }, 0] },
              ],
            },
    },
  },
  create: ({ word }, { env, clock }) => ({ name: `${word} ${env['KEY']} ${clock.now()}`, start }),
};

const anything: ProviderModule<unknown>['options'] = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) },
};

/** Loads a module that is already there, in place of the one that is named. */
function loaded(namespace: unknown, choice: Partial<ProviderChoice> = {}): Promise<Provider> {
  const whole = { name: 'echo', module: '@bots/echo', options: { word: 'hi' }, ...choice };
  return loadProvider(whole, PORTS, { builtIn: {}, load: async () => namespace });
}

describe('a provider is made', () => {
  it('by a module of the program, with the options that its schema makes of them, and the ports', async () => {
    const builtIn = { echo: async () => ({ default: echo }) };
    const choice = { name: 'echo', module: undefined, options: { word: 'hi' } };
    const modules = { builtIn, load: () => Promise.reject(new Error('Nothing is loaded by name.')) };
    expect(await loadProvider(choice, PORTS, modules)).toMatchObject({ name: 'HI from the environment 7' });
  });

  it('by a module file, named by its absolute path', async () => {
    const module = join(folder, 'a provider.mjs');
    writeFileSync(
      module,
      `export default {
         options: { '~standard': { version: 1, vendor: 'test', validate: async (value) => ({ value }) } },
         create: async ({ name }) => ({ name, start: () => undefined }),
       };`,
    );
    const choice = { name: 'echo', module, options: { name: 'of a file' } };
    const modules = { builtIn: {}, load: (specifier: string) => import(specifier) };
    expect(await loadProvider(choice, PORTS, modules)).toMatchObject({ name: 'of a file' });
  });

  it('by a package, named as an import names it, also where one that comes with the program has the same name', async () => {
    const asked: string[] = [];
    const modules = {
      builtIn: { echo: () => Promise.reject(new Error('Not this one.')) },
      load: async (specifier: string) => {
        asked.push(specifier);
        return { default: echo };
      },
    };
    const choice = { name: 'echo', module: '@bots/echo', options: { word: 'hi' } };
    expect(await loadProvider(choice, PORTS, modules)).toMatchObject({ name: 'HI from the environment 7' });
    expect(asked).toEqual(['@bots/echo']);
  });

  it('with a schema that is a function with properties', async () => {
    const options = Object.assign(() => undefined, anything);
    expect(await loaded({ default: { ...echo, options } }, { options: { word: 'as is' } })).toMatchObject({
      name: 'as is from the environment 7',
    });
  });
});

const BROKEN = 'must have a default export with "options", a Standard Schema, and "create"';

function throwing(error: unknown): () => never {
  return () => {
    throw error;
  };
}

describe('is told of in one sentence: ', () => {
  it.each<[string, () => Promise<Provider>, string]>([
    [
      'a name that nothing comes with',
      () =>
        loadProvider({ name: 'x', module: undefined, options: {} }, PORTS, {
          builtIn: { offline: async () => 1 },
          load: async () => 1,
        }),
      'The provider "x" is not one of those that come with this program (offline), and no "module" is named for it.',
    ],
    [
      'a name that every object has',
      () =>
        loadProvider({ name: 'toString', module: undefined, options: {} }, PORTS, { builtIn: {}, load: async () => 1 }),
      'The provider "toString" is not one of those that come with this program (none)',
    ],
    [
      'a file that is not there',
      () =>
        loadProvider({ name: 'x', module: join(folder, 'nowhere.mjs'), options: {} }, PORTS, {
          builtIn: {},
          load: (specifier) => import(specifier),
        }),
      'nowhere.mjs) cannot be loaded (',
    ],
    [
      'a module that throws, whatever it throws',
      () =>
        loadProvider({ name: 'x', module: 'y', options: {} }, PORTS, {
          builtIn: {},
          load: () => Promise.reject('no\nway'),
        }),
      'The provider "x" (module y) cannot be loaded (no).',
    ],
    ['a module that is nothing', () => loaded(undefined), BROKEN],
    ['a module without a default export', () => loaded({ echo }), BROKEN],
    ['a default export that is a function', () => loaded({ default: () => echo }), BROKEN],
    ['a default export without "create"', () => loaded({ default: { options: echo.options } }), BROKEN],
    ['a default export without "options"', () => loaded({ default: { create: echo.create } }), BROKEN],
    ['"options" that are no schema', () => loaded({ default: { ...echo, options: { word: 'text' } } }), BROKEN],
    ['"options" with half a schema', () => loaded({ default: { ...echo, options: { '~standard': {} } } }), BROKEN],
    [
      'options that the schema refuses, each with its key',
      () => loaded({ default: echo }, { options: {} }),
      'The provider "echo" (module @bots/echo) cannot take its options (word: must be a text; a.0: is no good).',
    ],
    [
      'a schema that throws',
      () => loaded({ default: { ...echo, options: { '~standard': { validate: throwing(new Error('Oh.')) } } } }),
      'could not check its options (Oh).',
    ],
    [
      '"create" that throws',
      () => loaded({ default: { ...echo, create: throwing(new Error('No key.')) } }),
      'could not be made (No key).',
    ],
    [
      '"create" that rejects',
      () => loaded({ default: { ...echo, create: () => Promise.reject(new Error('No key.')) } }),
      'could not be made (No key).',
    ],
    [
      '"create" that gives nothing',
      () => loaded({ default: { ...echo, create: () => undefined } }),
      '"create" must give a provider',
    ],
    [
      'a provider without a name',
      () => loaded({ default: { ...echo, create: () => ({ name: '', start }) } }),
      '"create" must give a provider with "name" and "start"',
    ],
    [
      'a provider that cannot start',
      () => loaded({ default: { ...echo, create: () => ({ name: 'echo' }) } }),
      '"create" must give a provider with "name" and "start"',
    ],
  ])('%s', async (_name, load, sentence) => {
    const error: unknown = await load().then(
      () => 'it was loaded',
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof ConfigError)) throw new Error(`no ConfigError, but ${String(error)}`);
    expect(error.message).toContain(sentence);
    expect(error.message).not.toContain('\n');
    expect(error.message).toMatch(/\. Nothing was started; correct "provider" in the configuration\.$/);
  });
});
