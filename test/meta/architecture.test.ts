/** Imports run one way, in circles nowhere, and what is pure stays pure: read from the sources themselves. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import test from 'ava';

const SRC = resolve('src');

/** A file may import from its own layer and from those before it. */
const LAYERS: readonly (readonly string[])[] = [
  ['realms.ts', 'errors.ts'],
  ['protocol'],
  [
    'transport/connection.ts',
    'transport/rate-limit.ts',
    'transport/stream-rate.ts',
    'transport/violations.ts',
    'transport/identity.ts',
    'transport/crl.ts',
    'transport/der-reader.ts',
    'transport/certificate-fields.ts',
    'transport/name-constraints.ts',
    'transport/key-strength.ts',
    'transport/chain-rules.ts',
    'transport/chain-paths.ts',
    'transport/pem.ts',
    'transport/tls-material.ts',
    'transport/tls-alerts.ts',
    'transport/abortable.ts',
    'transport/key-log.ts',
    'transport/frame-memory.ts',
    'transport/half-open.ts',
    'transport/local-addresses.ts',
    'transport/dial-address.ts',
    'transport/go-away.ts',
    'transport/class-turns.ts',
    'transport/contention.ts',
    'transport/delay-window.ts',
    'transport/fifo.ts',
    'transport/newcomer-turns.ts',
    'transport/verified-chains.ts',
  ],
  ['transport/tcp', 'transport/quic'],
  [
    'transport/handshaker.ts',
    'transport/reach-memory.ts',
    'transport/race.ts',
    'transport/discovery.ts',
    'transport/dial-turns.ts',
    'transport/dns-discovery.ts',
    'transport/manager.ts',
  ],
  ['pool'],
  ['calls'],
  ['telemetry', 'certs'],
  [
    'options.ts',
    'hidden.ts',
    'certificates.ts',
    'status.ts',
    'reports.ts',
    'peer.ts',
    'dialing.ts',
    'renewal.ts',
  ],
  ['link.ts', 'known-peers.ts', 'transports.ts'],
  ['node.ts'],
  ['index.ts', 'transport/index.ts'],
];

const PURE_FORBIDDEN = /^node:(?!buffer$|crypto$|zlib$)|^(pino|zod|node-forge|@matrixai\/quic)/;

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
  return LAYERS.findIndex((places) =>
    places.some((place) => path === place || path.startsWith(`${place}/`)),
  );
}

test('every file belongs to a layer, and every import leads to a file', (t) => {
  t.true(files.length > 30);
  const paths = new Set(files.map(({ path }) => path));
  for (const file of files) {
    t.not(layerOf(file.path), -1, `${file.path} is in no layer`);
    for (const imported of localImports(file))
      t.true(paths.has(imported), `${file.path} -> ${imported}`);
  }
});

test('imports run one way through the layers', (t) => {
  for (const file of files) {
    for (const imported of localImports(file)) {
      t.true(layerOf(imported) <= layerOf(file.path), `${file.path} must not import ${imported}`);
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

test('tcp and quic know nothing of each other', (t) => {
  for (const file of files) {
    for (const imported of localImports(file)) {
      const crosses =
        (file.path.startsWith('transport/tcp/') && imported.startsWith('transport/quic/')) ||
        (file.path.startsWith('transport/quic/') && imported.startsWith('transport/tcp/'));
      t.false(crosses, `${file.path} must not import ${imported}`);
    }
  }
});

test('only quic/native.ts loads the binding', (t) => {
  const loaders = files.filter(({ imports }) =>
    imports.some((name) => name.startsWith('@matrixai/')),
  );
  t.deepEqual(
    loaders.map(({ path }) => path),
    ['transport/quic/native.ts'],
  );
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
