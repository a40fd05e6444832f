/** Nodes with names of their own that come and go: what a node keeps of them. Many of them: `peers-forgotten.fault.ts`. */
import test from 'ava';
import { createNode } from '../../src/index.js';
import { MAX_GONE_PEERS } from '../../src/node/known-peers.js';
import { targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';
import { inMemory, visit, visitAll } from '../helpers/visitors.js';

test('a peer that somebody holds is the same when its node is back, however many came in between', async (t) => {
  const { n1, as } = await inMemory(t);
  const first = await createNode(as('held'));
  t.teardown(() => first.close());
  await first.connect(targetOf(n1));
  await until(() => n1.peer('held')?.isConnected === true);
  const held = n1.peer('held');
  await first.close();
  await visitAll(MAX_GONE_PEERS + 20, (i) => visit(as(`job-${i}`), n1));
  t.is(n1.peer('held'), undefined);
  t.false(held?.isConnected);
  const call = held?.request({ type: 'ping' });
  t.like(await t.throwsAsync(async () => call), { code: 'ConnectionLost' });
  const second = await createNode(as('HELD'));
  t.teardown(() => second.close());
  await second.connect(targetOf(n1));
  await until(() => held?.isConnected === true);
  t.is(n1.peer('held'), held);
  t.like(await held?.request({ type: 'ping' }), { type: 'pong' });
  await second.close();
  await visitAll(MAX_GONE_PEERS + 20, (i) => visit(as(`job-${i}`), n1));
  t.is(n1.peer('held'), undefined);
  await n1.close();
  const late = held?.request({ type: 'ping' });
  t.like(await t.throwsAsync(async () => late), { code: 'NodeClosed' });
});

test('nodes that were dialed in vain are forgotten as well, and dialed again when they are asked for', async (t) => {
  const { n1, as } = await inMemory(t);
  for (let i = 0; i < MAX_GONE_PEERS + 20; i += 1) {
    await t.throwsAsync(n1.connect({ nodeId: `n-${i}`, host: '127.0.0.1', port: 60_000 }));
  }
  t.is(n1.peers.length, MAX_GONE_PEERS);
  const late = await createNode({ ...as('n-0'), listen: { host: '127.0.0.1', port: 0 } });
  t.teardown(() => late.close());
  t.is(n1.peer('n-0'), undefined);
  t.true((await n1.connect(targetOf(late))).isConnected);
});
