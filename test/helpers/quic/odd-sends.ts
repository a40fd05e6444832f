/**
 * For a network namespace of its own, from which nothing gets out: sends by sockets at every kind of host to odd addresses,
 * and gives endpoints there what strangers send, as if it came from such addresses. Prints as one line of JSON what was
 * counted, and what serves afterwards.
 */
import { Alarms } from '../../../src/base/alarms.js';
import { MeshError } from '../../../src/errors.js';
import { DEFAULT_STREAM_LIMITS } from '../../../src/transport/connection.js';
import { resolveAdmissionLimits } from '../../../src/transport/quic/admission/admission-policy.js';
import { createNativeConfig } from '../../../src/transport/quic/binding/config.js';
import { DEFAULT_INITIAL_WINDOW_BYTES } from '../../../src/transport/quic/binding/congestion-control.js';
import { loadNative } from '../../../src/transport/quic/binding/native.js';
import { QuicEndpoint } from '../../../src/transport/quic/endpoint/endpoint.js';
import { newEndpointCounters } from '../../../src/transport/quic/io/counters.js';
import { ListeningSockets } from '../../../src/transport/quic/io/listening-sockets.js';
import { UdpSocket } from '../../../src/transport/quic/io/udp-socket.js';
import { QuicTransport } from '../../../src/transport/quic/transport.js';
import { TrustStore } from '../../../src/transport/trust/identity.js';
import { nodeCert } from '../certs.js';
import { until } from '../until.js';
import { createForger } from './forger.js';
import { ODD_ADDRESSES } from './odd-addresses.js';

const HOSTS = ['127.0.0.1', '0.0.0.0', '::1', '::'];
const [tls, dialerTls] = [await nodeCert('n2'), await nodeCert('n1')];
const native = await loadNative();
const forger = await createForger(dialerTls);

const told: Record<string, unknown> = {};
for (const host of HOSTS)
  told[host] = { refused: await sendFrom(host), serves: await receiveAt(host) };
console.log(JSON.stringify(told));

/** @returns how many sends Node refused by throwing; all the others serve or fail as the system likes */
async function sendFrom(host: string): Promise<number> {
  const socket = await UdpSocket.bind({ host, port: 0 });
  let refused = 0;
  let received = 0;
  socket.handler = {
    onDatagram: (datagram) => {
      if (datagram.toString() === 'good') received += 1;
    },
    onSent: () => {},
    onUnanswerable: () => {},
    onSocketError: (_socket, code) => {
      if (code === 'ERR_SOCKET_BAD_PORT') refused += 1;
    },
  };
  for (const to of ODD_ADDRESSES) socket.send(Buffer.from('odd'), to);
  const own = { host: reachable(host), port: socket.address.port };
  await until(() => {
    socket.send(Buffer.from('good'), own);
    return received > 0;
  });
  await socket.close();
  return refused;
}

/** @returns with which answers to strangers an endpoint serves a dialer afterwards */
async function receiveAt(host: string): Promise<string[]> {
  const served: string[] = [];
  for (const retry of ['auto', 'always'] as const) {
    const { endpoint, socket } = await listen(host, retry);
    for (const from of ODD_ADDRESSES) {
      for (const datagram of strangersDatagrams()) endpoint.onDatagram(datagram, from, socket);
    }
    const dialer = new QuicTransport({ cluster: 'test', tls: () => dialerTls });
    const target = { host: reachable(host), port: socket.address.port, nodeId: 'n2' };
    const { state } = await dialer.dial(target);
    if (state.kind === 'open') served.push(retry);
    await dialer.close();
    await endpoint.close(new MeshError('NoError', 'done'));
  }
  return served;
}

/** Another version, an unknown connection, a dialer's first packet, and that packet with what follows it cut off. */
function strangersDatagrams(): Buffer[] {
  const ids = Buffer.from([8, ...Buffer.alloc(8, 1), 8, ...Buffer.alloc(8, 2)]);
  const otherVersion = Buffer.from('c01a2a3a4a', 'hex');
  return [
    Buffer.concat([otherVersion, ids, Buffer.alloc(1200)]),
    Buffer.concat([Buffer.of(0x40), Buffer.alloc(80, 7)]),
    forger.initial(),
    forger.initial().subarray(0, 1199),
  ];
}

async function listen(host: string, retry: 'auto' | 'always') {
  const limits = DEFAULT_STREAM_LIMITS;
  const tuning = { limits, idleTimeoutMs: 30_000, maxDatagramBytes: 1350 };
  const config = createNativeConfig(native, tls, tuning);
  const trust = new TrustStore(tls.ca);
  const sockets = await ListeningSockets.listen({ host, port: 0 });
  const endpoint = new QuicEndpoint(
    sockets,
    {
      native,
      alarms: new Alarms(),
      limits,
      connectTimeoutMs: 1000,
      keepAliveMs: 10_000,
      idleTimeoutMs: 30_000,
      admission: resolveAdmissionLimits({ retry }),
      resetKey: tls.key,
      migration: true,
      datagramLimits: () => ({ maxBytes: 1350, isFixed: true }),
      configFor: () => config,
      initialWindowBytes: DEFAULT_INITIAL_WINDOW_BYTES,
      isPaced: () => false,
      verifyDialer: (chain) => trust.verify(chain, 'dialer', Date.now()),
    },
    newEndpointCounters(),
  );
  endpoint.acceptor = { onConnection: () => {} };
  return { endpoint, socket: sockets.main };
}

/** Where a socket bound to this host is reached from this machine. */
function reachable(host: string): string {
  if (host === '::') return '::1';
  return host === '0.0.0.0' ? '127.0.0.1' : host;
}
