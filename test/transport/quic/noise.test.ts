/** Noise under a connection's ID is no sign of life to either side, and moves nothing. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import test from 'ava';
import type { Connection } from '../../../src/transport/connection.js';
import type { Direction } from '../../helpers/chaos-proxy/faults.js';
import { echoAcceptor, request } from '../../helpers/frame-client.js';
import { quicPair } from '../../helpers/quic/pair-through-proxy.js';
import { until } from '../../helpers/until.js';

/** The first byte and the connection ID of a packet with a short header. */
const HEAD_BYTES = 17;
/** So late after a datagram of the peer, noise may be believed once. */
const BELIEVED_MS = 50;

/** Every bit of a packet is noise but for what routes it. */
function noiseLike(datagram: Buffer): Buffer {
  const noise = Buffer.concat([datagram.subarray(0, HEAD_BYTES), randomBytes(60)]);
  noise[0] = 0x40;
  return noise;
}

for (const [direction, side] of [
  ['toClient', 'dialer'],
  ['toServer', 'acceptor'],
] as const satisfies readonly (readonly [Direction, string])[]) {
  test(`noise is no sign of life to the ${side}`, async (t) => {
    const pair = await quicPair(t);
    echoAcceptor(pair.acceptor);
    await request(pair.dialer, Buffer.of(1));
    const listener: Connection = pair[side];
    const { counters, udpClients } = pair.proxy;
    t.is(udpClients.length, 1);
    pair.proxy.onDatagram = (to, datagram) => {
      if (to === direction) return { replaceWith: noiseLike(datagram) };
      return undefined;
    };
    const before = counters.udp[direction].forwarded;
    const beforeMs = listener.lastReceivedMs;
    const lastGoodMs = performance.now();
    // The other side sends whenever it is asked to, or asks itself.
    while (counters.udp[direction].forwarded < before + 3) {
      pair.dialer.probe?.();
      pair.acceptor.probe?.();
      await new Promise((resolve) => setTimeout(resolve, BELIEVED_MS));
    }
    t.true(listener.lastReceivedMs >= beforeMs);
    t.true(listener.lastReceivedMs <= lastGoodMs + BELIEVED_MS);
    pair.proxy.onDatagram = undefined;
    await until(() => {
      pair.dialer.probe?.();
      pair.acceptor.probe?.();
      return listener.lastReceivedMs > lastGoodMs + BELIEVED_MS;
    });
    t.is(listener.state.kind, 'open');
  });
}

test('an acceptor follows no noise, and none of its datagrams sent again', async (t) => {
  const seen: Buffer[] = [];
  const pair = await quicPair(
    t,
    {},
    {
      onDatagram: (to, datagram) => {
        if (to === 'toServer' && (datagram[0] as number) < 0x80) seen.push(datagram);
        return undefined;
      },
    },
  );
  echoAcceptor(pair.acceptor);
  await request(pair.dialer, Buffer.of(1));
  const { remoteAddress, localAddress } = pair.acceptor;
  const { n2 } = pair.transports;
  const before = n2.counters.datagramsReceived;
  const stranger = createSocket('udp4');
  t.teardown(() => stranger.close());
  const copies = seen.flatMap((datagram) => [datagram, noiseLike(datagram)]);
  t.true(copies.length >= 2);
  for (const copy of copies) stranger.send(copy, localAddress.port, localAddress.host);
  await until(() => n2.counters.datagramsReceived >= before + copies.length);
  t.deepEqual(pair.acceptor.remoteAddress, remoteAddress);
  t.is(n2.counters.peerMigrations, 0);
  await request(pair.dialer, Buffer.of(2));
});
