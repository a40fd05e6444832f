/** First packets of clients that are not there, sent from any address of loopback. */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import {
  DEFAULT_STREAM_LIMITS,
  type SocketAddress,
  type TlsMaterial,
} from '../../../src/transport/connection.js';
import { createNativeConfig } from '../../../src/transport/quic/binding/config.js';
import { loadNative } from '../../../src/transport/quic/binding/native.js';
import { type InitialPacket, initialKeys, initialPacket, openPacket } from './packets.js';

/** Header of the binding's first packet: IDs of 16 bytes, no token, a length in two bytes. */
const LENGTH_OFFSET = 1 + 4 + 1 + 16 + 1 + 16 + 1;
const NUMBER_OFFSET = LENGTH_OFFSET + 2;

export interface Forger {
  /** What every forged packet has as its source connection ID, because the ClientHello names it. */
  readonly sourceId: Buffer;
  /** The frames of a real first packet, with its ClientHello. */
  readonly hello: Buffer;
  /** A client's first datagram, by default with a new connection ID and all that a server wants to see. */
  initial(changes?: Partial<InitialPacket>): Buffer;
}

/** Takes a ClientHello from a real client that never hears an answer. */
export async function createForger(tls: TlsMaterial): Promise<Forger> {
  const native = await loadNative();
  const config = createNativeConfig(native, tls, {
    limits: DEFAULT_STREAM_LIMITS,
    idleTimeoutMs: 30_000,
    maxDatagramBytes: 1350,
  });
  const sourceId = randomBytes(16);
  const nowhere = { host: '127.0.0.1', port: 9 };
  const client = native.Connection.connect(null, sourceId, nowhere, nowhere, config);
  const room = Buffer.alloc(1350);
  const sent = client.send(room);
  if (sent === null) throw new Error('the client had nothing to send');
  const end = NUMBER_OFFSET + (room.readUInt16BE(LENGTH_OFFSET) & 0x3fff);
  const opened = openPacket(room.subarray(0, end), NUMBER_OFFSET, 0, initialKeys(idOf(room)));
  if (opened === undefined) throw new Error('the first packet does not open');
  // Forged packets bring their own padding.
  const hello = opened.payload.subarray(0, opened.payload.findLastIndex((byte) => byte !== 0) + 1);
  return {
    sourceId,
    hello,
    initial: (changes = {}) =>
      initialPacket({
        originalId: randomBytes(16),
        sourceId,
        packetNumber: 0,
        payload: hello,
        ...changes,
      }),
  };
}

/** A UDP socket at any address of loopback that keeps what it gets. */
export interface Stranger {
  readonly address: SocketAddress;
  readonly received: Buffer[];
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Whom the last datagram came from. */
  readonly lastPort: number | undefined;
  send(datagram: Buffer, to: SocketAddress): Promise<void>;
  close(): void;
}

export async function strangerAt(host: string): Promise<Stranger> {
  const socket: Socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  const received: Buffer[] = [];
  let sentBytes = 0;
  let lastPort: number | undefined;
  socket.on('message', (datagram, { port }) => {
    received.push(datagram);
    lastPort = port;
  });
  return {
    address: { host, port: socket.address().port },
    received,
    get receivedBytes() {
      return received.reduce((sum, { length }) => sum + length, 0);
    },
    get sentBytes() {
      return sentBytes;
    },
    get lastPort() {
      return lastPort;
    },
    send: (datagram, to) =>
      new Promise((resolve, reject) => {
        sentBytes += datagram.length;
        socket.send(datagram, to.port, to.host, (error) => (error ? reject(error) : resolve()));
      }),
    close: () => void socket.close(),
  };
}

/** The destination connection ID of a long header. */
export function idOf(packet: Buffer): Buffer {
  return packet.subarray(6, 6 + (packet[5] as number));
}

/** What a Retry packet says (RFC 9000, section 17.2.5); `undefined` for any other. */
export function readRetry(
  packet: Buffer,
): { destinationId: Buffer; sourceId: Buffer; token: Buffer; tag: Buffer } | undefined {
  if (((packet[0] as number) & 0xf0) !== 0xf0 || packet.readUInt32BE(1) !== 1) return undefined;
  const destinationId = idOf(packet);
  const sourceAt = 6 + destinationId.length;
  const tokenAt = sourceAt + 1 + (packet[sourceAt] as number);
  return {
    destinationId,
    sourceId: packet.subarray(sourceAt + 1, tokenAt),
    token: packet.subarray(tokenAt, -16),
    tag: packet.subarray(-16),
  };
}
