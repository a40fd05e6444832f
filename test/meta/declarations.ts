/** Reads the declaration files that tsc emits: what each declares, imports and passes on. Knows their layout, not all of TypeScript. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

/** What a module of the package says of one name that it declares. */
export interface Declaration {
  readonly name: string;
  /** Without comments. Several of one name (a type and a constant, overloads) follow each other. */
  readonly texts: string[];
  /** Whether it is a class, an interface or a type: what other declarations name. */
  isType: boolean;
  /** Whether a doc comment stands before it. */
  readonly isDocumented: boolean;
}

/** Where a name comes from. */
export interface Binding {
  /** The path of the declaration file; `undefined` for one of another package. */
  readonly path: string | undefined;
  readonly name: string;
}

/** One declaration file. */
export interface DeclarationFile {
  readonly path: string;
  readonly declared: ReadonlyMap<string, Declaration>;
  readonly imported: ReadonlyMap<string, Binding>;
  /** Files and packages whose declarations a compiler reads for these: paths for files of the package. */
  readonly reads: readonly string[];
  /** What other modules may import, by the name under which they do. */
  readonly exported: ReadonlyMap<string, Binding>;
}

/** All declaration files below a folder, by their paths in it. */
export function readDeclarations(folder: string): ReadonlyMap<string, DeclarationFile> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return new Map(
    paths
      .filter((path) => path.endsWith('.d.ts'))
      .map((path) => [path, parse(path, readFileSync(join(folder, path), 'utf8'))]),
  );
}

/** A list of names, as imports and exports have it. */
const NAMES = /^(import|export)\s+(?:type\s+)?\{([^}]*)\}(?:\s*from\s*'([^']+)')?;$/s;
/** What is imported otherwise is of another package, and no part of a report. */
const FOREIGN = /^import\s[^{}]*from\s*'[^.'][^']*';$/;
const DECLARED =
  /^(export\s+)?(?:declare\s+)?(?:abstract\s+)?(class|interface|type|const|function)\s+([\w$]+)/;

const DOCUMENTED =
  /\*\/\n(?:export )?(?:declare )?(?:abstract )?(?:class|interface|type|const|function) ([\w$]+)/g;

/** @throws Error for a statement that is not understood: a report must not pass over what it does not know */
function parse(path: string, text: string): DeclarationFile {
  const documented = new Set([...text.matchAll(DOCUMENTED)].map(([, name]) => name));
  const declared = new Map<string, Declaration>();
  const imported = new Map<string, Binding>();
  const exported = new Map<string, Binding>();
  const bare = withoutComments(text);
  const reads = [...bare.matchAll(/from\s*'([^']+)'/g)].map(
    ([, specifier = '']) => targetOf(path, specifier) ?? specifier,
  );
  for (const statement of statementsOf(bare)) {
    const names = NAMES.exec(statement);
    if (names !== null) {
      const [, keyword, list = '', from] = names;
      for (const [original, name] of listed(list)) {
        const binding = { path: targetOf(path, from), name: original };
        if (keyword === 'import') imported.set(name, binding);
        else exported.set(name, from === undefined ? { path, name: original } : binding);
      }
      continue;
    }
    if (FOREIGN.test(statement)) continue;
    const declaration = DECLARED.exec(statement);
    if (declaration === null) throw new Error(`${path}: cannot read: ${statement}`);
    const [, isExported, keyword = '', name = ''] = declaration;
    const isType = ['class', 'interface', 'type'].includes(keyword);
    const isDocumented = documented.has(name);
    const known = declared.get(name) ?? { name, texts: [], isType, isDocumented };
    known.texts.push(statement);
    known.isType ||= isType;
    declared.set(name, known);
    if (isExported !== undefined) exported.set(name, { path, name });
  }
  return { path, declared, imported, reads, exported };
}

/** Pairs of the name that the other module uses, and the one used here. */
function listed(list: string): (readonly [string, string])[] {
  return list
    .split(',')
    .map((entry) => entry.trim().replace(/^type\s+/, ''))
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [original = '', name = original] = entry.split(/\s+as\s+/);
      return [original, name] as const;
    });
}

function targetOf(path: string, specifier: string | undefined): string | undefined {
  if (specifier === undefined || !specifier.startsWith('.')) return undefined;
  const target = resolve('/', dirname(path), specifier.replace(/\.js$/, '.d.ts'));
  return relative('/', target);
}

/** Comments are for readers: they change without changing what a program may do. */
function withoutComments(text: string): string {
  return text
    .replace(/^\s*\/\*\*?.*?\*\/\n/gms, '')
    .replace(/\/\*.*?\*\//gs, '')
    .replace(/^\/\/#.*$/gm, '');
}

/** A statement begins at a line's beginning, and ends before the next one that does. */
function statementsOf(text: string): string[] {
  const statements = text.split(/\n(?=[a-z])/).map((statement) => statement.trim());
  return statements.filter((statement) => statement !== '' && statement !== 'export {};');
}
