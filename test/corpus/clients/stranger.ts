/** Whoever has no certificate and no manners: bytes on a bare socket, and what comes back. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket as TcpSocket } from 'node:net';
import type { SocketAddress } from '../../../src/transport/connection.js';
import type { Outcome, Place } from '../case.js';
import { HostileClient } from './client.js';

type Answer = Extract<Outcome, { kind: 'answered' }>['by'];

abstract class Stranger extends HostileClient {
  shut(): void {
    throw new Error('there is no stream');
  }

  session(): Promise<Buffer> {
    throw new Error('there is no session');
  }

  /** Nobody answers strangers: that the node does answer others, its witnesses show. */
  override async ping(): Promise<void> {}
}

/** Sends datagrams, one for every `send`. */
export class UdpStranger extends Stranger {
  readonly transport = 'quic';
  readonly received: Buffer[] = [];
  readonly #socket: UdpSocket;
  readonly #target: SocketAddress;

  /** @param host any address of loopback */
  static async at(host: string, target: SocketAddress): Promise<UdpStranger> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, host, resolve));
    socket.unref();
    return new UdpStranger(socket, target);
  }

  private constructor(socket: UdpSocket, target: SocketAddress) {
    super();
    this.#socket = socket;
    this.#target = target;
    socket.on('message', (datagram) => this.received.push(datagram));
  }

  protected write(_to: Place, bytes: Uint8Array): void {
    this.#socket.send(bytes, this.#target.port, this.#target.host);
  }

  protected leave(): void {
    this.#socket.close();
  }

  /** What the node's answers are, each once. */
  get answeredBy(): readonly (Answer | 'something else')[] {
    return [...new Set(this.received.map(kindOf))];
  }
}

/** RFC 9000, sections 10.3, 17.2.1 and 17.2.5. */
function kindOf(datagram: Buffer): Answer | 'something else' {
  const first = datagram.readUInt8(0);
  if ((first & 0x80) === 0) return 'statelessReset';
  const version = datagram.readUInt32BE(1);
  if (version === 0) return 'versionNegotiation';
  return version === 1 && (first & 0xf0) === 0xf0 ? 'retry' : 'something else';
}

/** Sends bytes on a TCP socket where TLS is due. */
export class TcpStranger extends Stranger {
  readonly transport = 'tcp';
  readonly #socket: TcpSocket;

  static async dial(target: SocketAddress, from = '127.0.0.1'): Promise<TcpStranger> {
    const socket = connect({ ...target, localAddress: from });
    const stranger = new TcpStranger(socket);
    await once(socket, 'connect').catch(() => {});
    return stranger;
  }

  private constructor(socket: TcpSocket) {
    super();
    this.#socket = socket;
    socket.on('error', () => {});
    socket.resume();
    socket.on('close', () => {
      this.ending ??= 'lost';
    });
  }

  protected write(_to: Place, bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  protected leave(): void {
    this.#socket.destroy();
  }
}
