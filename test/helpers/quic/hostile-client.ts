/**
 * A client with a good certificate that keeps to the handshake, and after it sends whatever packets a test makes up.
 * The handshake is the binding's; from then on there is only a UDP socket and the keys that the key log told.
 */
import { createSocket, type Socket } from 'node:dgram';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { KNOCK_BYTES } from '../../../src/protocol/knock.js';
import {
  DEFAULT_STREAM_LIMITS,
  type SocketAddress,
  type TlsMaterial,
} from '../../../src/transport/connection.js';
import { createNativeConfig } from '../../../src/transport/quic/binding/config.js';
import { loadNative, type NativeConnection } from '../../../src/transport/quic/binding/native.js';
import { until } from '../until.js';
import { newKnock } from './knocking.js';
import { type CipherSuite, type PacketKeys, packetKeys } from './packet-keys.js';
import { openPacket, shortPacket } from './packets.js';

/** Far above those that the handshake used, and sent in full. */
const FIRST_PACKET_NUMBER = 1000;
const ID_BYTES = KNOCK_BYTES;
const MAX_DATAGRAM_BYTES = 65_535;

/** Where what is to be cleared away is named: a test, or whoever else has an end. */
export type Teardown = Pick<ExecutionContext, 'teardown'>;

export class HostileClient {
  /** Where the victim's packets are to be addressed to: its connection ID. */
  readonly destinationId: Buffer;
  /** The largest packet number seen of the victim's. */
  largestReceived = 0;
  /** Datagrams and bytes that came from the victim since the handshake. */
  received = { datagrams: 0, bytes: 0 };
  /** Whether what comes is only counted. */
  isDeaf = false;
  nextPacketNumber = FIRST_PACKET_NUMBER;
  readonly #target: SocketAddress;
  readonly #keys: { readonly own: PacketKeys; readonly victim: PacketKeys };
  #socket: Socket;

  /** Connects; every socket is closed when the test ends. */
  static async connect(
    t: Teardown,
    target: SocketAddress,
    tls: TlsMaterial,
  ): Promise<HostileClient> {
    const directory = await mkdtemp(join(tmpdir(), 'quicmesh-hostile-'));
    t.teardown(() => rm(directory, { recursive: true, force: true }));
    const keyLog = join(directory, 'keys.log');
    const socket = await openSocket(t);
    const { connection, shortPackets } = await handshake(socket, target, tls, keyLog);
    const secrets = await readSecrets(keyLog);
    const keys = findKeys(secrets, shortPackets);
    return new HostileClient(t, target, socket, Buffer.from(connection.destinationId()), keys);
  }

  private constructor(
    t: Teardown,
    target: SocketAddress,
    socket: Socket,
    destinationId: Buffer,
    keys: { readonly own: PacketKeys; readonly victim: PacketKeys },
  ) {
    this.#target = target;
    this.#socket = socket;
    this.destinationId = destinationId;
    this.#keys = keys;
    this.#listen(socket);
    this.moveToNewPort = async () => {
      this.#socket = await openSocket(t);
      this.#listen(this.#socket);
    };
  }

  /** Sends from another port from now on. */
  readonly moveToNewPort: () => Promise<void>;

  /** One packet with these frames, in a datagram of its own. Fulfils when the system has taken it. */
  async send(...frames: readonly Buffer[]): Promise<void> {
    await this.sendDatagram(this.packet(Buffer.concat(frames)));
  }

  /** Many packets, no faster than the victim's socket buffer can take them. */
  async sendAll(payloads: Iterable<Buffer>): Promise<void> {
    let sent = 0;
    for (const payload of payloads) {
      await this.sendDatagram(this.packet(payload));
      sent += 1;
      if (sent % 32 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  packet(payload: Buffer): Buffer {
    const packetNumber = this.nextPacketNumber;
    this.nextPacketNumber += 1;
    return shortPacket(this.destinationId, packetNumber, payload, this.#keys.own);
  }

  sendDatagram(datagram: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.send(datagram, this.#target.port, this.#target.host, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
  }

  #listen(socket: Socket): void {
    socket.removeAllListeners('message');
    socket.on('message', (datagram) => {
      this.received.datagrams += 1;
      this.received.bytes += datagram.length;
      if (this.isDeaf) return;
      const opened = openShort(datagram, this.largestReceived + 1, this.#keys.victim);
      if (opened === undefined) return;
      this.largestReceived = Math.max(this.largestReceived, opened.packetNumber);
      this.onPayload?.(opened.payload);
    });
  }

  /** Called with what each of the victim's packets carries. */
  onPayload: ((payload: Buffer) => void) | undefined;
}

async function openSocket(t: Teardown): Promise<Socket> {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return socket;
}

/** The binding's own handshake, until the victim has confirmed it, and all packets with short headers that came. */
async function handshake(
  socket: Socket,
  target: SocketAddress,
  tls: TlsMaterial,
  keyLog: string,
): Promise<{ connection: NativeConnection; shortPackets: readonly Buffer[] }> {
  const native = await loadNative();
  const config = createNativeConfig(native, tls, {
    limits: DEFAULT_STREAM_LIMITS,
    idleTimeoutMs: 60_000,
    maxDatagramBytes: 1350,
  });
  config.logKeys();
  const local = { host: '127.0.0.1', port: socket.address().port };
  const connection = native.Connection.connect(null, newKnock(tls), local, target, config);
  connection.setKeylog(keyLog);
  const shortPackets: Buffer[] = [];
  const room = Buffer.alloc(MAX_DATAGRAM_BYTES);
  const flush = () => {
    for (let sent = connection.send(room); sent !== null; sent = connection.send(room)) {
      socket.send(Buffer.from(room.subarray(0, sent[0])), target.port, target.host);
    }
  };
  socket.on('message', (datagram, from) => {
    if (((datagram[0] as number) & 0x80) === 0) shortPackets.push(Buffer.from(datagram));
    connection.recv(datagram, { from: { host: from.address, port: from.port }, to: local });
    flush();
  });
  flush();
  await until(() => connection.isEstablished() && shortPackets.length > 0);
  return { connection, shortPackets };
}

interface Secrets {
  readonly client: Buffer;
  readonly server: Buffer;
}

async function readSecrets(keyLog: string): Promise<Secrets> {
  const text = await readFile(keyLog, 'utf8');
  const secret = (label: string) => {
    const match = new RegExp(`^${label} \\w+ (\\w+)$`, 'm').exec(text);
    if (match === null) throw new Error(`no ${label} in the key log`);
    return Buffer.from(match[1] as string, 'hex');
  };
  return { client: secret('CLIENT_TRAFFIC_SECRET_0'), server: secret('SERVER_TRAFFIC_SECRET_0') };
}

/** The key log does not tell the cipher suite: it is the one that opens a packet. */
function findKeys(
  { client, server }: Secrets,
  packets: readonly Buffer[],
): { own: PacketKeys; victim: PacketKeys } {
  const suites: readonly CipherSuite[] =
    server.length === 48 ? ['aes-256-gcm'] : ['aes-128-gcm', 'chacha20-poly1305'];
  for (const suite of suites) {
    const victim = packetKeys(server, suite);
    if (packets.some((packet) => openShort(packet, 0, victim) !== undefined)) {
      return { own: packetKeys(client, suite), victim };
    }
  }
  throw new Error('no cipher suite opens the packets of the victim');
}

function openShort(packet: Buffer, expected: number, keys: PacketKeys) {
  return openPacket(packet, 1 + ID_BYTES, expected, keys);
}
