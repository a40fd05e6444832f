import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import anyTest, { type TestFn } from 'ava';
import { type CallSpec, oneRound } from '../../scripts/mesh/calls.js';
import { serveStore } from '../../scripts/mesh/handlers.js';
import { LatencyCounts } from '../../scripts/mesh/latency.js';
import { zeroCounts } from '../../scripts/mesh/protocol.js';
import { Workload } from '../../scripts/mesh/workload.js';
import { createNode, type MessageType, type SocketAddress } from '../../src/index.js';
import { nodeCert } from '../helpers/certs.js';
import { MeshCommand } from '../helpers/mesh-command.js';
import { assertAllLinked, command, type MeshDirectories } from '../helpers/mesh-run.js';

const test = anyTest as TestFn<MeshDirectories>;

// Most run one at a time, each being several processes already, and all share the certificates.
test.before(async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-mesh-'));
  t.context = { directory, certs: join(directory, 'certs') };
});

test.after.always((t) => rm(t.context.directory, { recursive: true, force: true }));

test.serial('by default all links are QUIC and no call fails', async (t) => {
  await assertAllLinked(t, 'auto', 'quic');
});

test.serial(
  'two nodes are enough, and without --json the summary goes to standard output',
  async (t) => {
    const mesh = command(t, ['--nodes', '2', '--seconds', '0.5', '--concurrency', '1']);
    t.deepEqual(await mesh.ended, { code: 0, signal: null });
    t.is(mesh.stderr, '');
    t.regex(mesh.stdout, /n1 → n2 +quic/);
    for (const type of Object.keys(zeroCounts()))
      t.regex(mesh.stdout, new RegExp(`\\b${type} +\\d`));
    t.false(mesh.stdout.includes('\u001b'), 'no escape sequences where there is no terminal');
    // How long the path is, is the system's.
    for (const line of mesh.stdout.replaceAll(t.context.directory, '').split('\n'))
      t.true(line.length <= 80, line);
  },
);

for (const args of [
  ['--nodes', '1'],
  ['--nodes', '33'],
  ['--nodes', 'many'],
  ['--seconds', '0'],
  ['--concurrency', '0'],
  ['--rate', '0'],
  ['--rate', '10', '--concurrency', '2'],
  ['--transport', 'udp'],
  ['--file', 'no/such/file'],
  ['--file', 'scripts'],
  ['--unknown'],
]) {
  test(`${args.join(' ')} is refused in one line`, async (t) => {
    const mesh = command(t, args);
    t.deepEqual(await mesh.ended, { code: 2, signal: null });
    t.regex(mesh.stderr, /^error: [^\n]+\n$/);
    t.true(mesh.stderr.includes(args[0] as string));
    t.is(mesh.stdout, '');
  });
}

test('certificates that cannot be made end the run with code 1', async (t) => {
  const certs = join(t.context.directory, 'a-file');
  await writeFile(certs, '');
  const mesh = new MeshCommand(t, ['--nodes', '2', '--certs', certs]);
  t.deepEqual(await mesh.ended, { code: 1, signal: null });
  t.regex(mesh.stderr, /mesh: .*a-file/);
});

test.serial(
  'calls that fail, are answered wrongly or never arrive are counted as failed and named',
  async (t) => {
    const options = { cluster: 'test', transports: ['quic'], logger: 'silent' } as const;
    await using n1 = await createNode({ ...options, nodeId: 'n1', tls: await nodeCert('n1') });
    await using n2 = await createNode({
      ...options,
      nodeId: 'n2',
      tls: await nodeCert('n2'),
      listen: { host: '127.0.0.1', port: 0 },
    });
    n2.handle('query', () => ({ result: { version: 1, value: 'not what was written' } }));
    n2.handle('dataTransfer', () => [new Uint8Array(32)]);
    await n1.connect({ nodeId: 'n2', ...(n2.address as SocketAddress) });

    const workload = new Workload(n1, { peers: ['n2'], seconds: 3, pace: { concurrency: 20 } });
    const { counts, failures, down } = await workload.run();
    t.deepEqual(down, []);
    t.is(counts.ping.failed, 0);
    t.true(counts.queryRequest.failed > 0 && counts.queryRequest.succeeded > 0);
    for (const type of [
      'replicationLog',
      'consensus',
      'dataTransfer',
      'request',
      'error',
    ] as const) {
      t.true(counts[type].sent > 0, type);
      t.like(counts[type], { succeeded: 0, failed: counts[type].sent }, type);
    }
    const said = failures.map(({ text }) => text).join('\n');
    for (const text of [
      'queryRequest: read another value than was written',
      'consensus: NoHandler: no handler for consensus',
      'dataTransfer: the receiver computed another SHA-256',
      'dataTransfer: the bytes received have another SHA-256',
      'request: NoHandler',
      'error: NoHandler',
    ]) {
      t.true(said.includes(`n1 → n2 ${text}`), `${text}\n${said}`);
    }
    t.regex(said, /replicationLog: one-way: [1-9]\d* were sent, 0 arrived/);
  },
);

test.serial('one-way messages are compared for each process that a peer was', async (t) => {
  const options = { cluster: 'test', transports: ['quic'], logger: 'silent' } as const;
  await using n1 = await createNode({ ...options, nodeId: 'n1', tls: await nodeCert('n1') });
  await using n2 = await createNode({
    ...options,
    nodeId: 'n2',
    tls: await nodeCert('n2'),
    listen: { host: '127.0.0.1', port: 0 },
  });
  const store = serveStore(n2);
  await n1.connect({ nodeId: 'n2', ...(n2.address as SocketAddress) });
  const pace = { callsPerSecond: 200 };

  const workload = new Workload(n1, { peers: ['n2'], seconds: 60, pace });
  const run = workload.run();
  while ((store.received.n1?.replicationLog ?? 0) < 10) await sleep(5);
  // As where that process had got a thousand of each that nobody sent.
  const { replicationLog = 0, consensus = 0 } = store.received.n1 ?? {};
  workload.lifeEnded('n2', { replicationLog: replicationLog + 1000, consensus: consensus + 1000 });
  store.forget('n1');
  workload.stop();
  const { failures, tally } = await run;
  const said = failures.map(({ text }) => text).join('\n');
  t.true(tally.failed > 0);
  t.regex(said, /replicationLog: one-way: \d+ were sent, 10\d\d arrived/);
  t.regex(said, /consensus: one-way: \d+ were sent, 10\d\d arrived/);
});

test('latencies counted in several processes add up to the percentiles of all', (t) => {
  const samplesMs = Array.from({ length: 20_000 }, (_, at) => 0.01 * 1.0005 ** at);
  const merged = new LatencyCounts();
  for (let part = 0; part < 4; part += 1) {
    const counts = new LatencyCounts();
    for (const [at, sample] of samplesMs.entries()) if (at % 4 === part) counts.recordMs(sample);
    merged.add(counts.take());
    t.is(counts.total, 0);
  }
  t.is(merged.total, samplesMs.length);
  for (const share of [0.01, 0.5, 0.9, 0.99, 1]) {
    const exactMs = samplesMs[Math.ceil(samplesMs.length * share) - 1] as number;
    const gotMs = merged.percentileMs(share) as number;
    t.true(Math.abs(gotMs - exactMs) <= Math.max(0.001, exactMs * 0.01), `${gotMs} for ${exactMs}`);
  }
});

test('latencies beyond every limit are counted at the limit', (t) => {
  const counts = new LatencyCounts();
  t.is(counts.percentileMs(0.5), undefined);
  counts.recordMs(-1);
  t.is(counts.percentileMs(1), 0);
  counts.recordMs(Number.MAX_SAFE_INTEGER);
  t.true((counts.percentileMs(1) as number) > 120_000);
});

test('a round of the mix holds every call as often as its weight says, spread over the round', (t) => {
  const spec = (type: MessageType, weight: number): CallSpec => ({
    type,
    answer: undefined,
    weight,
    make: async () => {},
  });
  const round = oneRound([spec('ping', 4), spec('request', 2), spec('error', 1)]);
  t.deepEqual(
    round.map(({ type }) => type),
    ['ping', 'request', 'ping', 'error', 'ping', 'request', 'ping'],
  );
});
