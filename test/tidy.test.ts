import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { undocumented } from './documented.ts';
import { described, manifestViolations, type Rule, type Source, violations } from './tidy.ts';

const root = join(import.meta.dirname, '..');

/** A library's file that is named for nothing in particular. */
const ANYWHERE = 'packages/session-db/src/planted.ts';

/** Each rule with sources that break it, and the file they stand in where that matters. */
const BROKEN: readonly (readonly [rule: Rule, text: string, path?: string])[] = [
  ['clock', 'export const now = () => Date.now();'],
  ['clock', 'export const now = () => new Date();'],
  ['clock', 'export const now = () => new Date;'],
  ['clock', 'export const now = () => Date();'],
  ['clock', 'export const now = () => performance.now();'],
  ['clock', "export const now = () => Date['now']();"],
  ['clock', 'export function pass(now = Date.now) { return now(); }'],
  ['clock', "import { performance } from 'node:perf_hooks';\nexport const p = performance;"],
  ['chance', 'export const dice = () => Math.random();'],
  ['chance', "import { randomUUID } from 'node:crypto';\nexport const id = () => randomUUID();"],
  ['chance', "import * as c from 'node:crypto';\nexport const id = () => c.randomBytes(8);"],
  ['chance', 'export const id = () => crypto.randomUUID();'],
  ['in-place', "import { writeFileSync } from 'node:fs';\nexport const w = writeFileSync;"],
  ['in-place', "import { writeFile } from 'node:fs/promises';\nexport const w = writeFile;"],
  ['sleep', 'export const later = (f: () => void) => setTimeout(f, 1);'],
  ['sleep', 'export const loop = { setInterval };'],
  ['sleep', "import { setTimeout as sleep } from 'node:timers/promises';\nexport const s = sleep;"],
  ['sleep', 'export const limit = () => AbortSignal.timeout(5);'],
  ['log', "export const say = () => console.log('hello');"],
  ['environment', "export const home = () => process.env['HOME'];"],
  ['environment', "import process from 'node:process';\nexport const p = process;"],
  ['environment', "import { tmpdir } from 'node:os';\nexport const t = tmpdir;"],
  ['environment', 'export const p = () => globalThis.process;'],
  ['environment', 'export const home = () => Bun.env;'],
  ['state', 'let count = 0;\nexport const next = () => (count += 1);'],
  ['state', 'export const seen = new Set<string>();'],
  ['state', 'const cache: Map<string, string> = new Map();\nexport const get = (k: string) => cache.get(k);'],
  ['state', "export const names = ['a'];"],
  ['state', 'export interface Policy { tries: number }\nexport const POLICY: Policy = { tries: 1 };'],
  ['state', 'export class Ids { static next = 0; }'],
  ['sql', "export const q = 'SELECT id FROM messages_in';"],
  ['sql', 'export const q = (table: string) => `DELETE FROM ${table} WHERE id = 1`;'],
  ['sql', "export const q = 'insert into t (a) values (1)';"],
  ['sql', 'export const q = `\n  -- why\n  UPDATE t SET a = 1`;'],
  ['sql', "export const q = `SELECT datetime('now')`;", 'packages/session-db/src/schema.ts'],
  ['direction', "import { a } from '@nanoclaw/sweep';\nexport const b = a;"],
  ['direction', "export type { A } from '@nanoclaw/host';", 'packages/sweep/src/a.ts'],
  ['direction', "export const a = await import('@nanoclaw/delivery');", 'packages/sweep/src/a.ts'],
  ['direction', "export { a } from '../../sweep/src/index.js';"],
  ['direction', "import { Runner } from '@nanoclaw/runner';\nexport const r = Runner;", 'apps/host/src/main.ts'],
  ['door', "import { a } from '../data/lease.ts';\nexport const b = a;", 'packages/host/src/runs/a.ts'],
  ['cast', 'export const f = (x: unknown) => x as string;'],
  ['cast', 'export const f = (x: unknown) => <string>x;'],
  ['any', 'export const f = (x: any) => x;'],
  ['any', 'export const f = (x: unknown) => x as any;', 'packages/session-db/src/schema.ts'],
  ['non-null', 'export const f = (x?: string) => x!.length;'],
  ['non-null', 'export class A { b!: string; }'],
  ['catch', 'export function f() { try { g(); } catch {} }\ndeclare const g: () => void;'],
  ['catch', 'export function f() { try { g(); } catch { /* later */ } }\ndeclare const g: () => void;'],
  ['catch', 'export const f = (p: Promise<void>) => p.catch(() => {});'],
  ['cut', 'export const f = (text: string) => text.slice(0, 80);'],
  ['cut', 'const NAME_MAX = 5;\nexport const f = (a: { name: string }) => a.name.slice(0, NAME_MAX);'],
  ['cut', 'export const f = (text: string, lengthMax: number) => text.slice(-lengthMax);'],
  ['cut', 'export const f = (a: unknown) => String(a).trim().slice(0, 2 * 40 + 1);'],
  ['cut', 'export const f = (text: string, end: number) => `${text.slice(0, end)}…`;'],
  ['cut', "export const f = (text: string) => `${[...text].slice(0, 3).join('')}...`;"],
  ['cut', 'export const f = (text: string) => text.substring(0, 9);', 'apps/host/src/main.ts'],
  ['exception', '// tidy: allow clock — there is no clock here at all\nexport const one = 1;'],
  ['exception', '// tidy: allow clock\nexport const now = () => Date.now();'],
];

/** What looks like a violation and is none. */
const FINE: readonly (readonly [what: string, text: string, path?: string])[] = [
  ['a clock that is passed in', 'export const f = (Date: { now(): number }) => Date.now();'],
  [
    'a timer that is passed in',
    'export const f = (setTimeout: (f: () => void) => void) => setTimeout(() => f);\ndeclare const f: number;',
  ],
  ['a member that has a timer’s name', 'export const f = (timers: { setTimeout(): void }) => timers.setTimeout();'],
  ['a list that is cut', 'export const f = (texts: readonly string[]) => texts.slice(0, 5);'],
  ['a text up to what was found', "export const f = (text: string) => text.slice(0, text.indexOf(':'));"],
  ['digits', 'export const f = (text: string) => Number(text.slice(-2));'],
  ['a digest', 'export const f = (digest: string) => digest.slice(0, 12);'],
  ['a cut where text is cut', 'export const f = (t: string) => t.slice(0, 5);', 'packages/session-db/src/text/cut.ts'],
  ['the type of a timer', 'export interface Timers { set: typeof setTimeout; process: number }'],
  ['a date of a given time', 'export const f = (at: number) => new Date(at);'],
  ['a hash', "import { createHash } from 'node:crypto';\nexport const h = () => createHash('sha256');"],
  ['numbers of signals', "import { constants } from 'node:os';\nexport const s = constants;"],
  ['a readonly set', "export const KINDS: ReadonlySet<string> = new Set(['a']);"],
  ['a list as const', "export const KINDS = ['a'] as const satisfies readonly string[];"],
  ['a frozen object', 'export const A = Object.freeze({ b: 1 });'],
  ['an object of a readonly interface', 'export interface P { readonly a: number }\nexport const A: P = { a: 1 };'],
  [
    'a set inside a function',
    'export function f() { let n = 0; const s = new Set<number>(); return s.add((n += 1)); }',
  ],
  ['SQL in its file', "export const q = 'SELECT 1' as string;", 'packages/session-db/src/host-session.ts'],
  ['English', "export const hint = 'Select a chat from the list, or delete from it what you do not need.';"],
  ['an HTTP method', "export const m = 'DELETE';"],
  [
    'an import in the right direction',
    "import { a } from '@nanoclaw/session-db';\nexport const b = a;",
    'packages/sweep/src/a.ts',
  ],
  ['a sibling', "export { a } from './b/a.js';"],
  ['another room by its door', "export { a } from '../data/index.ts';", 'packages/host/src/runs/a.ts'],
  [
    'a catch that decides',
    'export function f() { try { return g(); } catch { return undefined; } }\ndeclare const g: () => void;',
  ],
  [
    'an exception with its reason',
    '// tidy: allow clock — the very thing that hands the clock out\nexport const now = () => Date.now();',
  ],
  [
    'an app',
    "export const now = () => Date.now();\nconsole.log(process.env['HOME'] as string);",
    'apps/host/src/main.ts',
  ],
];

describe('tidy', () => {
  for (const [rule, text, path = ANYWHERE] of BROKEN) {
    it(`finds what breaks the rule "${rule}": ${text}`, () => {
      expect(violations([{ path, text }]).map((violation) => violation.rule)).toContain(rule);
    });
  }

  for (const [what, text, path = ANYWHERE] of FINE) {
    it(`leaves alone ${what}`, () => {
      expect(violations([{ path, text }]).map(described)).toEqual([]);
    });
  }

  it('finds files that import each other, however long the way is, and tells each circle once', () => {
    const files = [
      ['a', 'b'],
      ['b', 'c'],
      ['c', 'a'],
      ['d', 'a'],
    ].map(([name, other]) => ({
      path: `packages/session-db/src/${name}.ts`,
      text: `import type { A } from './${other}.ts';\nexport type B = A;`,
    }));
    expect(violations(files).map(described)).toEqual([
      'packages/session-db/src/a.ts:1 circle: a circle of files: packages/session-db/src/a.ts → ' +
        'packages/session-db/src/b.ts → packages/session-db/src/c.ts → packages/session-db/src/a.ts',
    ]);
  });

  it('finds rooms that import each other, though none of their files does', () => {
    const files = [
      ['data', 'a', 'runs'],
      ['runs', 'b', 'data'],
    ].map(([room, name, other]) => ({
      path: `packages/host/src/${room}/${name}.ts`,
      text: `import type { A } from '../${other}/index.ts';\nexport type B = A;`,
    }));
    const rules = violations(files).map(({ rule, what }) => [rule, what]);
    expect(rules).toEqual([['circle', 'a circle of rooms: data → runs → data']]);
  });

  it('names the file, the line and the rule', () => {
    const text = '\nexport const now = () =>\n  Date.now();\n';
    expect(violations([{ path: 'packages/sweep/src/a.ts', text }]).map(described)).toEqual([
      'packages/sweep/src/a.ts:3 clock: Date.now; take it as an argument',
    ]);
  });

  it('finds a dependency against the direction in a package.json', () => {
    const text = '{\n  "devDependencies": {\n    "@nanoclaw/runner": "workspace:^"\n  }\n}';
    expect(manifestViolations([{ path: 'packages/sweep/package.json', text }]).map(described)).toEqual([
      'packages/sweep/package.json:3 direction: packages/sweep may import only session-db, not @nanoclaw/runner',
    ]);
  });

  it('finds nothing in the packages, nor against the direction in the apps', () => {
    const sources = packageFolders().flatMap((folder) => filesUnder(`${folder}/src`));
    expect(sources.length).toBeGreaterThan(40);
    expect(violations(sources.filter(({ path }) => path.endsWith('.ts'))).map(described)).toEqual([]);
  });

  it('finds no dependency against the direction in the package.json files', () => {
    const manifests = packageFolders().map((folder) => source(`${folder}/package.json`));
    expect(manifestViolations(manifests).map(described)).toEqual([]);
  });
});

describe('the doors', () => {
  it.each<[what: string, text: string, found: readonly string[]]>([
    ['a function', 'export function f() {}', ['f']],
    ['a comment that is for the file', '// a file\nexport const a = 1;', ['a']],
    ['a comment without words', '/** @internal */\nexport const a = 1;', ['a']],
    ['a member of an interface', '/** A. */\nexport interface A { readonly a: string; f(): void }', ['A.a', 'A.f']],
    ['a member in a member', '/** A. */\nexport interface A {\n/** B. */\nb: readonly { c: string }[] }', ['A.b.c']],
    ['a member of a case', "/** A. */\nexport type A = { type: 'b' } | { type: 'c'; reason: string };", ['A.reason']],
    ['a member of a class', '/** A. */\nexport class A { get a() { return 1; } static b() {} }', ['A.a', 'A.b']],
    [
      'a member that no interface has words for',
      '/** A. */\nexport class A implements B { b() {} }\ninterface B { b(): void }',
      ['A.b'],
    ],
  ])('ask for a doc comment on %s', (_what, text, found) => {
    const sources = [
      { path: 'packages/a/src/index.ts', text: "export * from './b.ts';" },
      { path: 'packages/a/src/b.ts', text },
    ];
    expect(undocumented(sources, ['packages/a/src/index.ts']).map(({ what }) => what)).toEqual(
      found.map((name) => `${name} has no doc comment`),
    );
  });

  it('ask for none on what stays inside, is another package’s, or says what it is', () => {
    const inside = [
      'export const hidden = 1;',
      '/** A. */ export class A extends Error implements B {',
      "  override readonly name = 'A'; #a = 1; private b = 2; constructor(readonly c: string) { super(); } d() {}",
      '}',
      '/** B. */ export interface B {',
      '/** D. */',
      'd(): void }',
      "/** C. */ export type C = { readonly type: 'c' };",
    ];
    const sources = [
      { path: 'packages/a/src/index.ts', text: "export { A, type C } from './b.ts';\nexport type { E } from 'e';" },
      { path: 'packages/a/src/b.ts', text: inside.join('\n') },
    ];
    expect(undocumented(sources, ['packages/a/src/index.ts'])).toEqual([]);
  });

  it('of the packages have a doc comment on each name and each member that they export', () => {
    const sources = packageFolders().flatMap((folder) => filesUnder(`${folder}/src`));
    const doors = packageFolders().flatMap((folder) => {
      const exported: Record<string, { readonly source: string }> =
        JSON.parse(source(`${folder}/package.json`).text).exports ?? {};
      return Object.values(exported).map((door) => `${folder}/${door.source.slice(2)}`);
    });
    expect(doors.length).toBeGreaterThan(20);
    expect(undocumented(sources, doors).map(described)).toEqual([]);
  });
});

describe('the repository', () => {
  it('names no package registry and no folder of a developer’s machine', () => {
    // In pieces, so that this file does not contain them.
    const forbidden = [
      ['registry', 'npmjs', 'org'].join('.'),
      ['registry', 'yarnpkg', 'com'].join('.'),
      ['npm', 'pkg', 'github', 'com'].join('.'),
      ...['main', 'shared', '.library'].map((folder) => ['', 'work', folder].join('/')),
      ['', 'Users', ''].join('/'),
    ];
    const found = filesUnder('.').flatMap(({ path, text }) =>
      text.split('\n').flatMap((line, index) => {
        const name = forbidden.find((each) => line.includes(each));
        return name === undefined ? [] : [`${path}:${index + 1} ${name}`];
      }),
    );
    expect(found).toEqual([]);
  });

  it('pins the Claude binary at the version of the agent SDK', () => {
    const { version } = JSON.parse(source('container/claude/binary.json').text);
    const { dependencies } = JSON.parse(source('apps/agent-runner/package.json').text);
    expect(dependencies['@anthropic-ai/claude-agent-sdk']).toBe(version);
  });
});

function packageFolders(): string[] {
  return ['packages', 'apps'].flatMap((parent) =>
    readdirSync(join(root, parent))
      .map((name) => `${parent}/${name}`)
      .filter((folder) => existsSync(join(root, folder, 'package.json'))),
  );
}

function source(path: string): Source {
  return { path, text: readFileSync(join(root, path), 'utf8') };
}

/** Every file under a folder of the repository that git would not ignore. */
function filesUnder(folder: string): Source[] {
  const entries = readdirSync(join(root, folder), { withFileTypes: true });
  return entries.flatMap((entry) => {
    const path = folder === '.' ? entry.name : `${folder}/${entry.name}`;
    if (isIgnored(path, entry.name)) return [];
    if (entry.isDirectory()) return filesUnder(path);
    return entry.isFile() ? [source(path)] : [];
  });
}

/** As the root's .gitignore says, whose patterns are names (with `/` at the end), paths (with one before) and endings. */
function isIgnored(path: string, name: string): boolean {
  return ['.git/', ...IGNORED].some((pattern) => {
    if (pattern.startsWith('*')) return name.endsWith(pattern.slice(1));
    const wanted = pattern.replace(/\/$/, '');
    return wanted.startsWith('/') ? `/${path}` === wanted : name === wanted;
  });
}

const IGNORED: readonly string[] = readFileSync(join(root, '.gitignore'), 'utf8')
  .split('\n')
  .map((line) => line.trim())
  .filter((line) => line !== '' && !line.startsWith('#'));
