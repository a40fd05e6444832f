import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { type CallSpec, oneRound } from '../../scripts/mesh/calls.js';
import { serveStore } from '../../scripts/mesh/handlers.js';
import { LatencyCounts } from '../../scripts/mesh/latency.js';
import { type CallCounts, zeroCounts } from '../../scripts/mesh/protocol.js';
import { Workload } from '../../scripts/mesh/workload.js';
import { createNode, type MessageType, type SocketAddress } from '../../src/index.js';
import { nodeCert } from '../helpers/certs.js';
import { MeshCommand, stillAlive } from '../helpers/mesh-command.js';

const test = anyTest as TestFn<{ directory: string; certs: string }>;

/** What `--json` ends with. */
interface Summary {
  nodes: number;
  seconds: number;
  links: { from: string; to: string; transport: string; rttMs: number }[];
  calls: CallCounts & { byType: Record<MessageType, CallCounts> };
  latencyMs: { p50: number; p99: number };
  transfer: { bytes: number; sha256: string; verifiedBy: string[] } | null;
}

// Most run one at a time, each being several processes already, and all share the certificates.
test.before(async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-mesh-'));
  t.context = { directory, certs: join(directory, 'certs') };
});

test.after.always((t) => rm(t.context.directory, { recursive: true, force: true }));

for (const transport of ['auto', 'quic', 'tcp']) {
  const expected = transport === 'auto' ? 'quic' : transport;

  test.serial(
    `with --transport ${transport}, all links are ${expected} and no call fails`,
    async (t) => {
      const { summary, stderr } = await runToEnd(t, ['--nodes', '3', '--transport', transport]);
      t.like(summary, { nodes: 3, seconds: 1, transfer: null });
      t.deepEqual(
        summary.links.map(({ from, to, transport: over }) => [from, to, over]),
        [
          ['n1', 'n2', expected],
          ['n1', 'n3', expected],
          ['n2', 'n3', expected],
        ],
      );
      for (const { rttMs } of summary.links) t.true(rttMs > 0 && rttMs < 1000);
      assertCalls(t, summary, 3);
      t.regex(stderr, new RegExp(`3 links over ${expected} in \\d+ ms`));
      t.regex(stderr, /✓ 3 links up, no call failed/);
    },
  );
}

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
    for (const line of mesh.stdout.split('\n')) t.true(line.length <= 80, line);
  },
);

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
    t.true(performance.now() - startMs < 2000);
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

function command(t: ExecutionContext<{ certs: string }>, args: readonly string[]): MeshCommand {
  return new MeshCommand(t, ['--certs', t.context.certs, ...args]);
}

/** A mesh of three in the middle of a long workload. */
async function running(t: ExecutionContext<{ certs: string }>): Promise<MeshCommand> {
  const mesh = command(t, ['--nodes', '3', '--seconds', '60', '--json']);
  await mesh.said(/of 60 s +[1-9]/);
  t.is(mesh.nodePids.length, 3);
  t.deepEqual(await stillAlive(mesh.nodePids, 0), mesh.nodePids);
  return mesh;
}

/** One second of calls, up to the summary that the last line of standard output holds. */
async function runToEnd(
  t: ExecutionContext<{ certs: string }>,
  args: readonly string[],
): Promise<{ summary: Summary; stderr: string }> {
  const mesh = command(t, ['--seconds', '1', '--json', ...args]);
  t.deepEqual(await mesh.ended, { code: 0, signal: null }, mesh.stderr);
  t.regex(mesh.stdout, /^\{.*\}\n$/, 'one line and nothing else');
  t.deepEqual(await stillAlive(mesh.nodePids, 0), []);
  return { summary: JSON.parse(mesh.stdout) as Summary, stderr: mesh.stderr };
}

function assertCalls(t: ExecutionContext, { calls, latencyMs }: Summary, links: number): void {
  t.is(calls.failed, 0);
  t.is(calls.sent, calls.succeeded);
  t.deepEqual(Object.keys(calls.byType), Object.keys(zeroCounts()));
  for (const [type, { sent, succeeded, failed }] of Object.entries(calls.byType)) {
    t.true(sent > 0, type);
    t.is(succeeded, sent, type);
    t.is(failed, 0, type);
  }
  t.is(calls.byType.handshakeRequest.sent, links);
  t.is(calls.byType.pong.sent, calls.byType.ping.sent);
  t.true(latencyMs.p50 > 0 && latencyMs.p99 >= latencyMs.p50);
}
