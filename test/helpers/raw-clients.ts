/** Clients that speak TLS or QUIC properly and put whatever bytes they like inside: no frames, no manners. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:tls';
import {
  DEFAULT_STREAM_LIMITS,
  type SocketAddress,
  type TlsMaterial,
} from '../../src/transport/connection.js';
import { createNativeConfig } from '../../src/transport/quic/binding/config.js';
import { loadNative } from '../../src/transport/quic/binding/native.js';
import { knockingProtocols } from './knock.js';
import { newKnock, TEST_CLUSTER } from './quic/knocking.js';
import { until } from './until.js';

export interface RawClient {
  /** Sends bytes on the one TLS stream, or on QUIC's first bidirectional stream. */
  write(bytes: Uint8Array): void;
  /** Whether the other side has closed. */
  readonly isClosed: boolean;
  close(): void;
}

export async function rawTlsClient(
  target: SocketAddress,
  { ca, cert, key }: TlsMaterial,
): Promise<RawClient> {
  const socket = connect({
    ...target,
    ...{ ca, cert, key },
    minVersion: 'TLSv1.3',
    ALPNProtocols: knockingProtocols({ ca }, TEST_CLUSTER),
    checkServerIdentity: () => undefined,
  });
  socket.on('error', () => {});
  socket.resume();
  await once(socket, 'secureConnect');
  return {
    write: (bytes) => void socket.write(bytes),
    get isClosed() {
      return socket.readableEnded || socket.destroyed;
    },
    close: () => void socket.destroy(),
  };
}

/** A bare loop over the binding: no acknowledgement pacing, no routing, one connection. */
export async function rawQuicClient(target: SocketAddress, tls: TlsMaterial): Promise<RawClient> {
  const native = await loadNative();
  const config = createNativeConfig(native, tls, {
    limits: DEFAULT_STREAM_LIMITS,
    idleTimeoutMs: 30_000,
    maxDatagramBytes: 1350,
  });
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const local = { host: '127.0.0.1', port: socket.address().port };
  const connection = native.Connection.connect(null, newKnock(tls), local, target, config);
  const flush = () => {
    const room = Buffer.alloc(65_535);
    for (let sent = connection.send(room); sent !== null; sent = connection.send(room)) {
      socket.send(Buffer.from(room.subarray(0, sent[0])), target.port, target.host);
    }
  };
  const timer = setInterval(() => {
    connection.onTimeout();
    flush();
  }, 20);
  socket.on('message', (datagram, from) => {
    try {
      connection.recv(datagram, { from: { host: from.address, port: from.port }, to: local });
    } catch {
      // The connection has closed over it, which `isClosed` tells.
    }
    flush();
  });
  flush();
  await until(() => connection.isEstablished());
  return {
    write(bytes) {
      connection.streamSend(0, bytes, false);
      flush();
    },
    get isClosed() {
      return connection.isDraining() || connection.isClosed();
    },
    close() {
      clearInterval(timer);
      socket.close();
    },
  };
}
