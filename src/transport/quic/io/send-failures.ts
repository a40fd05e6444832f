/**
 * Gathers the paths over which datagrams could not be sent in one turn of the event loop. Errors come one by one for each
 * datagram, and an unplugged cable concerns many connections at once. So every connection is asked once a turn, not once an
 * error.
 */
import type { SocketAddress } from '../../connection.js';
import { addressKey } from '../../socket-address.js';
import type { UdpSocket } from './udp-socket.js';

/** The system's error codes for a datagram whose source address, interface or route is gone. */
const PATH_ERRORS: ReadonlySet<string | undefined> = new Set([
  'EADDRNOTAVAIL',
  'EINVAL',
  'ENETDOWN',
  'ENETUNREACH',
  'ENODEV',
  'EHOSTUNREACH',
]);

/** The failures of one turn. */
export class SendFailures {
  /** Sockets that failed themselves, whatever the peer. */
  readonly #sockets = new Set<UdpSocket>();
  /** Sockets that failed towards one peer, by the peer's address. */
  readonly #byPeer = new Map<string, Set<UdpSocket>>();

  get isEmpty(): boolean {
    return this.#sockets.size === 0 && this.#byPeer.size === 0;
  }

  /** @param to the datagram's destination; `undefined` when the error is the socket's own */
  add(socket: UdpSocket, code: string | undefined, to: SocketAddress | undefined): void {
    if (to === undefined) {
      this.#sockets.add(socket);
      return;
    }
    if (!PATH_ERRORS.has(code)) return;
    const key = addressKey(to);
    const sockets = this.#byPeer.get(key);
    if (sockets === undefined) this.#byPeer.set(key, new Set([socket]));
    else sockets.add(socket);
  }

  /** How the path from this socket to that peer failed, if it did. */
  of(socket: UdpSocket, remote: SocketAddress): 'socket' | 'route' | undefined {
    if (this.#sockets.has(socket)) return 'socket';
    return this.#byPeer.get(addressKey(remote))?.has(socket) ? 'route' : undefined;
  }
}
