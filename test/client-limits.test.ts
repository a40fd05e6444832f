/** A client of another stack whose handshake says less than its transport parameters. */
import test from 'ava';
import { nodeCert } from './helpers/certs.js';
import { startNode, targetOf } from './helpers/nodes.js';
import { PlainClient, type PlainStream } from './helpers/quic/plain-client.js';
import { until } from './helpers/until.js';

test('a node has no more calls open at its dialer than that dialer’s handshake allows', async (t) => {
  const node = await startNode(t, 'n2', { transports: ['quic'] });
  const options = { maxStreams: 2 };
  const client = await PlainClient.connect(t, targetOf(node), await nodeCert('n1'), options);
  await until(() => node.peer('n1')?.isConnected === true);
  const calls = Array.from({ length: 20 }, (_, i) =>
    node.peer('n1')?.request({ type: 'request', method: 'm', body: i }),
  );
  const answered = new Set<PlainStream>();
  const open = () =>
    [...client.streams.values()].filter(
      (stream) => stream.id % 4 === 1 && stream.frames.length > 0 && !answered.has(stream),
    );
  for (let i = 0; i < calls.length; i += 1) {
    await until(() => open().length === Math.min(2, calls.length - i));
    const [first] = open() as [PlainStream];
    answered.add(first);
    client.send(first, { type: 'response', body: i }, { end: true });
    t.true(open().length < 2);
  }
  const replies = await Promise.all(calls);
  t.deepEqual(
    replies.map((reply) => reply?.body),
    replies.map((_, i) => i),
  );
});
