/** Spare connection IDs for a peer that tries other paths. SPEC.md, "QUIC". */
import test from 'ava';
import { nodeCert } from '../../helpers/certs.js';
import { startNode, targetOf } from '../../helpers/nodes.js';
import { PlainClient } from '../../helpers/quic/plain-client.js';
import { until } from '../../helpers/until.js';

const LIMIT = 8;

test('a peer that probes paths has three spare connection IDs, as long as its own limit allows', async (t) => {
  const node = await startNode(t, 'n2', { transports: ['quic'] });
  node.handle('query', ({ query }) => ({ result: query }));
  const client = await PlainClient.connect(t, targetOf(node), await nodeCert('n1'), {
    configure: (config) => config.setActiveConnectionIdLimit(LIMIT),
  });
  for (let i = 1; client.native.sourceCidsLeft() > 0; i += 1) {
    client.native.newSourceCid(Buffer.alloc(16, i), BigInt(i), false);
  }
  client.turn();
  for (let paths = 1; paths < LIMIT; paths += 1) {
    // One is in use on each path.
    await until(() => client.native.availableDcids() === Math.min(3, LIMIT - paths));
    await client.probe();
  }
  t.is(client.native.availableDcids(), 0);
  const call = client.call({ type: 'queryRequest', query: 'x' });
  await until(() => call.ended);
  t.like(client.messages(call)[0], { result: 'x' });
});
