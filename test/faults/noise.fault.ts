/** UDP that vanishes, and noise in its place: calls move to TCP as soon as where nothing comes at all. */
import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { DatagramVerdict } from '../helpers/chaos-proxy/datagram-path.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, targetOf } from '../helpers/nodes.js';

/** The first byte and the connection ID of a packet with a short header. */
const HEAD_BYTES = 17;
/** Of the time that calls need where nothing comes. Taken for signs of life, noise would make it the idle timeout. */
const FACTOR = 3;

test('noise under its ID keeps no dead connection in use', async (t) => {
  const [nothing, noise] = await Promise.all([
    callsMoveAfterMs(t, () => 'drop'),
    callsMoveAfterMs(t, (datagram) => ({
      replaceWith: Buffer.concat([datagram.subarray(0, HEAD_BYTES), randomBytes(60)]),
    })),
  ]);
  t.log(`nothing comes: ${nothing.ms.toFixed(0)} ms; noise comes: ${noise.ms.toFixed(0)} ms`);
  t.true(noise.datagrams > 0);
  t.true(noise.ms < FACTOR * nothing.ms);
});

/** How long a call takes that begins when the acceptor's datagrams turn into what `instead` makes of them. */
async function callsMoveAfterMs(
  t: ExecutionContext,
  instead: (datagram: Buffer) => DatagramVerdict,
): Promise<{ ms: number; datagrams: number }> {
  const n2 = await startNode(t, 'n2');
  n2.handle('request', ({ body }) => ({ body }));
  const proxy = await ChaosProxy.start({ target: targetOf(n2) });
  t.teardown(() => proxy.close());
  const n1 = await startNode(t, 'n1');
  const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
  t.is(peer.transport, 'quic');
  await peer.request({ type: 'request', method: 'echo', body: 1 });
  const before = proxy.counters.udp.toClient.forwarded;
  proxy.onDatagram = (direction, datagram) =>
    direction === 'toClient' ? instead(datagram) : undefined;
  const beganMs = performance.now();
  const call = { type: 'request', method: 'echo', body: 2 } as const;
  await peer.request(call, { timeoutMs: 60_000, replaySafe: true });
  t.is(peer.transport, 'tcp');
  return {
    ms: performance.now() - beganMs,
    datagrams: proxy.counters.udp.toClient.forwarded - before,
  };
}
