/**
 * What an editor must be able to show: a doc comment on each name that a package's doors export, and on each member of
 * the classes and types among them. `tidy.test.ts` runs it over the tree.
 *
 * Read off the source, file by file, without the type checker: names are followed through the `export … from` of the
 * doors, and a member may take its words from an interface of the tree that its class implements, as editors do.
 */
import ts from 'typescript';
import { resolved, type Source, type Violation } from './tidy.ts';

/**
 * Everything behind `doors`, the paths of files in `sources`, that has no doc comment. Names of other packages are
 * theirs to document. What needs no comment: a member that can be but one value and tells the cases of a union apart, one
 * that is overridden, a constructor.
 */
export function undocumented(sources: readonly Source[], doors: readonly string[]): Violation[] {
  const files = new Files(sources);
  const found: Violation[] = [];
  const seen = new Set<ts.Node>();
  const report = (node: ts.Node, name: string): void => {
    const file = node.getSourceFile();
    const line = file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1;
    found.push({ path: file.fileName, line, rule: 'undocumented', what: `${name} has no doc comment` });
  };

  const checkMember = (member: ts.ClassElement | ts.TypeElement, of: string): void => {
    const { name } = member;
    if (name === undefined || ts.isPrivateIdentifier(name) || isHidden(member)) return;
    const label = `${of}.${name.getText()}`;
    const needsDoc = !isDiscriminant(member) && !isOverride(member) && !isInherited(member, name.getText());
    if (needsDoc && !hasDoc(member)) report(member, label);
    const { type } = member as Partial<ts.PropertyDeclaration>;
    if (type !== undefined) checkType(type, label);
  };
  const checkType = (type: ts.TypeNode, of: string): void => {
    if (ts.isTypeLiteralNode(type)) for (const member of type.members) checkMember(member, of);
    if (isWrapper(type)) ts.forEachChild(type, (child) => (ts.isTypeNode(child) ? checkType(child, of) : undefined));
  };
  const isInherited = (member: ts.Node, name: string): boolean => {
    if (!ts.isClassLike(member.parent)) return false;
    const parents = (member.parent.heritageClauses ?? []).flatMap(({ types }) => types);
    return parents
      .flatMap(({ expression }) => files.interfaces(expression.getText()))
      .some(({ members }) => members.some((each) => each.name?.getText() === name && hasDoc(each)));
  };

  for (const door of doors) {
    for (const [name, declarations] of exportsOf(door, files)) {
      const fresh = declarations.filter((each) => !seen.has(each));
      for (const each of fresh) seen.add(each);
      const [first] = fresh;
      if (first !== undefined && !declarations.some(hasDoc)) report(first, name);
      for (const each of fresh) {
        if (ts.isClassDeclaration(each) || ts.isInterfaceDeclaration(each)) {
          for (const member of each.members) checkMember(member, name);
        } else if ((ts.isTypeAliasDeclaration(each) || ts.isVariableDeclaration(each)) && each.type !== undefined) {
          checkType(each.type, name);
        }
      }
    }
  }
  return found;
}

/** The sources, each parsed when it is first asked for: most of them are behind no door. */
class Files {
  readonly #texts: ReadonlyMap<string, string>;
  readonly #parsed = new Map<string, ts.SourceFile>();

  constructor(sources: readonly Source[]) {
    this.#texts = new Map(sources.map(({ path, text }) => [path, text]));
  }

  get(path: string): ts.SourceFile | undefined {
    const text = this.#texts.get(path);
    const known = this.#parsed.get(path);
    if (text === undefined || known !== undefined) return known;
    const file = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true);
    this.#parsed.set(path, file);
    return file;
  }

  /** The interfaces of that name, wherever they are declared. */
  interfaces(name: string): ts.InterfaceDeclaration[] {
    const paths = [...this.#texts].filter(([, text]) => text.includes(`interface ${name} `)).map(([path]) => path);
    return paths
      .flatMap((path) => [...(this.get(path)?.statements ?? [])])
      .filter(ts.isInterfaceDeclaration)
      .filter((each) => each.name.text === name);
  }
}

type Exports = Map<string, readonly ts.Declaration[]>;

/** The declarations behind each name that a file exports, as far as they are in `files`. */
function exportsOf(path: string, files: Files): Exports {
  const all: Exports = new Map();
  const file = files.get(path);
  if (file === undefined) throw new Error(`${path} was not read`);
  for (const statement of file.statements) {
    if (!ts.isExportDeclaration(statement)) {
      for (const each of isExported(statement) ? declarationsIn(statement) : []) add(all, nameOf(each), [each]);
      continue;
    }
    const target = moduleOf(statement, path);
    if (target !== undefined && files.get(target) === undefined) continue;
    const inside = target === undefined ? localNames(file, files) : exportsOf(target, files);
    if (statement.exportClause === undefined) {
      for (const [name, each] of inside) add(all, name, each);
    } else if (ts.isNamedExports(statement.exportClause)) {
      for (const { name, propertyName } of statement.exportClause.elements) {
        add(all, name.text, inside.get((propertyName ?? name).text) ?? []);
      }
    }
  }
  return all;
}

/** What the names of a file stand for inside it: its own declarations, and those that it imports from `files`. */
function localNames(file: ts.SourceFile, files: Files): Exports {
  const all: Exports = new Map();
  for (const statement of file.statements) {
    for (const each of declarationsIn(statement)) add(all, nameOf(each), [each]);
    if (!ts.isImportDeclaration(statement)) continue;
    const target = moduleOf(statement, file.fileName);
    const bindings = statement.importClause?.namedBindings;
    if (bindings === undefined || !ts.isNamedImports(bindings)) continue;
    if (target === undefined || files.get(target) === undefined) continue;
    const inside = exportsOf(target, files);
    for (const { name, propertyName } of bindings.elements) {
      add(all, name.text, inside.get((propertyName ?? name).text) ?? []);
    }
  }
  return all;
}

function add(all: Exports, name: string, declarations: readonly ts.Declaration[]): void {
  all.set(name, [...(all.get(name) ?? []), ...declarations]);
}

/** The file from which a statement imports or exports; `undefined` for none. */
function moduleOf({ moduleSpecifier }: ts.ExportDeclaration | ts.ImportDeclaration, path: string): string | undefined {
  if (moduleSpecifier === undefined || !ts.isStringLiteral(moduleSpecifier)) return undefined;
  return moduleSpecifier.text.startsWith('.') ? resolved(path, moduleSpecifier.text) : moduleSpecifier.text;
}

function declarationsIn(statement: ts.Statement): ts.Declaration[] {
  if (ts.isVariableStatement(statement)) return [...statement.declarationList.declarations];
  const isNamed =
    ts.isFunctionDeclaration(statement) ||
    ts.isClassDeclaration(statement) ||
    ts.isInterfaceDeclaration(statement) ||
    ts.isTypeAliasDeclaration(statement) ||
    ts.isEnumDeclaration(statement);
  return isNamed ? [statement] : [];
}

function nameOf(declaration: ts.Declaration): string {
  return ts.getNameOfDeclaration(declaration)?.getText() ?? 'default';
}

/** A type whose parts are what its reader sees: `A | B`, `readonly A[]`, `Readonly<A>`. */
function isWrapper(type: ts.TypeNode): boolean {
  return (
    ts.isUnionTypeNode(type) ||
    ts.isIntersectionTypeNode(type) ||
    ts.isParenthesizedTypeNode(type) ||
    ts.isTypeOperatorNode(type) ||
    ts.isArrayTypeNode(type) ||
    ts.isTypeReferenceNode(type)
  );
}

function hasDoc(node: ts.Node): boolean {
  return ts.getJSDocCommentsAndTags(node).some((doc) => (ts.getTextOfJSDocComment(doc.comment) ?? '').trim() !== '');
}

function isDiscriminant(member: ts.Node): boolean {
  if (!ts.isPropertySignature(member) || member.questionToken !== undefined || member.type === undefined) return false;
  return ts.isLiteralTypeNode(member.type) || member.type.kind === ts.SyntaxKind.UniqueKeyword;
}

function isExported(statement: ts.Statement): boolean {
  return modifiersOf(statement).has(ts.SyntaxKind.ExportKeyword);
}

function isOverride(member: ts.Node): boolean {
  return modifiersOf(member).has(ts.SyntaxKind.OverrideKeyword);
}

function isHidden(member: ts.Node): boolean {
  const modifiers = modifiersOf(member);
  return modifiers.has(ts.SyntaxKind.PrivateKeyword) || modifiers.has(ts.SyntaxKind.ProtectedKeyword);
}

function modifiersOf(node: ts.Node): ReadonlySet<ts.SyntaxKind> {
  return new Set(ts.canHaveModifiers(node) ? ts.getModifiers(node)?.map(({ kind }) => kind) : []);
}
