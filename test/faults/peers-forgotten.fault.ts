/** Many nodes with names of their own that come and go: what a node keeps of them does not grow with their number. */
import test from 'ava';
import { MAX_GONE_PEERS } from '../../src/node/known-peers.js';
import { certNamed } from '../helpers/certs.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';
import { inMemory, PATIENT, startVisited, visit, visitAll } from '../helpers/visitors.js';

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: more nodes come and go than a node remembers, which it does not forget while it has or dials them`, async (t) => {
    const transports = [transport];
    const n1 = await startVisited(t, { transports });
    const staying = await startNode(t, 'n2', { ...PATIENT, transports });
    await staying.connect(targetOf(n1));
    const dialed = await startNode(t, 'n3', { ...PATIENT, transports });
    await n1.connect(targetOf(dialed));
    await dialed.close();
    const count = MAX_GONE_PEERS + 20;
    const names = Array.from({ length: count }, (_, i) => `job-${i}`);
    // One certificate that may be any of them.
    const tls = await certNamed('job', { extraHosts: names });
    await visitAll(count, (i) =>
      visit({ nodeId: `job-${i}`, cluster: 'test', tls, transports }, n1),
    );
    await until(() => n1.peers.length === MAX_GONE_PEERS + 2);
    t.true(n1.peer('n2')?.isConnected);
    t.not(n1.peer('n3'), undefined, 'it is dialed, for ever');
    t.true(n1.counters.handshakes.accepted >= count);
  });
}

test('of very many that come and go a node lists those that went last', async (t) => {
  const { n1, as } = await inMemory(t);
  const count = 400;
  await visitAll(count, (i) => visit(as(`job-${i}`), n1));
  await until(() => n1.peers.length === MAX_GONE_PEERS);
  t.is(n1.counters.handshakes.accepted, count);
});
