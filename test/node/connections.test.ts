/** The connections that nodes keep to each other: how many, which ones, and what becomes of them. */
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { createNode, type MeshNode, type NodeEvent } from '../../src/index.js';
import { nodeCert } from '../helpers/certs.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { lastingAddress, startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

for (const transport of TEST_TRANSPORTS) {
  const transports = [transport] as const;

  test(`${transport}: a pool grows under calls up to its max, and shrinks to its min when it is idle`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports });
    const answer = deferred();
    n2.handle('query', async () => {
      await answer.promise;
      return {};
    });
    const pool = { min: 1, max: 3, growAtCalls: 2, idleMs: 1 };
    const n1 = await startNode(t, 'n1', { transports, pool });
    const peer = await n1.connect(targetOf(n2));
    const calls: Promise<unknown>[] = [];
    while (peer.statistics.open < 3) {
      calls.push(peer.request({ type: 'queryRequest', query: 'q' }, { timeoutMs: 50_000 }));
      await delay(20);
      t.true(peer.statistics.open + peer.statistics.dialing <= 3);
    }
    for (let i = 0; i < 20; i += 1) {
      calls.push(peer.request({ type: 'queryRequest', query: 'q' }, { timeoutMs: 50_000 }));
    }
    t.is(peer.statistics.open + peer.statistics.dialing, 3);
    // By the calls of both sides: those under way here have to end at the other.
    t.true(peer.connections.every(({ calls: { sent } }) => sent > 0));
    answer.resolve();
    await Promise.all(calls);
    await until(() => peer.connections.length === 1 && n2.peer('n1')?.connections.length === 1);
    t.like(peer.statistics, { open: 1, dialed: 3, retired: 2, lost: 0 });
  });

  test(`${transport}: min connections are kept, and calls take turns on them`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports });
    n2.handle('query', () => ({}));
    const pool = { min: 3, strategy: 'roundRobin' } as const;
    // On a busy machine one could be suspect for a moment.
    const health = { intervalMs: 60_000 };
    const n1 = await startNode(t, 'n1', { transports, pool, health });
    const peer = await n1.connect(targetOf(n2));
    await until(() => peer.statistics.open === 3);
    for (let i = 0; i < 30; i += 1) await peer.request({ type: 'queryRequest', query: 'q' });
    t.deepEqual(
      peer.connections.map(({ calls }) => calls.succeeded),
      [10, 10, 10],
    );
  });

  test(`${transport}: a node that has as many connections as it takes of a peer refuses more`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports, limits: { connectionsPerPeer: 2 } });
    const n1 = await startNode(t, 'n1', { transports, pool: { min: 3 } });
    const failed = nextEvent(n1, 'dialFailed');
    const peer = await n1.connect(targetOf(n2));
    t.like(await failed, {
      error: { code: 'ConnectionLimitExceeded', side: 'remote', maybeExecuted: false },
    });
    await until(() => peer.statistics.open === 2);
    const n3 = await startNode(t, 'n3', { transports });
    t.true((await n3.connect(targetOf(n2))).isConnected, 'other nodes are none of its business');
  });

  test(`${transport}: limits.connections bounds what is dialed and what is accepted`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports, limits: { connections: 1 } });
    const n1 = await startNode(t, 'n1', { transports });
    const n3 = await startNode(t, 'n3', { transports });
    await n1.connect(targetOf(n2));
    await until(() => n2.peer('n1')?.isConnected === true);
    const full = { code: 'ConnectionLimitExceeded' };
    t.like(await t.throwsAsync(n3.connect(targetOf(n2))), { ...full, side: 'remote' });
    t.like(await t.throwsAsync(n2.connect(targetOf(n3))), { ...full, side: 'local' });
  });

  test(`${transport}: connect can wait for a peer that is not there yet`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports, listen: await lastingAddress() });
    const target = targetOf(n2);
    await n2.close();
    const n1 = await startNode(t, 'n1', { transports, timeouts: { connectMs: 500 } });
    const failed = nextEvent(n1, 'dialFailed');
    const connecting = n1.connect(target, { retry: true });
    t.true(((await failed).retryInMs ?? -1) >= 0);
    const { host, port } = target;
    const again = await startNode(t, 'n2', { transports, listen: { host, port } });
    t.is((await connecting).nodeId, again.nodeId);
    const gone = new AbortController();
    const other = n1.connect(
      { nodeId: 'n3', ...(await lastingAddress()) },
      { retry: true, signal: gone.signal },
    );
    await delay(100);
    gone.abort();
    t.like(await t.throwsAsync(other), { code: 'Cancelled' });
    await delay(500);
    const { dialsFailed = 0 } = n1.peer('n3')?.statistics ?? {};
    await delay(500);
    t.is(n1.peer('n3')?.statistics.dialsFailed, dialsFailed, 'who gives up dials no more');
  });

  test(`${transport}: a refusal ends the waiting for a peer at once`, async (t) => {
    const admission = { silent: 'off' } as const;
    const n2 = await startNode(t, 'n2', { transports, admission, cluster: 'another' });
    const n1 = await startNode(t, 'n1', { transports });
    const failed = nextEvent(n1, 'dialFailed');
    const refusal = await t.throwsAsync(n1.connect(targetOf(n2), { retry: true }));
    t.like(refusal, { code: 'ClusterMismatch', side: 'remote' });
    t.true(((await failed).retryInMs ?? 0) >= 30_000, 'it is not asked again soon');
  });

  test(`${transport}: a silent connection is suspect, then given up, and calls that may be repeated are`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports });
    n2.handle('query', ({ query }) => ({ result: query }));
    const proxy = await ChaosProxy.start({ target: targetOf(n2) });
    t.teardown(() => proxy.close());
    const n1 = await startNode(t, 'n1', { transports, health: { intervalMs: 100 } });
    const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
    const suspected = nextEvent(n1, 'suspected');
    const down = nextEvent(n1, 'peerDown');
    proxy.change({ blackHole: true });
    const safe = peer.request(
      { type: 'queryRequest', query: 'x' },
      { replaySafe: true, timeoutMs: 50_000 },
    );
    const other = peer.request({ type: 'queryRequest', query: 'y' }, { timeoutMs: 50_000 });
    t.is((await suspected).transport, transport);
    t.like(await down, { transport, error: { code: 'IdleTimeout', side: 'local' } });
    t.like(await t.throwsAsync(other), { code: 'IdleTimeout', maybeExecuted: true });
    proxy.change({ blackHole: false });
    t.is((await safe).result, 'x');
  });

  test(`${transport}: a peer that takes its time is alive`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports, limits: { streams: 4 } });
    n2.handle('query', async () => {
      await delay(1500);
      return {};
    });
    const n1 = await startNode(t, 'n1', { transports, health: { intervalMs: 100 } });
    const events = eventsOf(n1);
    const peer = await n1.connect(targetOf(n2));
    // Also where no stream is left that a question for a sign of life could take.
    const calls = Array.from({ length: 8 }, () =>
      peer.request({ type: 'queryRequest', query: 'q' }, { timeoutMs: 50_000 }),
    );
    await Promise.all(calls);
    t.deepEqual(
      events.filter(({ kind }) => kind === 'peerDown' || kind === 'dialFailed'),
      [],
    );
  });

  test(`${transport}: the steps of a connection's life are told to those who ask`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports });
    const n1 = await startNode(t, 'n1', { transports });
    const steps: string[] = [];
    const following = (async () => {
      for await (const event of n1.status({ connections: true })) {
        if (event.kind === 'connectionChanged') steps.push(`${event.from} ${event.to}`);
      }
    })();
    const peer = await n1.connect(targetOf(n2));
    t.deepEqual(
      peer.connections.map(({ state }) => state),
      ['active'],
    );
    await until(() => peer.connections[0]?.state === 'idle');
    await peer.close();
    await until(() => peer.connections.length === 0);
    await n1.close();
    await following;
    t.deepEqual(steps, ['undefined connecting', 'connecting active', 'active idle', 'idle closed']);
  });

  test(`${transport}: a peer that shuts down and comes back is dialed again, though nobody calls`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports, listen: await lastingAddress() });
    const target = targetOf(n2);
    const n1 = await startNode(t, 'n1', { transports });
    const peer = await n1.connect(target);
    await n2.close();
    await until(() => !peer.isConnected);
    const { host, port } = target;
    await startNode(t, 'n2', { transports, listen: { host, port } });
    await until(() => peer.isConnected);
    t.is(peer.statistics.lost, 0);
  });
}

test('a node that closes ends the calls that wait for a peer to come back', async (t) => {
  const n2 = await startNode(t, 'n2', { listen: await lastingAddress() });
  const target = targetOf(n2);
  const n1 = await createNode({
    nodeId: 'n1',
    cluster: 'test',
    tls: await nodeCert('n1'),
    logger: 'silent',
  });
  const peer = await n1.connect(target);
  await n2.close();
  await nextEvent(n1, 'dialFailed');
  const waiting = peer.request({ type: 'queryRequest', query: 'q' });
  await n1.close();
  t.like(await t.throwsAsync(waiting), { code: 'NodeClosed', maybeExecuted: false });
});

/** The next event of that kind. */
async function nextEvent<K extends NodeEvent['kind']>(
  node: MeshNode,
  kind: K,
): Promise<Extract<NodeEvent, { kind: K }>> {
  for await (const event of node.status()) {
    if (event.kind === kind) return event as Extract<NodeEvent, { kind: K }>;
  }
  throw new Error(`node closed before ${kind}`);
}

function eventsOf(node: MeshNode): NodeEvent[] {
  const events: NodeEvent[] = [];
  void (async () => {
    for await (const event of node.status()) events.push(event);
  })();
  return events;
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
