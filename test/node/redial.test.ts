/** Calls that outlive their connection: a lost one is dialed again, and what may be repeated is. */
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { MeshError, MeshNode, NodeOptions } from '../../src/index.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';

/** Soon dead, so that tests are soon done. */
const IMPATIENT = { idleMs: 1500, keepAliveMs: 300 } as const;

test('without migration a new source port ends the connection, and no replay-safe call is lost', async (t) => {
  const { n1, n2, proxy } = await setUp(t, {
    timeouts: IMPATIENT,
    transports: ['quic'],
    quic: { migration: false },
  });
  const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
  t.like(await t.throwsAsync(peer.migrate()), { code: 'MigrationFailed' });
  let next = 0;
  let rebinds = 0;
  const answers: number[] = [];
  const workers = Array.from({ length: 4 }, async () => {
    while (rebinds < 2 || next % 10 !== 0) {
      const query = String(next++);
      const options = { replaySafe: true, timeoutMs: 30_000 };
      const { result } = await peer.request({ type: 'queryRequest', query }, options);
      t.is(result, query);
      answers.push(Number(query));
      await delay(5);
    }
  });
  for (; rebinds < 2; rebinds += 1) {
    await delay(150);
    const { dialed } = quicCounters(n1);
    await proxy.rebind();
    while (quicCounters(n1).dialed === dialed || !peer.isConnected) await delay(10);
  }
  await Promise.all(workers);
  t.deepEqual(
    answers.sort((a, b) => a - b),
    Array.from({ length: next }, (_, i) => i),
  );
  t.is(quicCounters(n1).dialed, 3);
  t.true((quicCounters(n2).pathChangesRefused ?? 0) > 0);
  t.is(quicCounters(n2).peerMigrations, 0);
});

test('without migration a call that may have run fails, and tells so; the next one dials', async (t) => {
  const { n1, proxy } = await setUp(t, {
    timeouts: IMPATIENT,
    transports: ['quic'],
    quic: { migration: false },
  });
  const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
  const slow = peer.request({ type: 'request', method: '9000' });
  await delay(50);
  await proxy.rebind();
  // By this side's idle timeout, or by a reset from the peer, whose own came first.
  const error = (await t.throwsAsync(slow)) as MeshError;
  t.true(['IdleTimeout', 'ConnectionLost'].includes(error.code), error.code);
  t.true(error.maybeExecuted);
  t.like(await peer.request({ type: 'queryRequest', query: 'x' }), { result: 'x' });
  // On a busy machine the new connection may run into its short idle timeout as well.
  t.true((quicCounters(n1).dialed ?? 0) >= 2);
});

test('over TCP a connection that is reset is dialed again', async (t) => {
  const { n1, proxy } = await setUp(t, { transports: ['tcp'] });
  const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
  for (let i = 0; i < 3; i += 1) {
    const safe = peer.request({ type: 'request', method: '500' }, { replaySafe: true });
    await delay(50);
    proxy.reset();
    t.like(await safe, { type: 'response' });
  }
});

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a call keeps trying until its time is up`, async (t) => {
    const timeouts = { ...IMPATIENT, connectMs: 2000 };
    const { n1, proxy } = await setUp(t, { timeouts, transports: [transport] });
    const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
    const fault = { [transport === 'quic' ? 'udp' : 'tcp']: { blackHole: true } };
    proxy.change(fault);
    proxy.reset();
    while (peer.isConnected) await delay(10);
    const late = peer.request({ type: 'queryRequest', query: 'x' }, { timeoutMs: 900 });
    const error = await t.throwsAsync(late);
    t.like(error, { maybeExecuted: false });
    const soon = peer.request({ type: 'queryRequest', query: 'y' }, { timeoutMs: 30_000 });
    await delay(400);
    proxy.change({ [transport === 'quic' ? 'udp' : 'tcp']: { blackHole: false } });
    t.like(await soon, { result: 'y' });
  });
}

test('a call that waits for a new connection can be given up', async (t) => {
  const { n1, proxy } = await setUp(t, {
    timeouts: { ...IMPATIENT, connectMs: 2000 },
    transports: ['quic'],
  });
  const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
  proxy.change({ udp: { blackHole: true } });
  while (peer.isConnected) await delay(10);
  const signal = AbortSignal.timeout(200);
  const call = peer.request({ type: 'queryRequest', query: 'x' }, { signal, timeoutMs: 30_000 });
  t.like(await t.throwsAsync(call), { code: 'Cancelled' });
});

async function setUp(
  t: ExecutionContext,
  options: Partial<NodeOptions>,
): Promise<{ n1: MeshNode; n2: MeshNode; proxy: ChaosProxy }> {
  const n2 = await startNode(t, 'n2', options);
  n2.handle('query', ({ query }) => ({ result: query }));
  n2.handle('request', async ({ method }, { signal }) => {
    await delay(Number(method), undefined, { signal });
    return {};
  });
  const proxy = await ChaosProxy.start({ target: targetOf(n2), keepOldPorts: false });
  t.teardown(() => proxy.close());
  const n1 = await startNode(t, 'n1', { ...options, listen: undefined });
  return { n1, n2, proxy };
}

function quicCounters(node: MeshNode): Readonly<Record<string, number>> {
  return node.counters.transports.quic ?? {};
}
