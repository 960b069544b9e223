/**
 * What must hold for the libraries and can be read off their source: no clock, no chance, no waiting, no log, no
 * environment, no mutable module state, SQL only in its files, imports in one direction, nothing that switches the
 * type checker off, and no file of ours is written in place. `tidy.test.ts` runs it over the tree.
 *
 * The source is read with TypeScript's own parser and binder, each file by itself and without the standard library.
 * So a name that the binder cannot resolve is a global of the runtime, and a parameter that happens to be called
 * `setTimeout` is not.
 */
import ts from 'typescript';

/** A source file: its path from the root of the repository, with `/`, and its text. */
export interface Source {
  readonly path: string;
  readonly text: string;
}

/** What is read of a `package.json`: its path from the root of the repository, and its text. */
export type Manifest = Source;

export type Rule =
  | 'clock'
  | 'chance'
  | 'sleep'
  | 'log'
  | 'environment'
  | 'state'
  | 'sql'
  | 'direction'
  | 'door'
  | 'circle'
  | 'cast'
  | 'any'
  | 'non-null'
  | 'catch'
  | 'cut'
  | 'undocumented'
  | 'in-place'
  | 'exception';

export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly rule: Rule;
  readonly what: string;
}

/**
 * Everything in `sources` that breaks a rule, in the order of the files.
 *
 * A line is excepted from a rule by a comment on it, or on the line above it, that gives a reason:
 * `// tidy: allow sleep — the suite waits for a real channel`. One that excepts nothing is itself a violation.
 */
export function violations(sources: readonly Source[]): Violation[] {
  const { program, checker } = bind(sources);
  const types = declaredTypes(sources.flatMap(({ path }) => program.getSourceFile(path) ?? []));
  const circles = circleViolations(sources, program);
  return sources.flatMap((source) => {
    const file = program.getSourceFile(source.path);
    if (file === undefined) throw new Error(`${source.path} was not read`);
    const found: Violation[] = circles.filter(({ path }) => path === source.path);
    const report: Report = (node, rule, what) => {
      const line = file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1;
      found.push({ path: source.path, line, rule, what });
    };
    const visit = (node: ts.Node): void => {
      if (!ts.isStringLiteralLike(node) || !isModuleName(node)) checkSql(node, source.path, report);
      checkImport(node, source.path, report);
      checkGlobal(node, checker, report);
      checkTypes(node, source.path, report);
      checkCatch(node, report);
      checkCut(node, source.path, checker, report);
      checkStatics(node, types, report);
      ts.forEachChild(node, visit);
    };
    visit(file);
    checkModuleState(file, types, report);
    return withoutExceptions(source, found);
  });
}

/** Every entry of a `package.json` that goes against the direction of the packages. */
export function manifestViolations(manifests: readonly Manifest[]): Violation[] {
  return manifests.flatMap(({ path, text }) => {
    const lines = text.split('\n');
    return ['dependencies', 'peerDependencies', 'optionalDependencies', 'devDependencies'].flatMap((field) => {
      const dependencies: unknown = JSON.parse(text)[field] ?? {};
      return Object.keys(Object(dependencies)).flatMap((name) => {
        const what = wrongDirection(path, name);
        if (what === undefined) return [];
        const line = lines.findIndex((each) => each.includes(`"${name}"`)) + 1;
        return [{ path, line, rule: 'direction' as const, what }];
      });
    });
  });
}

/** One violation as a line for people: `packages/sweep/src/sweep.ts:12 clock: Date.now …`. */
export function described({ path, line, rule, what }: Violation): string {
  return `${path}:${line} ${rule}: ${what}`;
}

type Report = (node: ts.Node, rule: Rule, what: string) => void;

// ── direction ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** What each package and app may import of ours. Who is missing here may import nothing, and nobody may import an app. */
const DIRECTION: Readonly<Record<string, readonly string[]>> = {
  'packages/session-db': [],
  'packages/sweep': ['session-db'],
  'packages/delivery': ['session-db'],
  'packages/runner': ['session-db'],
  'packages/containers': ['session-db'],
  'packages/channels': ['session-db'],
  'packages/registry': ['session-db'],
  'packages/guard': ['session-db'],
  'packages/providers': ['session-db', 'runner'],
  'packages/host': ['session-db', 'guard', 'sweep', 'delivery', 'containers', 'channels', 'registry'],
  'packages/simulation': [
    'session-db',
    'guard',
    'sweep',
    'delivery',
    'runner',
    'providers',
    'containers',
    'channels',
    'registry',
    'host',
  ],
  // The apps only to be built before it: it starts them.
  'packages/hostile': ['session-db', 'guard', 'runner', 'channels', 'host-app', 'agent-runner'],
  'apps/host': ['session-db', 'guard', 'containers', 'channels', 'registry', 'host'],
  'apps/agent-runner': ['session-db', 'runner', 'providers'],
};

/** Why the file at `path` may not import `specifier`; `undefined` where it may. */
function wrongDirection(path: string, specifier: string): string | undefined {
  const home = path.split('/').slice(0, 2).join('/');
  if (specifier.startsWith('.')) {
    const target = resolved(path, specifier);
    return target.startsWith(`${home}/`) ? undefined : `${specifier} leaves the package; import it by its name`;
  }
  const name = /^@nanoclaw\/([^/]+)/.exec(specifier)?.[1];
  if (name === undefined || `packages/${name}` === home) return undefined;
  const allowed = DIRECTION[home] ?? [];
  if (allowed.includes(name)) return undefined;
  const list = allowed.length === 0 ? 'nothing of ours' : `only ${allowed.join(', ')}`;
  return `${home} may import ${list}, not ${specifier}`;
}

/** The path from the root of the repository that a relative import of the file at `path` means. */
export function resolved(path: string, specifier: string): string {
  const parts = path.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

// ── rooms and circles ─────────────────────────────────────────────────────────────────────────────────────────────

/** The packages whose folders are rooms: they are entered by their `index.ts` alone. */
const ROOMS = /^(packages\/host\/src)\/([^/]+)\//;

/** Why a file may not import another room's file; `undefined` where it may. */
function pastTheDoor(path: string, specifier: string): string | undefined {
  const [, source, room] = ROOMS.exec(path) ?? [];
  if (room === undefined || !specifier.startsWith('.')) return undefined;
  const target = resolved(path, specifier);
  const [, , other] = ROOMS.exec(target) ?? [];
  if (other === undefined || other === room || target === `${source}/${other}/index.ts`) return undefined;
  return `${specifier} goes past the door of ${other}/; import its index.ts`;
}

/** Every file that can come back to itself by imports, and every room that can: each circle is told once. */
function circleViolations(sources: readonly Source[], program: ts.Program): Violation[] {
  const files = new Map<string, Set<string>>();
  const rooms = new Map<string, Set<string>>();
  const known = new Set(sources.map(({ path }) => path));
  for (const { path } of sources) {
    const file = program.getSourceFile(path);
    const targets = file === undefined ? [] : importsOf(file).filter((each) => each.startsWith('.'));
    for (const target of targets.map((each) => resolved(path, each))) {
      if (known.has(target)) add(files, path, target);
      const [from, to] = [ROOMS.exec(path)?.[2], ROOMS.exec(target)?.[2]];
      if (from !== undefined && to !== undefined && from !== to) add(rooms, from, to);
    }
  }
  const told = (what: string) => (circle: readonly string[]) => ({
    path:
      circle.find((each) => known.has(each)) ??
      sources.find(({ path }) => ROOMS.exec(path)?.[2] === circle[0])?.path ??
      '',
    line: 1,
    rule: 'circle' as const,
    what: `a circle of ${what}: ${[...circle, circle[0]].join(' → ')}`,
  });
  return [...circlesIn(files).map(told('files')), ...circlesIn(rooms).map(told('rooms'))];
}

function importsOf(file: ts.SourceFile): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const module = importedModule(node);
    if (module !== undefined) found.push(module);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

function add(graph: Map<string, Set<string>>, from: string, to: string): void {
  graph.set(from, (graph.get(from) ?? new Set()).add(to));
}

/** The shortest way from each node back to itself, where there is one; each circle once, by its first node. */
function circlesIn(graph: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const circles = new Map<string, string[]>();
  for (const start of graph.keys()) {
    const circle = wayBack(graph, start);
    const key = circle?.toSorted().join(' ');
    if (circle !== undefined && key !== undefined && !circles.has(key)) circles.set(key, circle);
  }
  return [...circles.values()];
}

function wayBack(graph: ReadonlyMap<string, ReadonlySet<string>>, start: string): string[] | undefined {
  const before = new Map<string, string>();
  const queue = [start];
  for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
    for (const next of graph.get(node) ?? []) {
      if (next === start) {
        const way = [node];
        for (let at = node; at !== start; at = way[0] ?? start) way.unshift(before.get(at) ?? start);
        return way;
      }
      if (before.has(next)) continue;
      before.set(next, node);
      queue.push(next);
    }
  }
  return undefined;
}

// ── the world outside ─────────────────────────────────────────────────────────────────────────────────────────────

const MODULES: Readonly<Record<string, Rule>> = {
  perf_hooks: 'clock',
  timers: 'sleep',
  'timers/promises': 'sleep',
  console: 'log',
  process: 'environment',
  bun: 'environment',
};

const GLOBALS: Readonly<Record<string, Rule>> = {
  performance: 'clock',
  setTimeout: 'sleep',
  setInterval: 'sleep',
  setImmediate: 'sleep',
  console: 'log',
  process: 'environment',
  Bun: 'environment',
  Deno: 'environment',
  globalThis: 'environment',
  global: 'environment',
};

const MEMBERS: Readonly<Record<string, Rule>> = {
  'Date.now': 'clock',
  'Temporal.Now': 'clock',
  'Math.random': 'chance',
  'AbortSignal.timeout': 'sleep',
  'Atomics.wait': 'sleep',
  'Atomics.waitAsync': 'sleep',
};

const RANDOM: ReadonlySet<string> = new Set([
  'randomUUID',
  'randomUUIDv7',
  'randomBytes',
  'randomInt',
  'randomFill',
  'randomFillSync',
  'getRandomValues',
]);

/** Of `node:os`, what does not depend on the machine's state or on its environment. */
const PURE_OF_OS: ReadonlySet<string> = new Set(['constants', 'EOL']);

function checkImport(node: ts.Node, path: string, report: Report): void {
  const specifier = importedModule(node);
  if (specifier === undefined) return;
  const wrong = wrongDirection(path, specifier);
  if (wrong !== undefined) report(node, 'direction', wrong);
  const pastDoor = pastTheDoor(path, specifier);
  if (pastDoor !== undefined) report(node, 'door', pastDoor);
  checkWriting(node, path, specifier, report);
  // Apps are the world outside.
  if (isApp(path) || (ts.isImportDeclaration(node) && node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword)) {
    return;
  }

  const module = specifier.replace(/^node:/, '');
  const rule = MODULES[module];
  if (rule !== undefined) report(node, rule, `imports ${specifier}; take what is needed as an argument`);
  if (module === 'os' && !importedNames(node)?.every((name) => PURE_OF_OS.has(name))) {
    report(node, 'environment', `imports ${specifier}; take what is needed as an argument`);
  }
  for (const name of importedNames(node) ?? []) {
    if (RANDOM.has(name)) report(node, 'chance', `imports ${name}; take it as an argument`);
  }
}

/** The sources of what runs beside people's data. A file written in place is an empty one after a full disk. */
const KEEPERS = /^(packages\/(session-db|sweep|delivery|registry|channels|host)|apps\/host)\/src\//;

function checkWriting(node: ts.Node, path: string, specifier: string, report: Report): void {
  if (!KEEPERS.test(path) || !/^(node:)?fs(\/promises)?$/.test(specifier)) return;
  for (const name of importedNames(node) ?? []) {
    if (/^(writeFile|appendFile)(Sync)?$/.test(name))
      report(node, 'in-place', `${name}; use replaceFile of session-db`);
  }
}

/** The module that a node imports, re-exports or requires, in whatever form. */
function importedModule(node: ts.Node): string | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return literalText(node.moduleSpecifier);
  if (ts.isExternalModuleReference(node)) return literalText(node.expression);
  if (ts.isImportTypeNode(node))
    return ts.isLiteralTypeNode(node.argument) ? literalText(node.argument.literal) : undefined;
  if (!ts.isCallExpression(node)) return undefined;
  const isRequire = ts.isIdentifier(node.expression) && node.expression.text === 'require';
  return isRequire || node.expression.kind === ts.SyntaxKind.ImportKeyword ? literalText(node.arguments[0]) : undefined;
}

/** The names that an import takes out of its module; `undefined` for one that takes all of it. */
function importedNames(node: ts.Node): string[] | undefined {
  if (!ts.isImportDeclaration(node) || node.importClause?.name !== undefined) return undefined;
  const bindings = node.importClause?.namedBindings;
  if (bindings === undefined || !ts.isNamedImports(bindings)) return undefined;
  return bindings.elements.map((element) => (element.propertyName ?? element.name).text);
}

function checkGlobal(node: ts.Node, checker: ts.TypeChecker, report: Report): void {
  if (isApp(node.getSourceFile().fileName)) return;
  if (ts.isPropertyAccessExpression(node) || ts.isElementAccessExpression(node)) {
    const name = ts.isPropertyAccessExpression(node) ? node.name.text : literalText(node.argumentExpression);
    if (name === undefined) return;
    if (RANDOM.has(name)) report(node, 'chance', `${name}; take it as an argument`);
    if (ts.isMetaProperty(node.expression) && name === 'env') report(node, 'environment', 'import.meta.env');
    if (!ts.isIdentifier(node.expression) || !isGlobal(node.expression, checker)) return;
    const rule = MEMBERS[`${node.expression.text}.${name}`];
    if (rule !== undefined) report(node, rule, `${node.expression.text}.${name}; take it as an argument`);
    return;
  }
  const isNew = ts.isNewExpression(node) && (node.arguments ?? []).length === 0;
  if ((isNew || ts.isCallExpression(node)) && ts.isIdentifier(node.expression)) {
    const isDate = node.expression.text === 'Date' && isGlobal(node.expression, checker);
    if (isDate) report(node, 'clock', `${isNew ? 'new Date()' : 'Date()'}; take \`now\` as an argument`);
  }
  if (!ts.isIdentifier(node) || !isReference(node) || !isGlobal(node, checker)) return;
  const rule = Object.hasOwn(GLOBALS, node.text) ? GLOBALS[node.text] : undefined;
  if (rule !== undefined) report(node, rule, `${node.text}; take what is needed as an argument`);
}

/** Whether an identifier stands for a value, as opposed to naming a member, a declaration or a type. */
function isReference(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent) || ts.isMetaProperty(parent)) return parent.name !== node;
  if (ts.isImportSpecifier(parent) || ts.isExportSpecifier(parent)) return false;
  for (let above: ts.Node = parent; ts.isQualifiedName(above) || ts.isTypeNode(above); above = above.parent)
    return false;
  return true;
}

/** Whether nothing in the file declares the name. */
function isGlobal(node: ts.Identifier, checker: ts.TypeChecker): boolean {
  const symbol = ts.isShorthandPropertyAssignment(node.parent)
    ? checker.getShorthandAssignmentValueSymbol(node.parent)
    : checker.getSymbolAtLocation(node);
  return (symbol?.declarations ?? []).length === 0;
}

// ── SQL ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Where SQL may be: by name (schemas and their migrations, dialects, sessions, stores, histories, drivers), and in session-db one file per table or task. */
const SQL_FILES = [
  /^packages\/[\w-]+\/src\/([\w-]+\/)?(schema|registry|dialect|[\w-]+-(session|store|history)|sqlite(\/\w+)?)\.ts$/,
  /^packages\/registry\/src\/migrations\/[\w-]+\.ts$/,
  /^packages\/host\/src\/data\/(database-copy|lease)\.ts$/,
  /^packages\/session-db\/src\/(open|untrusted|recovery|retention|routing|series|deliveries|trouble|snapshot|probe|import-v2|dead-letters|deferrals|notices|timeline|received)\.ts$/,
];

function mayHoldSql(path: string): boolean {
  return SQL_FILES.some((pattern) => pattern.test(path));
}

const SQL =
  /^\s*(--.*\n\s*)*((SELECT|INSERT|PRAGMA|SAVEPOINT|RELEASE|ATTACH|DETACH|DELETE FROM|REPLACE INTO|ALTER TABLE|DROP (TABLE|INDEX|VIEW|TRIGGER)|CREATE (UNIQUE|TEMP|TABLE|INDEX|VIEW|TRIGGER|VIRTUAL)|UPDATE \w+ SET|WITH \w+ (\(.*\) )?AS|VALUES \()\s*\S|(BEGIN( IMMEDIATE| EXCLUSIVE| DEFERRED)?|COMMIT|ROLLBACK|VACUUM|REINDEX)\s*;?\s*$)/s;

/** Lower case too, but only what no English sentence looks like. */
const LOWER_CASE_SQL =
  /^\s*(select\s+(\*|[\w.]+\s*,\s*[\w.]+)[^.!]*\sfrom\s+\w+|insert\s+into\s+\w+\s*(\(|values)|update\s+\w+\s+set\s+\w+\s*=|delete\s+from\s+\w+\s+where\s|create\s+(table|index)\s+\w+|drop\s+(table|index)\s+\w+|pragma\s+\w+\s*(=|\())/i;

const CLOCK_IN_SQL =
  /\b(CURRENT_(TIMESTAMP|DATE|TIME)\b|(unixepoch|julianday|strftime|datetime)\s*\(|random(blob)?\s*\()/i;

function checkSql(node: ts.Node, path: string, report: Report): void {
  if (isApp(path)) return;
  const text = literalText(node);
  if (text === undefined) return;
  if (mayHoldSql(path)) {
    const clock = CLOCK_IN_SQL.exec(text)?.[0];
    if (clock !== undefined) report(node, 'sql', `${clock} in SQL; bind \`now\` (or the random value) as a parameter`);
  } else if (SQL.test(text) || LOWER_CASE_SQL.test(text)) {
    const start = text.trim().split(/\s+/).slice(0, 4).join(' ');
    report(node, 'sql', `"${start} …" outside the files named for SQL (see SQL_FILES in test/tidy.ts)`);
  }
}

/** The text of a string or template, with `?` for each expression in it. */
function literalText(node: ts.Node | undefined): string | undefined {
  if (node === undefined) return undefined;
  if (ts.isStringLiteralLike(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return undefined;
  return node.head.text + node.templateSpans.map((span) => `?${span.literal.text}`).join('');
}

function isModuleName(node: ts.Node): boolean {
  return ts.isImportDeclaration(node.parent) || ts.isExportDeclaration(node.parent);
}

// ── types and errors ──────────────────────────────────────────────────────────────────────────────────────────────

function checkTypes(node: ts.Node, path: string, report: Report): void {
  if (isApp(path)) return;
  const isCast = ts.isTypeAssertionExpression(node) || (ts.isAsExpression(node) && !isConst(node.type));
  if (isCast && !mayHoldSql(path))
    report(node, 'cast', `${node.getText()}; check the value, or type the row at its SQL`);
  if (node.kind === ts.SyntaxKind.AnyKeyword) report(node, 'any', 'any; use unknown and look');
  const isDefinite =
    (ts.isPropertyDeclaration(node) || ts.isVariableDeclaration(node)) && node.exclamationToken !== undefined;
  if (ts.isNonNullExpression(node) || isDefinite) report(node, 'non-null', `${node.getText()}; handle the absence`);
}

function isConst(type: ts.TypeNode): boolean {
  return ts.isTypeReferenceNode(type) && ts.isIdentifier(type.typeName) && type.typeName.text === 'const';
}

function checkCatch(node: ts.Node, report: Report): void {
  if (isApp(node.getSourceFile().fileName)) return;
  if (ts.isCatchClause(node) && node.block.statements.length === 0) report(node, 'catch', 'an empty catch');
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return;
  const method = node.expression.name.text;
  const position = method === 'catch' ? 0 : method === 'then' ? 1 : undefined;
  const handler = position === undefined ? undefined : node.arguments[position];
  if (handler === undefined || !(ts.isArrowFunction(handler) || ts.isFunctionExpression(handler))) return;
  const isEmpty = ts.isBlock(handler.body) && handler.body.statements.length === 0;
  if (isEmpty) report(handler, 'catch', 'a rejection handler that does nothing');
}

// ── cuts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Where text is cut; everything else calls it. */
const CUTTERS = /^packages\/(session-db\/src\/text|simulation|hostile)\//;

/** What they give is text, whatever they are called on. */
const TEXT_METHODS: ReadonlySet<string> = new Set(
  'normalize replace replaceAll toLowerCase toString toUpperCase toWellFormed trim trimEnd trimStart'.split(' '),
);

/** Names of what has one letter of ASCII after the other: ids, digests, dates. */
const PLAIN = /(?:^|[a-z])(?:id|Id|at|digest|hash|hex|iso)$/;

/** Text that is cut after a number of units ends in half a character. A place that was looked for is another matter. */
function checkCut(node: ts.Node, path: string, checker: ts.TypeChecker, report: Report): void {
  if (CUTTERS.test(path)) return;
  if (
    ts.isTemplateExpression(node) &&
    hasEllipsis(node) &&
    node.templateSpans.some(({ expression }) => hasSlice(expression))
  ) {
    report(node, 'cut', 'an ellipsis behind a slice; use cut, beginning or ending of session-db/text');
    return;
  }
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return;
  const { name, expression: of } = node.expression;
  if (!SLICES.test(name.text) || !isFixedEnd(node.arguments) || PLAIN.test(lastName(of)) || isNumber(node.parent))
    return;
  if (name.text !== 'slice' || isText(of, checker)) {
    report(node, 'cut', `${name.text} of a text; use cut, beginning or ending of session-db/text`);
  }
}

const SLICES = /^(?:slice|substring|substr)$/;

/** Whether what was cut is read as digits. */
function isNumber(node: ts.Node): boolean {
  return ts.isCallExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === 'Number';
}

function hasEllipsis({ head, templateSpans }: ts.TemplateExpression): boolean {
  return [head, ...templateSpans.map(({ literal }) => literal)].some(({ text }) => /…|\.\.\./.test(text));
}

function hasSlice(node: ts.Node): boolean {
  const isSlice =
    ts.isCallExpression(node) &&
    ts.isPropertyAccessExpression(node.expression) &&
    SLICES.test(node.expression.name.text);
  return isSlice || ts.forEachChild(node, (child) => hasSlice(child) || undefined) === true;
}

/** From the beginning, or up to the end, by so many units. */
function isFixedEnd([from, to]: readonly ts.Expression[]): boolean {
  if (from === undefined) return false;
  const isFromEnd = ts.isPrefixUnaryExpression(from) && isFixed(from.operand);
  return isFromEnd || (ts.isNumericLiteral(from) && from.text === '0' && to !== undefined && isFixed(to));
}

function isFixed(node: ts.Expression): boolean {
  if (ts.isBinaryExpression(node)) return isFixed(node.left) && isFixed(node.right);
  return ts.isNumericLiteral(node) || (ts.isIdentifier(node) && /^[A-Z][A-Z\d_]*$|(?:Max|max)$/.test(node.text));
}

function isText(node: ts.Expression, checker: ts.TypeChecker): boolean {
  if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
    return TEXT_METHODS.has(node.expression.name.text);
  }
  return (checker.getTypeAtLocation(node).flags & ts.TypeFlags.StringLike) !== 0;
}

function lastName(node: ts.Expression): string {
  return ts.isPropertyAccessExpression(node) ? node.name.text : ts.isIdentifier(node) ? node.text : '';
}

// ── module state ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Classes whose instances cannot be changed in any way that another caller would notice. */
const IMMUTABLE: ReadonlySet<string> = new Set(['RegExp', 'TextEncoder', 'Intl']);

type Types = ReadonlyMap<string, readonly (ts.InterfaceDeclaration | ts.TypeAliasDeclaration)[]>;

function checkModuleState(file: ts.SourceFile, types: Types, report: Report): void {
  if (isApp(file.fileName)) return;
  for (const statement of file.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    if (statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.DeclareKeyword) === true) continue;
    const isConstant = (statement.declarationList.flags & ts.NodeFlags.Const) !== 0;
    for (const declaration of statement.declarationList.declarations) {
      const name = declaration.name.getText();
      if (!isConstant)
        report(declaration, 'state', `${name} is a variable of the module; keep it in what the caller holds`);
      else if (isMutable(declaration, types)) report(declaration, 'state', mutableText(name));
    }
  }
}

function checkStatics(node: ts.Node, types: Types, report: Report): void {
  if (!ts.isPropertyDeclaration(node) || isApp(node.getSourceFile().fileName)) return;
  const has = (kind: ts.SyntaxKind) => node.modifiers?.some((modifier) => modifier.kind === kind) === true;
  if (!has(ts.SyntaxKind.StaticKeyword)) return;
  const isChangeable = !has(ts.SyntaxKind.ReadonlyKeyword) || isMutable(node, types);
  if (isChangeable) report(node, 'state', mutableText(node.name.getText()));
}

function mutableText(name: string): string {
  return `${name} can be changed by whoever reaches it; type it readonly, freeze it, or write \`as const\``;
}

/** Whether a constant holds a collection or an object that its type lets others change. */
function isMutable(
  { type, initializer }: { readonly type?: ts.TypeNode | undefined; readonly initializer?: ts.Expression | undefined },
  types: Types,
): boolean {
  const value = initializer === undefined ? undefined : withoutWrapping(initializer);
  if (value === undefined || (type !== undefined && isReadonly(type, types))) return false;
  if (ts.isArrayLiteralExpression(value) || ts.isObjectLiteralExpression(value)) return true;
  if (!ts.isNewExpression(value)) return false;
  const root = value.expression.getText().split('.')[0] ?? '';
  return !IMMUTABLE.has(root);
}

/** The expression inside parentheses and `satisfies`; `undefined` for one that `as const` or a freeze makes readonly. */
function withoutWrapping(expression: ts.Expression): ts.Expression | undefined {
  if (ts.isParenthesizedExpression(expression) || ts.isSatisfiesExpression(expression)) {
    return withoutWrapping(expression.expression);
  }
  return ts.isAsExpression(expression) && isConst(expression.type) ? undefined : expression;
}

/** Whether a type lets nobody change a value at its first level. A type that is declared elsewhere counts as no. */
function isReadonly(type: ts.TypeNode, types: Types): boolean {
  if (ts.isParenthesizedTypeNode(type)) return isReadonly(type.type, types);
  if (ts.isTypeOperatorNode(type)) return type.operator === ts.SyntaxKind.ReadonlyKeyword;
  if (ts.isUnionTypeNode(type) || ts.isIntersectionTypeNode(type))
    return type.types.every((each) => isReadonly(each, types));
  if (ts.isTypeLiteralNode(type)) return type.members.every(isReadonlyMember);
  if (!ts.isTypeReferenceNode(type)) return ts.isFunctionTypeNode(type);
  const name = type.typeName.getText();
  if (/^Readonly(Array|Map|Set)?$/.test(name)) return true;
  const declarations = types.get(name) ?? [];
  return declarations.length > 0 && declarations.every((each) => isReadonlyDeclaration(each, types));
}

function isReadonlyDeclaration(declaration: ts.InterfaceDeclaration | ts.TypeAliasDeclaration, types: Types): boolean {
  if (ts.isTypeAliasDeclaration(declaration)) return isReadonly(declaration.type, types);
  const parents = (declaration.heritageClauses ?? []).flatMap((clause) => clause.types);
  const inherited = parents.flatMap((parent) => types.get(parent.expression.getText()) ?? []);
  return declaration.members.every(isReadonlyMember) && inherited.every((each) => isReadonlyDeclaration(each, types));
}

function isReadonlyMember(member: ts.TypeElement): boolean {
  if (ts.isMethodSignature(member) || ts.isCallSignatureDeclaration(member)) return true;
  const modifiers = ts.canHaveModifiers(member) ? (ts.getModifiers(member) ?? []) : [];
  return modifiers.some(({ kind }) => kind === ts.SyntaxKind.ReadonlyKeyword);
}

function declaredTypes(files: readonly ts.SourceFile[]): Types {
  const types = new Map<string, (ts.InterfaceDeclaration | ts.TypeAliasDeclaration)[]>();
  for (const statement of files.flatMap((file) => [...file.statements])) {
    if (!ts.isInterfaceDeclaration(statement) && !ts.isTypeAliasDeclaration(statement)) continue;
    types.set(statement.name.text, [...(types.get(statement.name.text) ?? []), statement]);
  }
  return types;
}

// ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Apps, the entry points of programs, and attacks own the process; only the direction of their imports is checked. */
function isApp(path: string): boolean {
  return path.startsWith('apps/') || path.startsWith('packages/hostile/') || PROGRAMS.includes(path);
}

const PROGRAMS: readonly string[] = [
  'packages/simulation/src/main.ts',
  'packages/guard/src/guard-main.ts',
  // What `createHost` takes where its program hands nothing over.
  'packages/host/src/host/process-ports.ts',
];

function bind(sources: readonly Source[]): { program: ts.Program; checker: ts.TypeChecker } {
  const texts = new Map(sources.map(({ path, text }) => [path, text]));
  // Without the last, TypeScript looks for a package.json to word an error that nobody reads, and fails at having no folder.
  const options: ts.CompilerOptions = {
    noLib: true,
    noResolve: true,
    types: [],
    target: ts.ScriptTarget.ESNext,
    resolvePackageJsonImports: false,
  };
  const host: ts.CompilerHost = {
    getSourceFile(path, target) {
      const text = texts.get(path);
      return text === undefined ? undefined : ts.createSourceFile(path, text, target, true);
    },
    fileExists: (path) => texts.has(path),
    readFile: (path) => texts.get(path),
    writeFile: () => undefined,
    getDefaultLibFileName: () => 'lib.d.ts',
    getCurrentDirectory: () => '',
    getCanonicalFileName: (path) => path,
    useCaseSensitiveFileNames: () => true,
    getNewLine: () => '\n',
  };
  const program = ts.createProgram([...texts.keys()], options, host);
  return { program, checker: program.getTypeChecker() };
}

/** Takes out what a comment with a reason excepts, and adds the comments that except nothing. */
function withoutExceptions(source: Source, found: readonly Violation[]): Violation[] {
  const used = new Set<number>();
  const exceptions = source.text.split('\n').flatMap((text, index) => {
    const [, rule, reason] = /\/\/ tidy: allow ([\w-]+)(?: — (\S.{9,}))?/.exec(text) ?? [];
    return rule === undefined ? [] : [{ line: index + 1, rule, hasReason: reason !== undefined }];
  });
  const kept = found.filter((violation) => {
    const exception = exceptions.find(
      ({ line, rule }) => rule === violation.rule && (line === violation.line || line === violation.line - 1),
    );
    if (exception?.hasReason !== true) return true;
    used.add(exception.line);
    return false;
  });
  const idle = exceptions.flatMap(({ line, rule, hasReason }): Violation[] => {
    if (used.has(line)) return [];
    const what = hasReason ? `nothing here breaks the rule "${rule}"` : 'the comment gives no reason';
    return [{ path: source.path, line, rule: 'exception', what }];
  });
  return [...kept, ...idle];
}
