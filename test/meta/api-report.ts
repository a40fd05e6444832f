/**
 * What the package's entries promise to programs: the declarations of all that they export, and of what these name in turn.
 * Read from the declaration files that the build emits, so it is what an editor sees.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  type Binding,
  type Declaration,
  type DeclarationFile,
  readDeclarations,
} from './declarations.js';

const run = promisify(execFile);

/** Of one entry of the package. */
export interface ApiReport {
  /** As programs import it, such as `quicmesh/pool`. */
  readonly entry: string;
  /** Where the report is checked in. */
  readonly path: string;
  readonly text: string;
  /** Names that the entry exports. */
  readonly exported: readonly string[];
  /** Those of them that have no doc comment. */
  readonly undocumented: readonly string[];
  /** Packages whose types a program needs, too, to compile against it. */
  readonly packages: readonly string[];
  /** Names that its declarations use, and that it does not export itself. */
  readonly named: readonly string[];
}

/** The reports of every entry that `package.json` lists, from the sources as they are now. */
export async function createApiReports(): Promise<readonly ApiReport[]> {
  const folder = await mkdtemp(join(tmpdir(), 'quicmesh-api-'));
  try {
    const options = ['--emitDeclarationOnly', '--declarationMap', 'false', '--outDir', folder];
    await run('npx', ['tsc', '-p', 'tsconfig.build.json', ...options]);
    const files = readDeclarations(folder);
    return (await entries()).map(({ entry, types }) => reportOf(entry, types, files));
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function entries(): Promise<{ entry: string; types: string }[]> {
  const manifest = JSON.parse(await readFile('package.json', 'utf8')) as {
    name: string;
    exports: Record<string, string | { types: string }>;
  };
  return Object.entries(manifest.exports).flatMap(([key, target]) => {
    if (typeof target === 'string') return [];
    const types = target.types.replace('./dist/', '');
    return [{ entry: key.replace('.', manifest.name), types }];
  });
}

function reportOf(
  entry: string,
  types: string,
  files: ReadonlyMap<string, DeclarationFile>,
): ApiReport {
  const api = new Api(files);
  const index = files.get(types);
  if (index === undefined) throw new Error(`${entry} has no declarations at ${types}`);
  const exported = [...index.exported].map(([name, binding]) => {
    const found = api.find(binding);
    if (found === undefined) throw new Error(`${entry}: ${name} is declared nowhere`);
    return { ...found, name };
  });
  const others = api
    .reachedFrom(exported)
    .map(({ declaration }) => ({ declaration, name: declaration.name }));
  const sections = [`Exports of ${entry}`, ...textsOf(exported)];
  if (others.length > 0) sections.push('Named by these, not exported here', ...textsOf(others));
  const file = entry.replace(/^[^/]+\/?/, '') || 'index';
  return {
    entry,
    path: `test/meta/api/${file}.txt`,
    text: `${sections.join('\n\n')}\n`,
    exported: [...index.exported.keys()],
    undocumented: exported
      .filter(({ declaration }) => !declaration.isDocumented)
      .map(({ name }) => name),
    packages: api.packagesReadBy(index),
    named: others.map(({ name }) => name),
  };
}

interface Found {
  readonly file: DeclarationFile;
  readonly declaration: Declaration;
}

/** Finds declarations through all that is passed on. */
class Api {
  readonly #files: ReadonlyMap<string, DeclarationFile>;

  constructor(files: ReadonlyMap<string, DeclarationFile>) {
    this.#files = files;
  }

  /** `undefined` for what another package declares. */
  find({ path, name }: Binding): Found | undefined {
    const file = path === undefined ? undefined : this.#files.get(path);
    if (file === undefined) return undefined;
    const declaration = file.declared.get(name);
    if (declaration !== undefined) return { file, declaration };
    const passedOn = file.exported.get(name) ?? file.imported.get(name);
    if (passedOn === undefined) return undefined;
    return passedOn.path === path && passedOn.name === name
      ? this.#findImported(file, name)
      : this.find(passedOn);
  }

  /** Packages that a compiler reads for this file, and for those that it reads in turn. */
  packagesReadBy(index: DeclarationFile): string[] {
    const read = new Set<string>(index.reads);
    for (const path of read) for (const next of this.#files.get(path)?.reads ?? []) read.add(next);
    return [...read].filter((path) => !this.#files.has(path)).sort();
  }

  /** What these name that is not among them, what that names, and so on. */
  reachedFrom(roots: readonly Found[]): Found[] {
    const known = new Set(roots.map(({ declaration }) => declaration));
    const reached: Found[] = [];
    const queue = [...roots];
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      for (const named of this.namedBy(next)) {
        if (known.has(named.declaration)) continue;
        known.add(named.declaration);
        reached.push(named);
        queue.push(named);
      }
    }
    return reached;
  }

  /** The types that a declaration names, and the values of which it takes the type. */
  namedBy({ file, declaration }: Found): Found[] {
    const text = declaration.texts.join('\n').replace(/"[^"]*"|'[^']*'/g, '');
    const found: Found[] = [];
    for (const [, typeOf, name = ''] of text.matchAll(/\b(typeof\s+)?([A-Za-z_$][\w$]*)/g)) {
      const own = file.declared.get(name);
      const named = own === undefined ? this.#findImported(file, name) : { file, declaration: own };
      if (named === undefined || named.declaration === declaration) continue;
      if (named.declaration.isType || typeOf !== undefined) found.push(named);
    }
    return found;
  }

  #findImported(file: DeclarationFile, name: string): Found | undefined {
    const imported = file.imported.get(name);
    return imported === undefined ? undefined : this.find(imported);
  }
}

function textsOf(all: readonly { declaration: Declaration; name: string }[]): string[] {
  return [...all]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ declaration, name }) => {
      const text = declaration.texts.map((part) => part.replace(/^export /, '')).join('\n');
      return name === declaration.name ? text : `${text}\nas ${name}`;
    });
}
