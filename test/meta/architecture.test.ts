/** Imports run one way, in circles nowhere, and what is pure stays pure: read from the sources themselves. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import test from 'ava';

const SRC = resolve('src');

/**
 * Folders, low to high. A file may import from its own folder and from those of lower layers, not from its neighbours'. The
 * first layer is what has no folder, and what belongs to everybody.
 */
const LAYERS: readonly (readonly string[])[] = [
  ['.', 'base'],
  ['protocol'],
  ['transport'],
  ['transport/trust', 'transport/priority', 'transport/admission', 'certs'],
  ['transport/mux', 'transport/quic/io'],
  ['transport/tcp', 'transport/quic/binding'],
  ['transport/quic/streams', 'transport/quic/admission', 'transport/quic/resumption'],
  ['transport/quic/paths', 'transport/quic/guards'],
  ['transport/quic/connection'],
  ['transport/quic/endpoint'],
  ['transport/quic'],
  ['transport/dialing'],
  ['pool'],
  ['calls'],
  ['calls/reading'],
  ['calls/outgoing', 'calls/adapters'],
  ['calls/transfers', 'calls/batching'],
  ['calls/incoming'],
  ['calls/session'],
  ['telemetry'],
  ['node/options'],
  ['node'],
];
/** What is imported from outside, and by nothing inside. */
const ENTRY = 'index.ts';

const PURE_FORBIDDEN =
  /^node:(?!buffer$|crypto$|zlib$)|^(pino|node-forge|@matrixai\/quic|@infisical\/quic)/;

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Specifiers of everything that the file imports, types included. */
  readonly imports: readonly string[];
}

const files: readonly SourceFile[] = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => {
    const text = readFileSync(join(SRC, path), 'utf8');
    const imports = [...text.matchAll(/(?:from|import\()\s*'([^']+)'/g)].map(
      (match) => match[1] as string,
    );
    return { path, text, imports };
  });

/** Files of src that a file imports. */
function localImports({ path, imports }: SourceFile): string[] {
  return imports
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) =>
      relative(SRC, resolve(SRC, dirname(path), specifier)).replace(/\.js$/, '.ts'),
    );
}

function layerOf(path: string): number {
  if (basename(path) === ENTRY) return LAYERS.length;
  return LAYERS.findIndex((folders) => folders.includes(dirname(path)));
}

function mayImport(from: string, to: string): boolean {
  if (basename(to) === ENTRY) return false;
  const [layer, lower] = [layerOf(from), layerOf(to)];
  if (lower !== layer) return lower < layer;
  return layer === 0 || dirname(from) === dirname(to);
}

test('every folder has its layer, and every import leads to a file', (t) => {
  t.true(files.length > 30);
  const paths = new Set(files.map(({ path }) => path));
  for (const file of files) {
    t.not(layerOf(file.path), -1, `${file.path} is in no layer`);
    for (const imported of localImports(file))
      t.true(paths.has(imported), `${file.path} -> ${imported}`);
  }
  const folders = new Set(files.map(({ path }) => dirname(path)));
  for (const folder of LAYERS.flat()) t.true(folders.has(folder), `nothing is in ${folder}`);
});

test('imports run one way through the folders', (t) => {
  for (const file of files) {
    for (const imported of localImports(file)) {
      t.true(mayImport(file.path, imported), `${file.path} must not import ${imported}`);
    }
  }
});

test('tcp and quic know nothing of each other, and nothing that serves a node knows of certs', (t) => {
  const apart: readonly (readonly [from: string, to: string])[] = [
    ['transport/tcp/', 'transport/quic/'],
    ['transport/quic/', 'transport/tcp/'],
    ['', 'certs/'],
  ];
  for (const file of files) {
    for (const imported of localImports(file)) {
      const crosses = apart.some(
        ([from, to]) =>
          file.path.startsWith(from) && !file.path.startsWith(to) && imported.startsWith(to),
      );
      t.false(crosses, `${file.path} must not import ${imported}`);
    }
  }
});

test('there are no import cycles', (t) => {
  const graph = new Map(files.map((file) => [file.path, localImports(file)]));
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    t.false(trail.includes(path), [...trail, path].join(' -> '));
    if (done.has(path) || trail.includes(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
});

test('only quic/binding loads the binding', (t) => {
  const loaders = files.filter(({ imports }) =>
    imports.some((name) => /^@(matrixai|infisical)\//.test(name)),
  );
  t.deepEqual([...new Set(loaders.map(({ path }) => dirname(path)))], ['transport/quic/binding']);
});

test('the protocol is pure: no sockets, files, timers, clocks or randomness', (t) => {
  for (const { path, text, imports } of files.filter((file) => file.path.startsWith('protocol/'))) {
    for (const name of imports) t.notRegex(name, PURE_FORBIDDEN, path);
    t.notRegex(
      text,
      /\b(setTimeout|setInterval|setImmediate|Date\.now|performance|Math\.random|randomBytes)\b/,
      path,
    );
  }
});
