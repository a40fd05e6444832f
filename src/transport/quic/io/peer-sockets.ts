/**
 * Sockets of the peers of a listening port. Each is bound to the port, too, and connected to a peer. The system hands it what
 * comes from the peer's address, and the shared socket only what comes from others. So the peer's datagrams have a queue of
 * their own, which a flood of strangers cannot fill, and a share of each turn of the event loop: libuv reads at most 32 datagrams
 * of a socket at once.
 *
 * A peer's socket may be missing, or close, at any time: what comes from the peer then arrives at the shared socket.
 */
import { AsyncResource } from 'node:async_hooks';
import type { SocketAddress } from '../../connection.js';
import { isWildcard } from '../../local-addresses.js';
import { addressKey } from '../../socket-address.js';
import type { EndpointCounters } from './counters.js';
import { PeerSocket, type PeerSocketEnd } from './peer-socket.js';
import { PREFERS_CONNECTED } from './port-sharing.js';
import type { UdpSocket } from './udp-socket.js';

/** The sockets of an endpoint's peers, which are there as long as connections use them. */
export class PeerSockets {
  readonly #max: number;
  readonly #counters: EndpointCounters;
  /** The async context of the endpoint: what arrives at a socket is no business of whose connection opened it. */
  readonly #asyncScope = new AsyncResource('quicmesh.PeerSockets');
  /** By the addresses of both sides. */
  readonly #open = new Map<string, PeerSocket>();
  /** How many more are read to their end, which takes a few turns of the event loop. */
  #retiring = 0;

  /** @param max beyond so many, datagrams of further peers stay at the shared socket; 0 for none at all */
  constructor(max: number, counters: EndpointCounters) {
    this.#max = PREFERS_CONNECTED ? max : 0;
    this.#counters = counters;
  }

  /**
   * Gives what comes from `remote` to the port of `shared` a socket of its own. All connections between the two share it.
   * @param shared where it arrives so far, and whose handler goes on being told of it
   * @param remote an address that the peer has proved to be its own
   * @returns `undefined` where there is none; otherwise to be given to `leave` once
   */
  join(shared: UdpSocket, remote: SocketAddress): PeerSocket | undefined {
    // A wildcard's own socket gets what no address of the machine gets. Which address that was, Node does not tell.
    if (this.#max === 0 || !shared.isShared || isWildcard(shared.address.host)) return undefined;
    const key = `${addressKey(shared.address)} ${addressKey(remote)}`;
    const there = this.#open.get(key);
    if (there !== undefined) {
      there.users += 1;
      return there;
    }
    const opened = this.#hasRoom() ? this.#openOne(shared, remote, key) : undefined;
    if (opened === undefined) {
      this.#counters.peerSocketsRefused += 1;
      return undefined;
    }
    this.#counters.peerSocketsOpened += 1;
    this.#open.set(key, opened);
    return opened;
  }

  /** To be called once for each {@link join}. Without users a socket closes, and what waits in it is read before. */
  leave(socket: PeerSocket): void {
    socket.users -= 1;
    if (socket.users === 0) socket.retire();
  }

  /** One that retires does not keep its peer's next from opening, and all together are at most twice the bound. */
  #hasRoom(): boolean {
    const open = this.#open.size;
    return open < this.#max && open + this.#retiring < 2 * this.#max;
  }

  #openOne(shared: UdpSocket, remote: SocketAddress, key: string): PeerSocket | undefined {
    const told = {
      retires: (end: PeerSocketEnd) => {
        this.#open.delete(key);
        this.#retiring += 1;
        if (end === 'failed') this.#counters.peerSocketsFailed += 1;
      },
      closed: () => {
        this.#retiring -= 1;
      },
    };
    return this.#asyncScope.runInAsyncScope(() => PeerSocket.open(shared, remote, told));
  }
}
