/** The mesh command over each transport, with files, and ended in every way. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { stillAlive } from '../helpers/mesh-command.js';
import {
  assertAllLinked,
  command,
  type MeshDirectories,
  running,
  runToEnd,
} from '../helpers/mesh-run.js';

const test = anyTest as TestFn<MeshDirectories>;

// All share the certificates.
test.before(async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-mesh-'));
  t.context = { directory, certs: join(directory, 'certs') };
});

test.after.always((t) => rm(t.context.directory, { recursive: true, force: true }));

for (const transport of ['quic', 'tcp']) {
  test.serial(`with --transport ${transport}, all links are that and no call fails`, async (t) => {
    await assertAllLinked(t, transport, transport);
  });
}

test.serial('a file is streamed to every other node, and all of them verify it', async (t) => {
  const content = randomBytes(5 * 1024 * 1024 + 1);
  const path = join(t.context.directory, 'random.bin');
  await writeFile(path, content);
  const { summary } = await runToEnd(t, ['--nodes', '3', '--file', path]);
  t.deepEqual(summary.transfer, {
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    verifiedBy: ['n2', 'n3'],
  });
});

test.serial('an empty file is a file', async (t) => {
  const path = join(t.context.directory, 'empty');
  await writeFile(path, '');
  const { summary } = await runToEnd(t, ['--nodes', '2', '--file', path]);
  t.like(summary.transfer, { bytes: 0, verifiedBy: ['n2'] });
});

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test.serial(`${signal} ends the command and every node at once, with code ${code}`, async (t) => {
    const mesh = await running(t);
    const startMs = performance.now();
    mesh.child.kill(signal);
    t.deepEqual(await mesh.ended, { code, signal: null });
    // Left alone it would go on for a minute.
    t.true(performance.now() - startMs < 20_000);
    t.deepEqual(await stillAlive(mesh.nodePids, 0), []);
    t.regex(mesh.stderr, new RegExp(`mesh: stopped by ${signal}`));
    t.is(mesh.stdout, '', 'there is no result to print');
  });
}

test.serial('SIGINT while the nodes are starting leaves none behind', async (t) => {
  const mesh = command(t, ['--nodes', '3', '--json']);
  await mesh.said(/certs +(found|made)/);
  const pids = await mesh.childPids(3);
  mesh.child.kill('SIGINT');
  t.deepEqual(await mesh.ended, { code: 130, signal: null });
  t.deepEqual(await stillAlive(pids, 1000), []);
});

test.serial('nodes end by themselves when the command is killed', async (t) => {
  const mesh = await running(t);
  mesh.child.kill('SIGKILL');
  t.deepEqual(await mesh.ended, { code: null, signal: 'SIGKILL' });
  t.deepEqual(await stillAlive(mesh.nodePids, 10_000), []);
});

test.serial('a node that is lost ends the run with code 1 and is named', async (t) => {
  const mesh = await running(t);
  const pid = mesh.nodePids[1] as number;
  process.kill(pid, 'SIGKILL');
  t.deepEqual(await mesh.ended, { code: 1, signal: null });
  t.deepEqual(await stillAlive(mesh.nodePids, 0), []);
  t.true(
    mesh.stderr.includes(`mesh: n2 (pid ${pid}) was killed by SIGKILL during run`),
    mesh.stderr,
  );
});
