/** UDP that vanishes, between nodes that know nothing of it yet. */
import test from 'ava';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { RemoteNode } from './helpers/remote-node.js';

const FIRST_REPLY_MS = 1000;

test('the first reply comes over TCP within a second of the beginning of connect', async (t) => {
  const n2 = await RemoteNode.start(t, 'n2');
  const n3 = await RemoteNode.start(t, 'n3', { process: n2.process });
  const n1 = await RemoteNode.start(t, 'n1', { listens: false });
  const proxy = await ChaosProxy.start({ target: n2.target, faults: { udp: { blackHole: true } } });
  t.teardown(() => proxy.close());
  t.log(`seed ${proxy.seed}`);
  // Code that runs for the first time takes its time.
  await n1.ask('firstReply', { target: n3.target });
  const target = { ...n2.target, ...proxy.address };
  const { tookMs, transport } = await n1.ask('firstReply', { target });
  t.log(`first reply after ${tookMs.toFixed(0)} ms over ${transport}`);
  t.is(transport, 'tcp');
  t.true(proxy.counters.udp.toServer.dropped > 0, 'QUIC was tried');
  t.true(tookMs < FIRST_REPLY_MS, `${tookMs} ms`);
});
