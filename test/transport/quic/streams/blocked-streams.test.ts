/** Who goes on when QUIC has no room for all, on real connections. */
import test, { type ExecutionContext } from 'ava';
import type {
  Connection,
  FrameStreamHandler,
  StreamLimits,
} from '../../../../src/transport/connection.js';
import { QuicTransport } from '../../../../src/transport/quic/transport.js';
import { nodeCert } from '../../../helpers/certs.js';
import {
  type CollectedStream,
  Collector,
  openCollected,
  request,
} from '../../../helpers/frame-client.js';
import { until } from '../../../helpers/until.js';

const WINDOW_BYTES = 64 * 1024;
/** More than are asked one by one for credit of their own. */
const UPLOADS = 20;
/** Together several times what leaves at once on a new connection, each smaller than any datagram. */
const CALLS = 300;

test('streams that lack credit of their own hold up neither a call nor each other', async (t) => {
  const limits = { streamWindowBytes: WINDOW_BYTES, maxStreamWindowBytes: WINDOW_BYTES };
  const { dialer, acceptor } = await connect(t, limits);
  const heard: CollectedStream[] = [];
  acceptor.onStream = (stream) => {
    const collector = new Collector();
    heard.push({ stream, collector });
    if (heard.length <= UPLOADS) stream.pause();
    else stream.send(Buffer.of(1), { end: true });
    return collector;
  };
  for (let upload = 0; upload < UPLOADS; upload += 1) {
    const { stream } = openCollected(dialer);
    stream.send(Buffer.alloc(WINDOW_BYTES + 1000 * upload, upload));
    stream.send(Buffer.alloc(WINDOW_BYTES, upload), { end: true });
  }
  await until(() => heard.length === UPLOADS);
  // It is longer than what QUIC takes at once, so it stands in line behind those.
  t.is((await request(dialer, Buffer.alloc(WINDOW_BYTES - 100))).length, 1);
  const uploads = heard.slice(0, UPLOADS);
  for (const { stream } of uploads.toReversed()) {
    stream.resume();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const lengths = await Promise.all(
    uploads.map(async (each) => (await each.collector.ended).length),
  );
  // Several that arrive in one turn of the event loop may be heard in any order.
  lengths.sort((a, b) => a - b);
  t.deepEqual(
    lengths,
    lengths.map((_, upload) => 2 * WINDOW_BYTES + 1000 * upload),
  );
});

test('calls that wait for the congestion window leave in order, and all arrive', async (t) => {
  const { dialer, acceptor } = await connect(t, {});
  const ended: Promise<Buffer>[] = [];
  acceptor.onStream = () => {
    const collector = new Collector();
    ended.push(collector.ended);
    return collector;
  };
  const left: number[] = [];
  for (let call = 0; call < CALLS; call += 1) {
    const handler: FrameStreamHandler = new Collector();
    handler.onSent = () => left.push(call);
    dialer.openStream(handler).send(Buffer.alloc(900, call), { end: true });
  }
  t.true(left.length < CALLS);
  await until(() => ended.length === CALLS);
  t.true((await Promise.all(ended)).every(({ length }) => length === 900));
  t.deepEqual(
    left,
    left.map((_, call) => call),
  );
});

async function connect(
  t: ExecutionContext,
  limits: Partial<StreamLimits>,
): Promise<{ dialer: Connection; acceptor: Connection }> {
  const [n1, n2] = await Promise.all([nodeCert('n1'), nodeCert('n2')]);
  // A small congestion window to begin with.
  const maxDatagramBytes = 1350;
  const dialing = new QuicTransport({ cluster: 'test', tls: () => n1, limits, maxDatagramBytes });
  const listening = new QuicTransport({ cluster: 'test', tls: () => n2, limits, maxDatagramBytes });
  t.teardown(() => Promise.all([dialing.close(), listening.close()]));
  let accept: (connection: Connection) => void = () => {};
  const accepted = new Promise<Connection>((resolve) => {
    accept = resolve;
  });
  const listener = await listening.listen({ host: '127.0.0.1', port: 0, onConnection: accept });
  const dialer = await dialing.dial({ ...listener.address, nodeId: 'n2' });
  return { dialer, acceptor: await accepted };
}
