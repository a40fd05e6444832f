/** Readers that pause: what arrives and waits for them is nobody’s fault. */
import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { Connection } from '../../../src/transport/connection.js';
import { QuicTransport } from '../../../src/transport/quic/transport.js';
import { nodeCert } from '../../helpers/certs.js';
import { type CollectedStream, Collector, openCollected } from '../../helpers/frame-client.js';
import { until } from '../../helpers/until.js';

const MIB = 1024 * 1024;
const STREAMS = 24;

test('two dozen streams whose readers pause may fill the connection’s window, and go on later', async (t) => {
  const { dialer, acceptor } = await pairOf(t);
  const accepted: CollectedStream[] = [];
  acceptor.onStream = (stream) => {
    stream.pause();
    const collector = new Collector();
    accepted.push({ stream, collector });
    return collector;
  };
  const chunk = randomBytes(32 * 1024);
  const chunks = (2 * MIB) / chunk.length;
  const sending = Array.from({ length: STREAMS }, () => uploadTo(dialer, chunk, chunks));
  await until(() => accepted.length === STREAMS);
  // Nobody reads, until nothing more comes.
  let before = -1;
  while (acceptor.counters.bytesReceived !== before) {
    before = acceptor.counters.bytesReceived;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  t.is(acceptor.state.kind, 'open');
  for (const { stream } of accepted) stream.resume();
  await Promise.all(sending);
  for (const { collector } of accepted) {
    t.is((await collector.ended).length, chunk.length * chunks);
  }
  t.is(acceptor.state.kind, 'open');
});

async function uploadTo(connection: Connection, chunk: Buffer, chunks: number): Promise<void> {
  const { stream, collector } = openCollected(connection);
  for (let i = 0; i < chunks; i += 1) {
    if (!stream.send(chunk, { end: i === chunks - 1 })) await collector.drained();
  }
}

async function pairOf(t: ExecutionContext): Promise<{ dialer: Connection; acceptor: Connection }> {
  const [n1, n2] = await Promise.all([nodeCert('n1'), nodeCert('n2')]);
  const dialing = new QuicTransport({ cluster: 'test', tls: () => n1 });
  const listening = new QuicTransport({ cluster: 'test', tls: () => n2 });
  t.teardown(() => Promise.all([dialing.close(), listening.close()]));
  let accept: (connection: Connection) => void = () => {};
  const accepted = new Promise<Connection>((resolve) => {
    accept = resolve;
  });
  const { address } = await listening.listen({ host: '127.0.0.1', port: 0, onConnection: accept });
  return { dialer: await dialing.dial({ ...address, nodeId: 'n2' }), acceptor: await accepted };
}
