/** How a peer may give a stream up, packet by packet, and what this side learns of it. SPEC.md, "QUIC". */
import test, { type ExecutionContext } from 'ava';
import type { MeshErrorCode } from '../../../src/errors.js';
import { wireCodeOf } from '../../../src/errors.js';
import { encodeReset } from '../../../src/protocol/control.js';
import { encodeFrame, FrameFlag } from '../../../src/protocol/frame.js';
import type { Connection } from '../../../src/transport/connection.js';
import { CONTROL_STREAM_ID } from '../../../src/transport/quic/streams/control-stream.js';
import { messageIdOf } from '../../../src/transport/quic/streams/stream.js';
import { QuicTransport } from '../../../src/transport/quic/transport.js';
import { nodeCert } from '../../helpers/certs.js';
import { Collector, openCollected } from '../../helpers/frame-client.js';
import { resetStreamFrame, stopSendingFrame, streamFrame } from '../../helpers/quic/frames.js';
import { HostileClient } from '../../helpers/quic/hostile-client.js';
import { until } from '../../helpers/until.js';

const CODE: MeshErrorCode = 'DeadlineExceeded';
const REASON = 'its time is over';

/** Frames of one stream, by name; `open` is what came on it before. */
interface Frames {
  /** A frame of the protocol that does not end the stream. */
  readonly open: Buffer;
  readonly notice: Buffer;
  /** One more byte, and FIN. */
  readonly fin: Buffer;
  readonly reset: Buffer;
  readonly stop: Buffer;
}

/** What comes, datagram by datagram, and what is to be heard of it. */
const ENDS: Readonly<
  Record<string, [datagrams: (keyof Frames)[][], code: MeshErrorCode, reason: string]>
> = {
  'notice and FIN in one datagram': [[['open'], ['notice', 'fin']], CODE, REASON],
  'FIN and notice in one datagram': [[['open'], ['fin', 'notice']], CODE, REASON],
  'frame, FIN and notice in one datagram': [[['open', 'fin', 'notice']], CODE, REASON],
  'notice, frame and FIN in one datagram': [[['notice', 'open', 'fin']], CODE, REASON],
  'notice, then FIN': [[['open'], ['notice'], ['fin']], CODE, REASON],
  'FIN, then its notice': [[['open'], ['fin'], ['notice']], CODE, REASON],
  'notice alone': [[['open'], ['notice']], CODE, REASON],
  'FIN alone': [[['open'], ['fin']], 'StreamReset', 'the peer gave up the stream'],
  'RESET_STREAM alone': [[['open'], ['reset']], CODE, `stream reset with ${CODE}`],
  'RESET_STREAM behind its frame': [[['open', 'reset']], CODE, `stream reset with ${CODE}`],
  'RESET_STREAM and notice': [[['open'], ['reset', 'notice']], CODE, REASON],
  'notice and RESET_STREAM': [[['open'], ['notice', 'reset']], CODE, REASON],
  'STOP_SENDING alone': [[['open'], ['stop']], CODE, `stream reset with ${CODE}`],
  'STOP_SENDING behind its frame': [[['open', 'stop']], CODE, `stream reset with ${CODE}`],
  'STOP_SENDING and notice': [[['open'], ['stop', 'notice']], CODE, REASON],
  'STOP_SENDING and RESET_STREAM': [
    [['open'], ['stop', 'reset']],
    CODE,
    `stream reset with ${CODE}`,
  ],
};

for (const [title, [datagrams, code, message]] of Object.entries(ENDS)) {
  for (const opener of ['peer', 'node'] as const) {
    test(`${title}: a stream of the ${opener}'s ends with ${code}`, async (t) => {
      const { connection, client } = await setUp(t);
      const collector = new Collector();
      connection.onStream = () => collector;
      const own = opener === 'node' ? openCollected(connection) : undefined;
      own?.stream.send(Buffer.of(1));
      const frames = framesOf(opener === 'node' ? 1 : 0);
      if (own !== undefined) await until(() => client.received.datagrams > 0);
      for (const names of datagrams) await client.send(...names.map((name) => frames[name]));
      const heard = own?.collector ?? collector;
      t.like(await heard.reset, { code, message, side: 'remote' });
      t.is(heard.calls.onReset, 1);
      t.is(connection.state.kind, 'open');
    });
  }
}

test('of many streams those that the peer stops learn of it, without another datagram, and no others', async (t) => {
  const { connection, client } = await setUp(t);
  const collectors: Collector[] = [];
  connection.onStream = () => {
    const collector = new Collector();
    collectors.push(collector);
    return collector;
  };
  for (let i = 0; i < 200; i += 1) await client.send(framesOf(4 * i).open);
  await until(() => collectors.length === 200);
  const stopped = [3, 50, 111, 199];
  await client.send(...stopped.map((i) => framesOf(4 * i).stop));
  await Promise.all(stopped.map((i) => collectors[i]?.reset));
  t.deepEqual(
    collectors.flatMap(({ calls }, i) => (calls.onReset > 0 ? [i] : [])),
    stopped,
  );
});

test('a stream whose reader pauses learns of RESET_STREAM', async (t) => {
  const { connection, client } = await setUp(t);
  const collector = new Collector();
  connection.onStream = (stream) => {
    queueMicrotask(() => stream.pause());
    return collector;
  };
  const { open, reset } = framesOf(0);
  await client.send(open);
  await until(() => collector.payloads.length === 1);
  await client.send(reset);
  t.like(await collector.reset, { code: CODE });
});

test('STOP_SENDING for a request that was sent whole does not end the call', async (t) => {
  const { connection, client } = await setUp(t);
  const { stream, collector } = openCollected(connection);
  stream.send(Buffer.of(1), { end: true });
  await until(() => client.received.datagrams > 0);
  const { open, stop } = framesOf(1);
  await client.send(stop);
  await client.send(open);
  await until(() => collector.payloads.length === 1);
  t.is(collector.calls.onReset, 0);
});

/** A connection, and the peer that dialed it, which sends whatever frames a test makes up. */
async function setUp(
  t: ExecutionContext,
): Promise<{ connection: Connection; client: HostileClient }> {
  const [n1, n2] = await Promise.all([nodeCert('n1'), nodeCert('n2')]);
  const transport = new QuicTransport({ cluster: 'test', tls: () => n1 });
  t.teardown(() => transport.close());
  let accept: (connection: Connection) => void = () => {};
  const accepted = new Promise<Connection>((resolve) => {
    accept = resolve;
  });
  const { address } = await transport.listen({ host: '127.0.0.1', port: 0, onConnection: accept });
  const client = await HostileClient.connect(t, address, n2);
  return { connection: await accepted, client };
}

function framesOf(streamId: number): Frames {
  const messageId = messageIdOf(streamId);
  const frame = encodeFrame({ messageId, payload: Buffer.of(7), checksum: true });
  const wireCode = wireCodeOf(CODE);
  const payload = encodeReset({ code: CODE, reason: REASON });
  const notice = encodeFrame({ control: FrameFlag.reset, messageId, payload, checksum: true });
  return {
    open: streamFrame(streamId, 0, frame),
    notice: streamFrame(CONTROL_STREAM_ID.dialer, 0, notice),
    fin: streamFrame(streamId, frame.length, Buffer.alloc(1), true),
    reset: resetStreamFrame(streamId, wireCode, frame.length),
    stop: stopSendingFrame(streamId, wireCode),
  };
}
