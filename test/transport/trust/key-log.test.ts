import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { MeshError } from '../../../src/errors.js';
import { KeyLog } from '../../../src/transport/trust/key-log.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../../helpers/nodes.js';

const LABELS = [
  'CLIENT_HANDSHAKE_TRAFFIC_SECRET',
  'CLIENT_TRAFFIC_SECRET_0',
  'SERVER_HANDSHAKE_TRAFFIC_SECRET',
  'SERVER_TRAFFIC_SECRET_0',
];

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: the secrets of every connection reach the key log, from both sides`, async (t) => {
    const directory = await temporaryDirectory(t);
    const options = { transports: [transport] };
    const nodes = [];
    for (const nodeId of ['n1', 'n2'] as const) {
      const keyLogFile = join(directory, nodeId);
      nodes.push(await startNode(t, nodeId, { ...options, keyLogFile }));
    }
    const [n1, n2] = nodes as [(typeof nodes)[0], (typeof nodes)[0]];
    for (let i = 0; i < 2; i += 1) {
      const peer = await n1.connect(targetOf(n2));
      await peer.ping();
      await peer.close();
    }
    await Promise.all([n1.close(), n2.close()]);
    const logs = await Promise.all(['n1', 'n2'].map((id) => secretsIn(join(directory, id))));
    for (const secrets of logs) {
      for (const label of LABELS) t.is(secrets.get(label)?.size, 2, label);
    }
    // Both sides of a connection have the same.
    for (const label of LABELS) t.deepEqual(logs[0]?.get(label), logs[1]?.get(label));
    t.is((await stat(join(directory, 'n1'))).mode & 0o777, 0o600);
  });
}

test.serial(
  'the environment may name the key log, and what is written on the way is gone',
  async (t) => {
    const directory = await temporaryDirectory(t);
    const before = process.env.SSLKEYLOGFILE;
    t.teardown(() => {
      if (before === undefined) delete process.env.SSLKEYLOGFILE;
      else process.env.SSLKEYLOGFILE = before;
    });
    process.env.SSLKEYLOGFILE = join(directory, 'keys');
    const n1 = await startNode(t, 'n1');
    const n2 = await startNode(t, 'n2', { keyLogFile: join(directory, 'own') });
    delete process.env.SSLKEYLOGFILE;
    await n1.connect(targetOf(n2));
    await Promise.all([n1.close(), n2.close()]);
    t.deepEqual((await readdir(directory)).sort(), ['keys', 'own']);
    t.deepEqual(
      (await readdir(tmpdir())).filter((name) => name.startsWith('quicmesh-keys-')),
      [],
    );
  },
);

test('a key log that cannot be written is reported once, and connections work', (t) => {
  const failures: MeshError[] = [];
  const log = new KeyLog('/no/such/directory/keys', (error) => failures.push(error));
  log.append(Buffer.from('line\n'));
  log.append(Buffer.from('line\n'));
  t.is(failures.length, 1);
  t.regex(failures[0]?.message ?? '', /ENOENT/);
});

/** Secrets of a key log, by label. */
async function secretsIn(file: string): Promise<Map<string, Set<string>>> {
  const secrets = new Map<string, Set<string>>();
  for (const line of (await readFile(file, 'utf8')).trim().split('\n')) {
    const [label = '', random = '', secret = ''] = line.split(' ');
    const known = secrets.get(label) ?? new Set();
    known.add(`${random} ${secret}`);
    secrets.set(label, known);
  }
  return secrets;
}

async function temporaryDirectory(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-test-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}
