/** A client of another stack whose handshake says less than its transport parameters. */
import test from 'ava';
import type { NativeConfig } from '../../src/transport/quic/binding/native.js';
import { nodeCert } from '../helpers/certs.js';
import { startNode, targetOf } from '../helpers/nodes.js';
import { PlainClient, type PlainStream } from '../helpers/quic/plain-client.js';
import { until } from '../helpers/until.js';

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

const CONTROL_LIMITS: Readonly<Record<string, (config: NativeConfig) => void>> = {
  'no control stream': (config) => config.setInitialMaxStreamsUni(0),
  'a control stream without window': (config) => config.setInitialMaxStreamDataUni(0),
  'a small window of the connection': () => {},
};

for (const [title, limit] of Object.entries(CONTROL_LIMITS)) {
  test(`a client that allows ${title} gets all calls and answers`, async (t) => {
    const node = await startNode(t, 'n2', { transports: ['quic'] });
    node.handle('request', ({ body }) => ({ body }));
    const client = await PlainClient.connect(t, targetOf(node), await nodeCert('n1'), {
      configure: (config) => {
        config.setInitialMaxData(30_000);
        config.setMaxConnectionWindow(30_000);
        limit(config);
      },
    });
    await until(() => node.peer('n1')?.isConnected === true);
    const body = Buffer.alloc(10_000, 5);
    const echoes = Array.from({ length: 20 }, () =>
      client.call({ type: 'request', method: 'm', body }),
    );
    const calls = Array.from({ length: 20 }, () =>
      node.peer('n1')?.request({ type: 'request', method: 'm', body }),
    );
    const answered = new Set<PlainStream>();
    await until(() => {
      for (const stream of client.streams.values()) {
        if (stream.id % 4 !== 1 || stream.frames.length === 0 || answered.has(stream)) continue;
        answered.add(stream);
        client.send(stream, { type: 'response', body: stream.bytes }, { end: true });
      }
      return answered.size === calls.length && echoes.every(({ ended }) => ended);
    });
    for (const reply of await Promise.all(calls)) t.true((reply?.body as number) > body.length);
    for (const echo of echoes) t.true(echo.bytes > body.length);
  });
}
