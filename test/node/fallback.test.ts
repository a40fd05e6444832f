/** QUIC first, TCP beside it where UDP does not get through: nodes that reach each other through a bad network. */
import test, { type ExecutionContext } from 'ava';
import type { NodeOptions } from '../../src/index.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, targetOf } from '../helpers/nodes.js';

/** Beyond what any test waits for: who connects within it did not wait for QUIC to give up. */
const LONG_MS = 3_600_000;

async function reachThroughProxy(t: ExecutionContext, options: Partial<NodeOptions> = {}) {
  const n2 = await startNode(t, 'n2');
  n2.handle('query', ({ query }) => ({ result: query }));
  const proxy = await ChaosProxy.start({ target: targetOf(n2) });
  t.teardown(() => proxy.close());
  t.log(`seed ${proxy.seed}`);
  const n1 = await startNode(t, 'n1', {
    ...options,
    timeouts: { connectMs: LONG_MS, ...options.timeouts },
  });
  return { n1, n2, proxy, target: { ...proxy.address, nodeId: 'n2' } };
}

test('where UDP vanishes TCP does not wait for QUIC to give up, and goes first the next time', async (t) => {
  const { n1, proxy, target } = await reachThroughProxy(t);
  proxy.change({ udp: { blackHole: true } });
  const peer = await n1.connect(target);
  t.is(peer.transport, 'tcp');
  await peer.close();
  const { dropped } = proxy.counters.udp.toServer;
  t.true(dropped > 0, 'QUIC was tried');
  const { dialed } = n1.counters.transports.quic as { dialed: number };
  await n1.connect(target);
  t.is(n1.counters.transports.quic?.dialed, dialed, 'QUIC is left alone for a while');
  t.is(peer.transport, 'tcp');
});

test('calls that ride along with a dial go by whichever transport connects', async (t) => {
  const { n1, proxy, target } = await reachThroughProxy(t);
  // A session to resume: the next dial's first flight carries calls.
  const peer = await n1.connect(target);
  await peer.request({ type: 'queryRequest', query: 'warm up' });
  await peer.close();
  proxy.change({ udp: { blackHole: true } });
  const early = n1.connectEarly(target);
  const queries = Array.from({ length: 20 }, (_, i) => `q${i}`);
  const replies = await Promise.all(
    queries.map((query, i) =>
      early.request({ type: 'queryRequest', query }, { replaySafe: i % 2 === 0 }),
    ),
  );
  t.deepEqual(
    replies.map(({ result }) => result),
    queries,
  );
  t.is(early.transport, 'tcp');
});

test('QUIC wins though TCP was started beside it, and nobody is told of a refusal', async (t) => {
  const { n1, n2, target, proxy } = await reachThroughProxy(t, {
    timeouts: { fallbackDelayMs: 1 },
  });
  proxy.change({ tcp: { delayMs: 300 } });
  const peer = await n1.connect(target);
  t.is(peer.transport, 'quic');
  await peer.request({ type: 'queryRequest', query: 'q' });
  t.is(n2.counters.handshakes.refused, 0);
});

test('once UDP gets through again, calls move over to QUIC, and none is lost on the way', async (t) => {
  t.timeout(120_000);
  const { n1, n2, proxy, target } = await reachThroughProxy(t, { timeouts: { connectMs: 1000 } });
  proxy.change({ udp: { blackHole: true } });
  const events: string[] = [];
  const following = (async () => {
    for await (const event of n1.status()) {
      if (event.kind === 'transportChanged') events.push(`${event.from} to ${event.to}`);
    }
  })();
  const peer = await n1.connect(target);
  t.is(peer.transport, 'tcp');
  proxy.change({ udp: { blackHole: false } });
  let calls = 0;
  while (peer.transport !== 'quic' || peer.connections.length > 1) {
    const query = `q${calls}`;
    t.is((await peer.request({ type: 'queryRequest', query })).result, query);
    calls += 1;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  t.true(calls > 0);
  t.deepEqual(events, ['tcp to quic']);
  t.is(n2.peer('n1')?.transport, 'quic', 'the calls of the other side as well');
  t.is((await peer.request({ type: 'queryRequest', query: 'last' })).result, 'last');
  await n1.close();
  await following;
});

test('quic.required forbids the fallback, of the node that dials and of the one that listens', async (t) => {
  const { n1, proxy, target } = await reachThroughProxy(t, {
    quic: { required: true },
    timeouts: { connectMs: 300 },
  });
  proxy.change({ udp: { blackHole: true } });
  t.like(await t.throwsAsync(n1.connect(target)), { code: 'ConnectTimeout' });
  t.deepEqual(Object.keys(n1.counters.transports), ['quic']);
  const n3 = await startNode(t, 'n3', { transports: ['tcp'] });
  const error = await t.throwsAsync(n3.connect(targetOf(n1)));
  t.is((error as { code?: string }).code, 'ConnectFailed');
});
