/** Going away over QUIC, by a peer whose packets a test makes up. SPEC.md, "Going away". */
import test, { type ExecutionContext } from 'ava';
import { encodeAllOver, encodeGoAway } from '../../../src/protocol/control.js';
import { encodeFrame, FrameFlag } from '../../../src/protocol/frame.js';
import type { Connection } from '../../../src/transport/connection.js';
import { CONTROL_STREAM_ID } from '../../../src/transport/quic/streams/control-stream.js';
import { messageIdOf } from '../../../src/transport/quic/streams/stream.js';
import { QuicTransport } from '../../../src/transport/quic/transport.js';
import { nodeCert } from '../../helpers/certs.js';
import { echoAcceptor, openCollected } from '../../helpers/frame-client.js';
import { streamFrame } from '../../helpers/quic/frames.js';
import { HostileClient } from '../../helpers/quic/hostile-client.js';
import { until } from '../../helpers/until.js';

const VIOLATIONS: Readonly<Record<string, (peer: Peer) => Promise<void>>> = {
  'going away in seven bytes': (peer) => peer.tell(Buffer.alloc(7)),
  'going away after 2^53 streams': (peer) => peer.tell(Buffer.from('0020000000000000', 'hex')),
  'going away twice': (peer) => peer.tell(encodeGoAway(1), encodeGoAway(1)),
  'a stream beyond those announced': async (peer) => {
    await peer.tell(encodeGoAway(1));
    await peer.ask(0);
    await peer.ask(4);
  },
  'going away after fewer streams than were opened': async (peer) => {
    await peer.ask(0);
    await peer.ask(4);
    await peer.tell(encodeGoAway(1));
  },
  'the end of all streams before going away': (peer) => peer.tell(encodeAllOver()),
  'the end of all streams twice': (peer) =>
    peer.tell(encodeGoAway(0), encodeAllOver(), encodeAllOver()),
};

for (const [title, misbehave] of Object.entries(VIOLATIONS)) {
  test(`${title} closes the connection with ProtocolViolation`, async (t) => {
    const { connection, peer } = await setUp(t);
    await misbehave(peer);
    t.like(await connection.closed, { code: 'ProtocolViolation', side: 'local' });
    await connection.drained;
  });
}

test('streams that arrive after their announcement, in any order, are served before all is over', async (t) => {
  const { connection, peer } = await setUp(t);
  await peer.tell(encodeGoAway(3), encodeAllOver());
  let isDrained = false;
  const drained = connection.drained.then(() => {
    isDrained = true;
  });
  await until(() => connection.isGoingAway);
  for (const id of [8, 0, 4]) {
    t.false(isDrained);
    const before = connection.counters.streamsAccepted;
    await peer.ask(id);
    await until(() => connection.counters.streamsAccepted === before + 1);
  }
  await drained;
  t.is(connection.state.kind, 'open');
});

test('a side that still has a stream to open says so only behind it', async (t) => {
  const { connection, peer } = await setUp(t);
  const { stream } = openCollected(connection);
  await peer.tell(encodeGoAway(0));
  await until(() => connection.isGoingAway);
  // Were it told already, all could be over.
  stream.send(Buffer.of(1), { end: true });
  await peer.tell(encodeAllOver());
  let isDrained = false;
  void connection.drained.then(() => {
    isDrained = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.false(isDrained, 'its stream is open');
  t.is(connection.openStreams, 1);
  stream.reset('Cancelled');
  await connection.drained;
});

interface Peer {
  /** Ends of message id 0, one behind the other on the control stream. */
  tell(...payloads: readonly Uint8Array[]): Promise<void>;
  /** A whole request on a stream. */
  ask(streamId: number): Promise<void>;
}

/** A connection, and the peer that dialed it, which may send anything. */
async function setUp(t: ExecutionContext): Promise<{ connection: Connection; peer: Peer }> {
  const [n1, n2] = await Promise.all([nodeCert('n1'), nodeCert('n2')]);
  const transport = new QuicTransport({ cluster: 'test', tls: () => n1 });
  t.teardown(() => transport.close());
  let accept: (connection: Connection) => void = () => {};
  const accepted = new Promise<Connection>((resolve) => {
    accept = resolve;
  });
  const { address } = await transport.listen({ host: '127.0.0.1', port: 0, onConnection: accept });
  const client = await HostileClient.connect(t, address, n2);
  const connection = await accepted;
  echoAcceptor(connection);
  let offset = 0;
  return {
    connection,
    peer: {
      async tell(...payloads) {
        const frames = payloads.map((payload) =>
          encodeFrame({ control: FrameFlag.end, messageId: 0, payload, checksum: true }),
        );
        const bytes = Buffer.concat(frames);
        await client.send(streamFrame(CONTROL_STREAM_ID.dialer, offset, bytes));
        offset += bytes.length;
      },
      async ask(streamId) {
        const messageId = messageIdOf(streamId);
        const payload = Buffer.of(1);
        const frame = encodeFrame({
          control: FrameFlag.end,
          messageId,
          payload,
          checksum: true,
        });
        await client.send(streamFrame(streamId, 0, frame, true));
      },
    },
  };
}
