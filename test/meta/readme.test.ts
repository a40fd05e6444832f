/** The README's promises that a machine can check: its example runs as it stands, its links lead somewhere. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

const run = promisify(execFile);
const readme = await readFile('README.md', 'utf8');

test('the example runs as it stands, in a project that has installed the package', async (t) => {
  const example = /```js\n(.*?)```/s.exec(readme)?.[1];
  t.truthy(example);
  t.true((example ?? '').trim().split('\n').length <= 25);
  const project = await mkdtemp(join(tmpdir(), 'quicmesh-readme-'));
  t.teardown(() => rm(project, { recursive: true }));
  await mkdir(join(project, 'node_modules'));
  await symlink(resolve('.'), join(project, 'node_modules', 'quicmesh'), 'dir');
  await writeFile(join(project, 'example.mjs'), example ?? '');
  const { stdout } = await run(process.execPath, ['example.mjs'], {
    cwd: project,
    timeout: 30_000,
  });
  t.is(stdout, 'n1 asked: select 1, over quic\n');
});

test('every entry point of the package resolves and exports what the README names', async (t) => {
  const names: Readonly<Record<string, readonly string[]>> = {
    quicmesh: ['createNode', 'MeshError'],
    'quicmesh/transport': ['QuicTransport', 'TcpTransport', 'TransportManager'],
    'quicmesh/protocol': ['FrameDecoder', 'encodeFrame', 'MessageCodec', 'acceptHandshake'],
    'quicmesh/certs': ['generateDevCerts', 'writeDevCerts'],
  };
  for (const [entry, exported] of Object.entries(names)) {
    const module: Record<string, unknown> = await import(entry);
    for (const name of exported) t.is(typeof module[name], 'function', `${entry} exports ${name}`);
  }
});

test('links within the repository lead to files', (t) => {
  const targets = [...readme.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(
    (match) => match[1] as string,
  );
  for (const target of targets.filter((link) => !link.startsWith('http'))) {
    t.true(existsSync(target), `README links to ${target}`);
  }
});

test('commands in the README are scripts of the package', async (t) => {
  const { scripts } = JSON.parse(await readFile('package.json', 'utf8')) as { scripts: object };
  for (const [, name] of readme.matchAll(/npm run ([a-z:]+)/g))
    t.true(Object.hasOwn(scripts, name as string), name);
});
