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

/**
 * So many turns of the event loop without a datagram, and all that waited in a socket was read: the first may end before its
 * sockets are looked at.
 */
const QUIET_TURNS = 2;
/** More turns than it takes to read the largest buffer that is asked for, full of the smallest datagrams. */
const MAX_TURNS = 4096;

/** Why one closes: nobody uses it any more, its shared socket closes, or it had too many errors. */
export type PeerSocketEnd = 'left' | 'failed';

/** Is told of the end of a peer's socket, of each step once. */
export interface PeerSocketOwner {
  /** It gets nothing new. What waits in it is still read. */
  retires(end: PeerSocketEnd): void;
  closed(): void;
}

/** Receives for a shared socket what comes from one peer. */
export class PeerSocket implements Attached {
  readonly shared: UdpSocket;
  readonly remote: SocketAddress;
  /** How many connections use it. */
  users = 1;
  readonly #socket: Socket;
  readonly #owner: PeerSocketOwner;
  readonly #errors = new RateLimit(ERRORS_PER_SECOND, ERRORS_AT_ONCE);
  #datagrams = 0;
  #isRetired = false;
  #isClosed = false;

  /**
   * Opens one in this turn of the event loop. From then on it gets what comes from `remote`. In the moment between binding and
   * connecting it may get datagrams of others; they are told with their own source.
   * @returns `undefined` where the system refuses, as when descriptors are used up
   */
  static open(
    shared: UdpSocket,
    remote: SocketAddress,
    owner: PeerSocketOwner,
  ): PeerSocket | undefined {
    const socket = createNumericSocket(shared.address.host, true);
    if (!isConnected(socket, shared.address, remote)) {
      socket.close();
      return undefined;
    }
    return new PeerSocket(socket, shared, remote, owner);
  }

  private constructor(
    socket: Socket,
    shared: UdpSocket,
    remote: SocketAddress,
    owner: PeerSocketOwner,
  ) {
    this.#socket = socket;
    this.shared = shared;
    this.remote = remote;
    this.#owner = owner;
    growReceiveBuffer(socket);
    socket.on('message', (datagram, from) => {
      this.#datagrams += 1;
      shared.receive(datagram, from);
    });
    socket.on('error', () => {
      // ICMP says that a port or host cannot be reached. That ends nothing: a peer that is gone is missed soon enough.
      if (!this.#errors.take(performance.now())) this.retire('failed');
    });
    shared.attach(this);
  }

  /**
   * What comes from the peer from now on arrives at the shared socket. Closes when all that waits here is read: the first packet
   * of the peer's next connection may be among it.
   */
  retire(end: PeerSocketEnd = 'left'): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    this.#owner.retires(end);
    if (this.#isTurnedAway()) this.#closeWhenRead(QUIET_TURNS, MAX_TURNS);
    else this.close();
  }

  /** Closes it at once, and what waits in it is lost. */
  close(): void {
    if (this.#isClosed) return;
    if (!this.#isRetired) {
      this.#isRetired = true;
      this.#owner.retires('left');
    }
    this.#isClosed = true;
    this.shared.detach(this);
    this.#socket.close();
    this.#owner.closed();
  }

  /** Connects it to the port itself, from which nothing comes. Unconnected, it would take what strangers send to the port. */
  #isTurnedAway(): boolean {
    const { host, port } = this.shared.address;
    try {
      this.#socket.disconnect();
      this.#socket.connect(port, host);
      // As when it was opened: this throws where the connect has failed.
      this.#socket.remoteAddress();
      return true;
    } catch {
      return false;
    }
  }

  #closeWhenRead(quietTurns: number, turns: number): void {
    const datagrams = this.#datagrams;
    setImmediate(() => {
      if (this.#isClosed) return;
      const left = this.#datagrams > datagrams ? QUIET_TURNS : quietTurns - 1;
      if (left === 0 || turns === 0) this.close();
      else this.#closeWhenRead(left, turns - 1);
    });
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
