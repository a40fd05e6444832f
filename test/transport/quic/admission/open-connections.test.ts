import { queryObjects } from 'node:v8';
import test from 'ava';
import { HalfOpenGuard } from '../../../../src/transport/quic/admission/half-open-guard.js';
import { startNode, targetOf } from '../../../helpers/nodes.js';
import { until } from '../../../helpers/until.js';

const living = () => Number(queryObjects(HalfOpenGuard, { format: 'count' }));

// It counts the objects of the whole process: no other test belongs into this file.
test('an open connection keeps nothing of the limits that hold before its peer has proved itself', async (t) => {
  const connections = 3;
  const n2 = await startNode(t, 'n2', { transports: ['quic'] });
  const n1 = await startNode(t, 'n1', { transports: ['quic'], listen: undefined });
  const { host, port } = targetOf(n2);
  const guard = new HalfOpenGuard(Buffer.alloc(8), false);
  t.is(living(), 1);
  t.truthy(guard);
  // Without a node id, each is a connection of its own.
  const peers = await Promise.all(
    Array.from({ length: connections }, () => n1.connect({ host, port })),
  );
  await Promise.all(peers.map((peer) => peer.ping()));
  await until(() => living() <= 1);
  t.is(peers.filter(({ isConnected }) => isConnected).length, connections);
});
