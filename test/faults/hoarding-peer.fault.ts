/** A peer that makes a node hold as much as it can: the node keeps within the peer's share, and serves others. */
import test from 'ava';
import { MessageCodec } from '../../src/protocol/codec.js';
import { openCollected } from '../helpers/frame-client.js';
import { bareClient, hold, holdingPair } from '../helpers/holding-pair.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const MIB = 1024 * 1024;

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: answers that come all at once and are not read are dropped beyond the peer's share, and other peers are served`, async (t) => {
    const limits = { connectionBytes: 16 * MIB, peerBytes: 16 * MIB };
    const { peer, gate, n2 } = await holdingPair(t, transport, { n2: { limits } });
    const connection = await bareClient(t, transport, n2, 'n3');
    const codec = new MessageCodec();
    const call = codec.encode({ type: 'request', method: 'held, with a big answer' });
    const silent = Array.from({ length: 50 }, () => {
      const opened = openCollected(connection);
      opened.stream.pause();
      opened.stream.send(call, { end: true });
      return opened;
    });
    await until(() => gate.held.length === silent.length);
    gate.open();
    // Nothing of that peer's fits now. Another has a share of its own.
    t.like(await hold(peer, 'big answer'), { type: 'response' });
    const answers = silent.map(async ({ stream, collector }) => {
      stream.resume();
      return codec.decode(await collector.ended);
    });
    const settled = await Promise.all(answers);
    const dropped = settled.filter(({ type }) => type === 'error');
    // The peer's windows have room for 16 MiB, its share for 16 and a quarter more.
    t.true(dropped.length >= 50 - 16 - 20 - 2, `${dropped.length} dropped`);
    t.true(dropped.length < 50);
    for (const error of dropped) t.like(error, { code: 'HandlerFailed', retryable: true });
    const again = openCollected(connection);
    again.stream.send(codec.encode({ type: 'request', method: 'big answer' }), { end: true });
    t.is(codec.decode(await again.collector.ended).type, 'response');
  });

  test(`${transport}: the share of a peer holds over all of its connections, and leaves others theirs`, async (t) => {
    const limits = { connectionBytes: 16 * MIB, peerBytes: 16 * MIB, nodeBytes: 64 * MIB };
    const { peer, gate, n1, n2 } = await holdingPair(t, transport, { n2: { limits } });
    const other = await startNode(t, 'n3', { transports: [transport], listen: undefined });
    const fromOther = await other.connect(targetOf(n2));
    const held = [hold(peer, 'held', new Uint8Array(15 * MIB))];
    await until(() => gate.held.length === 1);
    const second = await n1.connect({ ...targetOf(n2), nodeId: undefined });
    t.true(second.connections.length >= 2);
    held.push(hold(peer, 'held too', new Uint8Array(MIB)));
    await until(() => gate.held.length === 2);
    t.like(await t.throwsAsync(hold(peer, 'refused')), { code: 'Overloaded', side: 'remote' });
    const others = hold(fromOther, 'of another', new Uint8Array(MIB));
    await until(() => gate.held.length === 3);
    gate.open();
    await Promise.all([...held, others]);
  });
}
