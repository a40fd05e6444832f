/**
 * A socket for the datagrams of one peer: bound to the address of a shared one, and connected to the peer. What arrives there
 * goes to the shared socket's handler. It sends nothing, so that errors which ICMP reports, and anybody can forge, cost no
 * datagram, and the system goes on picking source and route for each.
 */
import type { Socket } from 'node:dgram';
import { RateLimit } from '../../../base/rate-limit.js';
import type { SocketAddress } from '../../connection.js';
import {
  type Attached,
  createNumericSocket,
  growReceiveBuffer,
  type UdpSocket,
} from './udp-socket.js';

/** Errors, in the long run and at once, before the socket is given up. */
const ERRORS_PER_SECOND = 1;
const ERRORS_AT_ONCE = 8;

/** Why one closes: nobody uses it any more, its shared socket closes, or it had too many errors. */
export type PeerSocketEnd = 'left' | 'failed';

/** Receives for a shared socket what comes from one peer. */
export class PeerSocket implements Attached {
  readonly shared: UdpSocket;
  readonly remote: SocketAddress;
  /** How many connections use it. */
  users = 1;
  readonly #socket: Socket;
  readonly #closed: (end: PeerSocketEnd) => void;
  readonly #errors = new RateLimit(ERRORS_PER_SECOND, ERRORS_AT_ONCE);
  #isClosed = false;

  /**
   * Opens one in this turn of the event loop. From then on it gets what comes from `remote`. In the moment between binding and
   * connecting it may get datagrams of others; they are told with their own source.
   * @param closed told once, when it closes
   * @returns `undefined` where the system refuses, as when descriptors are used up
   */
  static open(
    shared: UdpSocket,
    remote: SocketAddress,
    closed: (end: PeerSocketEnd) => void,
  ): PeerSocket | undefined {
    const socket = createNumericSocket(shared.address.host, true);
    if (!isConnected(socket, shared.address, remote)) {
      socket.close();
      return undefined;
    }
    return new PeerSocket(socket, shared, remote, closed);
  }

  private constructor(
    socket: Socket,
    shared: UdpSocket,
    remote: SocketAddress,
    closed: (end: PeerSocketEnd) => void,
  ) {
    this.#socket = socket;
    this.shared = shared;
    this.remote = remote;
    this.#closed = closed;
    growReceiveBuffer(socket);
    socket.on('message', shared.receive);
    socket.on('error', () => {
      // ICMP says that a port or host cannot be reached. That ends nothing: a peer that is gone is missed soon enough.
      if (!this.#errors.take(performance.now())) this.#close('failed');
    });
    shared.attach(this);
  }

  /** Closes it at once: what still comes from the peer arrives at the shared socket. */
  close(): void {
    this.#close('left');
  }

  #close(end: PeerSocketEnd): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.shared.detach(this);
    this.#socket.close();
    this.#closed(end);
  }
}

/** Binds and connects a socket. Its addresses are numeric, so that Node does both before it returns. */
function isConnected(socket: Socket, local: SocketAddress, remote: SocketAddress): boolean {
  let isRefused = false;
  socket.on('error', () => {
    isRefused = true;
  });
  try {
    socket.bind({ address: local.host, port: local.port, exclusive: true });
    if (isRefused) return false;
    socket.connect(remote.port, remote.host);
    // Of a connect that failed, the event comes later. This throws at once.
    socket.remoteAddress();
    return true;
  } catch {
    return false;
  }
}
