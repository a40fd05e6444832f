/**
 * Which paths datagrams could not be sent over in one turn. Errors come by the datagram, and a cable that is pulled
 * concerns many connections at once: so they are gathered, and every connection asks once.
 */
import type { SocketAddress } from '../../connection.js';
import { addressKey } from '../../socket-address.js';
import type { UdpSocket } from './udp-socket.js';

/** What the system answers to a datagram when its source address, its interface or its route is gone. */
const PATH_ERRORS: ReadonlySet<string | undefined> = new Set([
  'EADDRNOTAVAIL',
  'EINVAL',
  'ENETDOWN',
  'ENETUNREACH',
  'ENODEV',
  'EHOSTUNREACH',
]);

/**
 * Gathers over one turn of the event loop which paths datagrams could not be sent over. Every connection then asks
 * once.
 */
export class SendFailures {
  /** Sockets that failed as such. */
  readonly #sockets = new Set<UdpSocket>();
  /** Those that failed towards one peer, by its address. */
  readonly #byPeer = new Map<string, Set<UdpSocket>>();

  get isEmpty(): boolean {
    return this.#sockets.size === 0 && this.#byPeer.size === 0;
  }

  /** @param to `undefined` when it was not about one datagram */
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
