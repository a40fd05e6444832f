/** Calls over links that lose: the binding's own measure of the round trip must not run away with their time. */
import test from 'ava';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, targetOf } from '../helpers/nodes.js';

for (const maxDatagramBytes of [1350, 'auto'] as const) {
  test(`1,000 calls over 4 ms and 6 % of loss each way take no more than seconds, datagrams ${maxDatagramBytes}`, async (t) => {
    t.timeout(200_000);
    const options = { transports: ['quic'] as const, quic: { maxDatagramBytes } };
    const n2 = await startNode(t, 'n2', options);
    n2.handle('query', ({ query }) => ({ result: query }));
    // Losses come in another order each time: two links, because one may be lucky.
    const pairs = await Promise.all(
      (['n1', 'n3'] as const).map(async (nodeId) => {
        const proxy = await ChaosProxy.start({
          target: targetOf(n2),
          faults: { delayMs: 2, udp: { loss: 0.06 } },
        });
        t.teardown(() => proxy.close());
        t.log(`seed ${proxy.seed}`);
        const node = await startNode(t, nodeId, { ...options, timeouts: { connectMs: 30_000 } });
        return node.connect({ ...proxy.address, nodeId: 'n2' });
      }),
    );
    let slowestMs = 0;
    await Promise.all(
      pairs.map(async (peer) => {
        for (let batch = 0; batch < 200; batch += 1) {
          const startedMs = performance.now();
          const queries = Array.from({ length: 5 }, (_, i) => `${batch}.${i}`);
          const replies = await Promise.all(
            queries.map((query) =>
              peer.request({ type: 'queryRequest', query }, { timeoutMs: 15_000 }),
            ),
          );
          slowestMs = Math.max(slowestMs, performance.now() - startedMs);
          t.deepEqual(
            replies.map(({ result }) => result),
            queries,
          );
        }
      }),
    );
    t.log(`slowest batch ${slowestMs.toFixed(0)} ms`);
  });
}
