/** One UDP socket: bound, with buffers as large as the system grants, and errors that say which path they are about. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { systemCodeOf } from '../../../base/realms.js';
import { MeshError } from '../../../errors.js';
import type { SocketAddress } from '../../connection.js';
import { isIPv6 } from '../../socket-address.js';
import { SHARED_PORT } from './port-sharing.js';

export interface UdpSocketHandler {
  /** A datagram; its memory is the handler's. */
  onDatagram(datagram: Buffer, from: SocketAddress, socket: UdpSocket): void;
  /** The system has taken, or refused, a datagram that it was given: nobody reads its memory any more. */
  onSent(): void;
  /** A datagram without a source port, which nobody can answer (RFC 768), was dropped. */
  onUnanswerable(bytes: number): void;
  /**
   * A datagram could not be sent and was dropped, or, without `to`, the socket itself failed.
   * @param code the system's, such as ENETUNREACH, or Node's, such as ERR_SOCKET_BAD_PORT
   */
  onSocketError(socket: UdpSocket, code: string | undefined, to: SocketAddress | undefined): void;
}

/** Bursts of a congestion window must fit. Linux grants silently what net.core.rmem_max and wmem_max allow of it. */
const WANTED_BUFFER_BYTES = 16 * 1024 * 1024;
const MIN_BUFFER_BYTES = 256 * 1024;

/** A bound UDP socket, with buffers as large as the system grants. Its errors say which path they are about. */
export class UdpSocket {
  readonly address: SocketAddress;
  /** Whether other sockets of this process may bind its port. */
  readonly isShared: boolean;
  /** What the system granted; Linux counts its own bookkeeping in, and so doubles the number. */
  readonly receiveBufferBytes: number;
  readonly sendBufferBytes: number;
  /** To be set in the turn in which the socket was opened. */
  handler: UdpSocketHandler | undefined;
  readonly #socket: Socket;
  /** Such a socket may carry IPv4 too, in mapped addresses, which are told and taken as those of IPv4. */
  readonly #isV6: boolean;
  /** Those that end with it. */
  readonly #attached = new Set<Attached>();
  #closing: Promise<void> | undefined;

  /**
   * Opens a socket. It binds in the same turn of the event loop.
   * @param address a port of 0 lets the system pick
   * @param isShared other sockets of this process may bind the same port: see `listening-sockets.ts`
   * @throws MeshError ConnectFailed when the address cannot be bound
   */
  static async bind(address: SocketAddress, isShared = false): Promise<UdpSocket> {
    const socket = createNumericSocket(address.host, isShared);
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (cause) => {
        const text = `cannot bind UDP ${address.host}:${address.port}: ${cause.message}`;
        reject(new MeshError('ConnectFailed', text, { cause }));
      });
      // Exclusive: the workers of a node:cluster would share one handle, and each get datagrams of the others.
      socket.bind({ port: address.port, address: address.host, exclusive: true }, resolve);
    });
    socket.removeAllListeners('error');
    return new UdpSocket(socket, isShared);
  }

  private constructor(socket: Socket, isShared: boolean) {
    this.#socket = socket;
    this.isShared = isShared;
    const { address, port } = socket.address();
    this.address = { host: address, port };
    this.#isV6 = isIPv6(address);
    growReceiveBuffer(socket);
    grow((bytes) => socket.setSendBufferSize(bytes));
    this.receiveBufferBytes = socket.getRecvBufferSize();
    this.sendBufferBytes = socket.getSendBufferSize();
    socket.on('message', this.receive);
    socket.on('error', (error) => {
      this.handler?.onSocketError(this, systemCodeOf(error), undefined);
    });
  }

  /** A datagram arrived, at this socket or at one that receives for it. */
  readonly receive = (datagram: Buffer, { address, port }: RemoteInfo): void => {
    if (port === 0) {
      this.handler?.onUnanswerable(datagram.length);
      return;
    }
    const host = this.#isV6 ? withoutMapping(address) : address;
    this.handler?.onDatagram(datagram, { host, port }, this);
  };

  /** Closes `other`, which receives for this socket, with it. */
  attach(other: Attached): void {
    this.#attached.add(other);
  }

  detach(other: Attached): void {
    this.#attached.delete(other);
  }

  /**
   * The one place where datagrams leave. Never throws: what Node or the system refuses, at once or later, is dropped
   * and told to the handler.
   * @returns whether the system has it; its memory is to stay as it is until the handler's `onSent`, in a later turn
   */
  send(datagram: Buffer, to: SocketAddress): boolean {
    if (this.#closing !== undefined) return false;
    try {
      const host = this.#isV6 && !to.host.includes(':') ? MAPPED_PREFIX + to.host : to.host;
      this.#socket.send(datagram, 0, datagram.length, to.port, host, this.#sent);
      return true;
    } catch (thrown) {
      this.handler?.onSocketError(this, systemCodeOf(thrown), to);
      return false;
    }
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => this.#socket.close(() => resolve()));
    for (const other of this.#attached) other.close();
    return this.#closing;
  }

  readonly #sent = (error: SendError | null): void => {
    this.handler?.onSent();
    if (error === null || error === undefined) return;
    const { address: host, port } = error;
    const to =
      host === undefined || port === undefined ? undefined : { host: withoutMapping(host), port };
    this.handler?.onSocketError(this, error.code, to);
  };
}

/** What ends with a socket. */
export interface Attached {
  close(): void;
}

/** A socket of the host's address family, not bound yet. */
export function createNumericSocket(host: string, isShared: boolean): Socket {
  return createSocket({
    type: isIPv6(host) ? 'udp6' : 'udp4',
    ...(isShared ? SHARED_PORT : undefined),
    // Addresses are always numeric here: without this, every send would pass through a deferred DNS lookup.
    lookup: (name, _options, done) => done(null, name, isIPv6(name) ? 6 : 4),
  });
}

/** Of IPv4 addresses in an IPv6 socket (RFC 4291, section 2.5.5.2). */
const MAPPED_PREFIX = '::ffff:';

function withoutMapping(host: string): string {
  const isMapped = host.startsWith(MAPPED_PREFIX) && host.includes('.');
  return isMapped ? host.slice(MAPPED_PREFIX.length) : host;
}

/** Node says where a datagram was meant to go. */
type SendError = NodeJS.ErrnoException & { readonly address?: string; readonly port?: number };

/** Lets as much wait in the system as it grants. */
export function growReceiveBuffer(socket: Socket): void {
  grow((bytes) => socket.setRecvBufferSize(bytes));
}

/** Some systems clamp what they are asked for, others refuse it: then half of it, and so on. */
function grow(set: (bytes: number) => void): void {
  for (let bytes = WANTED_BUFFER_BYTES; bytes >= MIN_BUFFER_BYTES; bytes /= 2) {
    try {
      set(bytes);
      return;
    } catch {
      // More than this system grants anybody.
    }
  }
}
