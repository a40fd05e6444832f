import { execFile } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { TYPESCRIPT } from '../../scripts/children/typescript.js';
import { generateDevCerts, writeDevCerts } from '../../src/certs/index.js';
import { MeshError } from '../../src/errors.js';
import { opensslCerts } from '../helpers/openssl-certs.js';

test('an empty directory gets a CA and a certificate and key for each node', async (t) => {
  const directory = await makeDirectory(t);
  const { ca, caKey, nodes, paths, written } = await writeDevCerts(directory, ['n1', 'n2']);
  t.deepEqual((await readdir(directory)).sort(), [
    'ca-key.pem',
    'ca.pem',
    'n1-key.pem',
    'n1.pem',
    'n2-key.pem',
    'n2.pem',
  ]);
  t.is(await readFile(paths.ca, 'utf8'), ca);
  t.is(await readFile(paths.caKey, 'utf8'), caKey);
  t.is(await readFile(paths.nodes.n2.cert, 'utf8'), nodes.n2.cert);
  t.is(await readFile(paths.nodes.n2.key, 'utf8'), nodes.n2.key);
  t.is(written.length, 6);
  assertPair(t, nodes.n1, ca, 'n1');
  assertPair(t, nodes.n2, ca, 'n2');
});

test('a directory that does not exist is made', async (t) => {
  const directory = join(await makeDirectory(t), 'deep', 'down');
  const { paths } = await writeDevCerts(directory, ['n1']);
  t.is(paths.nodes.n1.cert, join(directory, 'n1.pem'));
});

test('keys are readable by their owner only, also when made anew, and certificates by everyone', async (t) => {
  const directory = await makeDirectory(t);
  for (const force of [false, true]) {
    await writeDevCerts(directory, ['n1'], { force });
    for (const file of ['ca-key.pem', 'n1-key.pem']) t.is(await modeOf(directory, file), 0o600);
    for (const file of ['ca.pem', 'n1.pem']) t.is(await modeOf(directory, file), 0o644);
  }
});

test('an existing key that others can read is closed to them', async (t) => {
  const directory = await makeDirectory(t);
  await writeDevCerts(directory, ['n1']);
  await chmod(join(directory, 'n1-key.pem'), 0o644);
  const { written } = await writeDevCerts(directory, ['n1']);
  t.deepEqual(written, []);
  t.is(await modeOf(directory, 'n1-key.pem'), 0o600);
});

test('what exists and is good is kept, and only new nodes are added', async (t) => {
  const directory = await makeDirectory(t);
  const first = await writeDevCerts(directory, ['n1']);
  const second = await writeDevCerts(directory, ['n1', 'n2']);
  t.is(second.ca, first.ca);
  t.deepEqual(second.nodes.n1, first.nodes.n1);
  t.deepEqual(
    [...second.written].sort(),
    [second.paths.nodes.n2.key, second.paths.nodes.n2.cert].sort(),
  );
  t.deepEqual((await writeDevCerts(directory, ['n1', 'n2'])).written, []);
});

test('force makes a new CA and new keys', async (t) => {
  const directory = await makeDirectory(t);
  const first = await writeDevCerts(directory, ['n1']);
  const second = await writeDevCerts(directory, ['n1'], { force: true });
  t.not(second.caKey, first.caKey);
  t.not(second.ca, first.ca);
  t.not(second.nodes.n1.key, first.nodes.n1.key);
  t.is(second.written.length, 4);
  assertPair(t, second.nodes.n1, second.ca, 'n1');
});

test('a certificate that is expired, of another CA, key or name, or no certificate is made anew', async (t) => {
  const directory = await makeDirectory(t);
  const { ca, caKey } = await writeDevCerts(directory, ['n1']);
  const existing = { ca, caKey };
  const notBefore = new Date('2020-01-01T00:00:00Z');
  const notAfter = new Date('2020-02-01T00:00:00Z');
  const expired = await generateDevCerts(['n1'], { existing, notBefore, notAfter });
  const otherCa = await generateDevCerts(['n1']);
  const otherName = await generateDevCerts(['n9'], { existing });
  const otherKey = await generateDevCerts(['n1'], { existing });
  for (const pair of [
    expired.nodes.n1,
    otherCa.nodes.n1,
    otherName.nodes.n9,
    { cert: otherKey.nodes.n1.cert },
    { cert: '' },
    { key: 'no key' },
  ]) {
    if ('cert' in pair) await writeFile(join(directory, 'n1.pem'), pair.cert);
    if ('key' in pair) await writeFile(join(directory, 'n1-key.pem'), pair.key);
    const { written, nodes, paths } = await writeDevCerts(directory, ['n1']);
    t.true(written.includes(paths.nodes.n1.cert));
    t.false(written.includes(paths.ca));
    assertPair(t, nodes.n1, ca, 'n1');
  }
});

test('a certificate without an extra host that is asked for is made anew', async (t) => {
  const directory = await makeDirectory(t);
  await writeDevCerts(directory, ['n1']);
  const extraHosts = ['localhost', '127.0.0.1'];
  const { nodes, paths, written } = await writeDevCerts(directory, ['n1'], { extraHosts });
  t.deepEqual(written, [paths.nodes.n1.cert]);
  t.is(new X509Certificate(nodes.n1.cert).checkIP('127.0.0.1'), '127.0.0.1');
  t.deepEqual((await writeDevCerts(directory, ['n1'], { extraHosts })).written, []);
});

test('a CA certificate that is missing is made anew for its key, and what it signed stays good', async (t) => {
  const directory = await makeDirectory(t);
  const first = await writeDevCerts(directory, ['n1']);
  await rm(first.paths.ca);
  const second = await writeDevCerts(directory, ['n1']);
  t.deepEqual(second.written, [second.paths.ca]);
  assertPair(t, first.nodes.n1, second.ca, 'n1');
});

test('a CA whose key is missing or of no use is refused rather than replaced', async (t) => {
  const directory = await makeDirectory(t);
  const { paths } = await writeDevCerts(directory, ['n1']);
  const refused = { instanceOf: MeshError, code: 'InvalidArgument' };
  await rm(paths.caKey);
  await t.throwsAsync(writeDevCerts(directory, ['n1']), { ...refused, message: /has no/ });
  await writeFile(paths.caKey, 'no key');
  await t.throwsAsync(writeDevCerts(directory, ['n1']), { ...refused, message: /not an unenc/ });
  const rsa = await opensslCerts({ kind: 'rsa', nodeIds: ['n1'] });
  await writeFile(paths.caKey, rsa.nodes.n1.key);
  await t.throwsAsync(writeDevCerts(directory, ['n1']), { ...refused, message: /EC private key/ });
});

test('bad ids are refused before anything is written', async (t) => {
  const directory = await makeDirectory(t);
  for (const id of ['../n1', 'ca', 'CA', 'ca-key', 'n1-key', 'n1_']) {
    await t.throwsAsync(writeDevCerts(directory, ['n1', id]), {
      instanceOf: MeshError,
      code: 'InvalidArgument',
    });
  }
  await t.throwsAsync(writeDevCerts(directory, ['n1'], { validityDays: 0 }));
  t.deepEqual(await readdir(directory), []);
});

test('calls at the same time share one CA, and every certificate fits its key', async (t) => {
  const directory = await makeDirectory(t);
  const groups = [['n1'], ['n1', 'n2'], ['n3', 'n1'], ['n2', 'n3'], ['n4'], ['n4']];
  const results = await Promise.all(groups.map((ids) => writeDevCerts(directory, ids)));
  await assertDirectoryIsWhole(t, directory, ['n1', 'n2', 'n3', 'n4']);
  t.is(new Set(results.map(({ caKey }) => caKey)).size, 1);
  for (const { ca, nodes } of results) {
    for (const [id, pair] of Object.entries(nodes)) assertPair(t, pair, ca, id);
  }
});

test('calls with force at the same time leave a directory that fits together', async (t) => {
  const directory = await makeDirectory(t);
  const calls = Array.from({ length: 4 }, () => writeDevCerts(directory, ['n1'], { force: true }));
  await Promise.all(calls);
  await assertDirectoryIsWhole(t, directory, ['n1']);
});

test('the script writes certificates, keeps them the second time, and says so', async (t) => {
  const directory = await makeDirectory(t);
  const first = await runScript(['n1', 'n2', '--out', directory, '--days', '3']);
  t.is(first.code, 0, first.stderr);
  t.is(first.stdout.match(/^wrote /gm)?.length, 6);
  await assertDirectoryIsWhole(t, directory, ['n1', 'n2']);
  const { validTo } = new X509Certificate(await readFile(join(directory, 'n1.pem'), 'utf8'));
  t.true(Date.parse(validTo) <= Date.now() + 3 * 86_400_000);

  const second = await runScript(['n1', '--out', directory]);
  t.is(second.stdout.match(/^kept {2}/gm)?.length, 4);
  const third = await runScript(['n1', '--out', directory, '--force']);
  t.is(third.stdout.match(/^wrote /gm)?.length, 4);
});

test('two scripts at the same time leave a directory that fits together', async (t) => {
  const directory = await makeDirectory(t);
  const runs = [['n1', 'n2'], ['n2', 'n3'], ['n2']].map((ids) =>
    runScript([...ids, '--out', directory]),
  );
  for (const { code, stderr } of await Promise.all(runs)) t.is(code, 0, stderr);
  await assertDirectoryIsWhole(t, directory, ['n1', 'n2', 'n3']);
});

test('the script ends with code 1 and one line on bad input', async (t) => {
  const directory = await makeDirectory(t);
  const file = join(directory, 'file');
  await writeFile(file, '');
  for (const args of [
    [],
    ['n_1'],
    ['n1', 'n1'],
    ['n1', '--days', 'x'],
    ['n1', '--days', '0'],
    ['n1', '--nonsense'],
    ['n1', '--out', file],
  ]) {
    const { code, stdout, stderr } = await runScript(['--out', directory, ...args]);
    t.is(code, 1, args.join(' '));
    t.is(stdout, '');
    t.regex(stderr, /^error: [^\n]+\n$/);
  }
  t.deepEqual(await readdir(directory), ['file']);
});

async function makeDirectory(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-store-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function modeOf(directory: string, file: string): Promise<number> {
  return (await stat(join(directory, file))).mode & 0o777;
}

function assertPair(
  t: ExecutionContext,
  pair: { cert: string; key: string },
  ca: string,
  name: string,
): void {
  const cert = new X509Certificate(pair.cert);
  const issuer = new X509Certificate(ca);
  t.true(cert.checkPrivateKey(createPrivateKey(pair.key)), `${name}: key`);
  t.true(cert.checkIssued(issuer) && cert.verify(issuer.publicKey), `${name}: issuer`);
  t.is(cert.checkHost(name), name);
}

/** Holds the files against each other, and looks for what should not be left behind. */
async function assertDirectoryIsWhole(
  t: ExecutionContext,
  directory: string,
  nodeIds: readonly string[],
): Promise<void> {
  const names = ['ca', ...nodeIds];
  const expected = names.flatMap((name) => [`${name}.pem`, `${name}-key.pem`]);
  t.deepEqual((await readdir(directory)).sort(), expected.sort());
  const read = (file: string) => readFile(join(directory, file), 'utf8');
  const ca = await read('ca.pem');
  t.true(new X509Certificate(ca).checkPrivateKey(createPrivateKey(await read('ca-key.pem'))));
  for (const id of nodeIds) {
    assertPair(t, { cert: await read(`${id}.pem`), key: await read(`${id}-key.pem`) }, ca, id);
  }
}

interface ScriptResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function runScript(args: readonly string[]): Promise<ScriptResult> {
  const command = [...TYPESCRIPT, 'scripts/certs.ts', ...args];
  try {
    return { code: 0, ...(await promisify(execFile)(process.execPath, command)) };
  } catch (error) {
    if (!isFailedRun(error)) throw error;
    return error;
  }
}

function isFailedRun(error: unknown): error is ScriptResult {
  return error instanceof Error && 'code' in error && typeof error.code === 'number';
}
