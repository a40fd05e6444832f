/** What the build makes of the sources: few files, which wait for few packages, and maps that lead back. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import test from 'ava';
import type * as Quicmesh from '../../src/index.js';
import { nodeCert } from '../helpers/certs.js';

const require = createRequire(import.meta.url);
const { exports: targets } = require('../../package.json') as {
  exports: Record<string, string | { types: string; default: string }>;
};
const entries = Object.entries(targets).flatMap(([name, target]) =>
  typeof target === 'string' ? [] : [{ name, types: target.types, file: resolve(target.default) }],
);

interface Loaded {
  readonly files: readonly string[];
  readonly packages: readonly string[];
}

/** What Node.js loads before an entry runs: files of the build, and packages. */
function loadedBy(entry: string): Loaded {
  const files = new Set([entry]);
  const packages = new Set<string>();
  for (const file of files) {
    const text = readFileSync(file, 'utf8');
    for (const [, named = ''] of text.matchAll(/^(?:import|export)\b[^;'"]*"([^"]+)";$/gm)) {
      if (named.startsWith('.')) files.add(resolve(dirname(file), named));
      else if (!named.startsWith('node:')) packages.add(named);
    }
  }
  return { files: [...files], packages: [...packages] };
}

test('every entry is built, with its declarations', (t) => {
  t.is(entries.length, 5);
  for (const { types, file } of entries) t.true(existsSync(file) && existsSync(types), file);
});

/** What an entry needs in every process that uses it. */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  '.': ['valibot'],
  './certs': ['node-forge'],
};

test('entries are a handful of files, and wait for no package but what checks options and makes certificates', (t) => {
  for (const { name, file } of entries) {
    const { files, packages } = loadedBy(file);
    t.true(files.length > 1 && files.length <= 12, `${name}: ${files.length} files`);
    t.deepEqual(packages, NEEDED[name] ?? [], name);
  }
});

test('maps of what is built lead to the sources', (t) => {
  for (const file of new Set(entries.flatMap((entry) => loadedBy(entry.file).files))) {
    const map = JSON.parse(readFileSync(`${file}.map`, 'utf8')) as { sources: readonly string[] };
    for (const source of map.sources) {
      const path = resolve(dirname(file), source);
      t.true(path.startsWith(resolve('src')) && existsSync(path), path);
    }
  }
});

test('entries share what they have in common, and a call loads neither pino nor cbor-x', async (t) => {
  const [quicmesh, ...others] = (await Promise.all(
    entries.filter(({ name }) => name !== './certs').map(({ file }) => import(file)),
  )) as [typeof Quicmesh, ...{ MeshError: unknown }[]];
  for (const { MeshError } of others) t.is(MeshError, quicmesh.MeshError);
  const [n1, n2] = await Promise.all(
    (['n1', 'n2'] as const).map(async (nodeId) => {
      const { ca, cert, key } = await nodeCert(nodeId);
      const listen = { host: '127.0.0.1', port: 0 };
      return quicmesh.createNode({ nodeId, cluster: 'test', tls: { ca, cert, key }, listen });
    }),
  );
  if (n1 === undefined || n2?.address === undefined) throw new Error('no node');
  t.teardown(() => Promise.all([n1.close(), n2.close()]));
  n2.handle('query', ({ query }) => ({ result: query }));
  const peer = await n1.connect({ nodeId: 'n2', ...n2.address });
  t.is((await peer.request({ type: 'queryRequest', query: 'q' })).result, 'q');
  const loaded = Object.keys(require.cache);
  t.true(loaded.some((path) => path.includes('lz4-napi')));
  t.deepEqual(
    loaded.filter((path) => /node_modules\/(pino|cbor-x)\//.test(path)),
    [],
  );
});
