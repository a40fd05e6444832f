/** Early data counts on a session. Who cannot show that it is the node of the session gets none of it. */
import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { isAboutCertificate, type MeshError, toMeshError } from '../../../src/errors.js';
import type { Connection, TlsMaterial } from '../../../src/transport/connection.js';
import { QuicTransport } from '../../../src/transport/quic/transport.js';
import { certNamed, nodeCert, otherCaCert } from '../../helpers/certs.js';
import { ChaosProxy, type DatagramHook } from '../../helpers/chaos-proxy/proxy.js';
import { quicPacketTypes } from '../../helpers/chaos-proxy/quic-packets.js';
import { Collector } from '../../helpers/frame-client.js';
import { startNode, targetOf } from '../../helpers/nodes.js';
import { shakeHands } from '../../helpers/shake-hands.js';
import { until } from '../../helpers/until.js';

const IMPOSTORS: Record<string, () => Promise<TlsMaterial>> = {
  'a certificate of another CA': async () => ({
    ...(await otherCaCert('n2')),
    ca: (await nodeCert('n1')).ca,
  }),
  'a certificate of another name': () => certNamed('n4'),
};

interface Encounter {
  /** Of each of 200 streams. */
  readonly payloadBytes: number;
  readonly onDatagram?: DatagramHook;
  /** Whether the impostor hears why it was left. Not where early data has filled the congestion window. */
  readonly isTold: boolean;
}

const AT_ONCE: Encounter = { payloadBytes: 500, isTold: true };

/** The impostor is not heard of again once the dialer's last flight has shown that TLS is done there. */
function silentFromThen(): Encounter {
  let isSilent = false;
  return {
    ...AT_ONCE,
    onDatagram: (direction, datagram) => {
      if (direction === 'toServer') isSilent ||= quicPacketTypes(datagram).includes('handshake');
      return direction === 'toClient' && isSilent ? 'drop' : undefined;
    },
  };
}

for (const [who, certificate] of Object.entries(IMPOSTORS)) {
  test(`early data is not sent again to who took the address with ${who}`, async (t) => {
    await meet(t, certificate, AT_ONCE);
  });
  test(`early data is not sent again by timeouts to who is silent, with ${who}`, async (t) => {
    await meet(t, certificate, silentFromThen());
  });
}

test('early data that waited for room is not sent to who took the address', async (t) => {
  await meet(t, () => certNamed('n4'), { payloadBytes: 5000, isTold: false });
});

async function meet(
  t: ExecutionContext,
  certificate: () => Promise<TlsMaterial>,
  { payloadBytes, onDatagram, isTold }: Encounter,
): Promise<void> {
  const dialer = await dialerWithSession(t);
  const impostor = await listenAs(t, await certificate());
  const proxy = await ChaosProxy.start({
    target: impostor.address,
    protocols: ['udp'],
    ...(onDatagram === undefined ? {} : { onDatagram }),
  });
  t.teardown(() => proxy.close());
  let wasEarly = false;
  const dialed = dialer.dial(
    { ...proxy.address, nodeId: 'n2' },
    {
      onEarly: (connection) => {
        wasEarly = true;
        for (let n = 0; n < 200; n += 1) {
          const stream = connection.openStream(new Collector(), { early: true });
          stream.send(randomBytes(payloadBytes));
          stream.end();
        }
      },
    },
  );
  const error = toMeshError(await t.throwsAsync(dialed));
  t.true(wasEarly);
  t.like(error, { side: 'local' });
  t.true(isAboutCertificate(error.code), error.code);
  if (isTold) t.like(await impostor.told(), { code: error.code, side: 'remote' });
  t.is(impostor.received.flatMap((collector) => collector.payloads).length, 0);
}

/** A dialer that was connected to n2, and has a session of it. n2 is gone by then. */
async function dialerWithSession(t: ExecutionContext): Promise<QuicTransport> {
  const n2 = await startNode(t, 'n2', { transports: ['quic'] });
  const target = targetOf(n2);
  const tls = await nodeCert('n1');
  const dialer = new QuicTransport({ cluster: 'test', tls: () => tls });
  t.teardown(() => dialer.close());
  const first = await shakeHands(await dialer.dial(target));
  await first.close();
  await until(() => n2.peers.length === 0 || n2.peer('n1')?.isConnected === false);
  await n2.close();
  return dialer;
}

async function listenAs(t: ExecutionContext, tls: TlsMaterial) {
  // An impostor answers whoever comes.
  const admission = { silent: 'off' } as const;
  const impostor = new QuicTransport({ cluster: 'test', tls: () => tls, admission });
  t.teardown(() => impostor.close());
  const received: Collector[] = [];
  const ends: Promise<MeshError>[] = [];
  const refusals: MeshError[] = [];
  const { address } = await impostor.listen({
    host: '127.0.0.1',
    port: 0,
    onConnection: (connection: Connection) => {
      ends.push(connection.closed);
      connection.onStream = () => {
        const collector = new Collector();
        received.push(collector);
        return collector;
      };
    },
    onRefused: ({ error }) => refusals.push(error),
  });
  return {
    address,
    received,
    /** Why the dialer has left. */
    told: async () => {
      await until(() => ends.length + refusals.length > 0);
      return refusals[0] ?? (await (ends[0] as Promise<MeshError>));
    },
  };
}
