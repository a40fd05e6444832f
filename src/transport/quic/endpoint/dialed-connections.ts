/** Finds dialed connections by their peer's address. A stateless reset carries no connection ID that leads anywhere. */
import type { SocketAddress } from '../../connection.js';
import { isLoopback } from '../../socket-address.js';
import type { QuicConnection } from '../connection/connection.js';

/** An index of dialed connections by the address of their peer. */
export class DialedConnections {
  readonly #byAddress = new Map<string, Set<QuicConnection>>();
  readonly #addresses = new Map<QuicConnection, string>();

  add(connection: QuicConnection, peer: SocketAddress): void {
    const key = keyOf(peer);
    const others = this.#byAddress.get(key);
    if (others === undefined) this.#byAddress.set(key, new Set([connection]));
    else others.add(connection);
    this.#addresses.set(connection, key);
  }

  /** Does nothing for one that is not here. */
  delete(connection: QuicConnection): void {
    const key = this.#addresses.get(connection);
    if (key === undefined) return;
    this.#addresses.delete(connection);
    const left = this.#byAddress.get(key);
    left?.delete(connection);
    if (left?.size === 0) this.#byAddress.delete(key);
  }

  at(peer: SocketAddress): Iterable<QuicConnection> {
    return this.#byAddress.get(keyOf(peer)) ?? [];
  }
}

/** A peer that listens on all addresses may answer from another loopback address than the one that was dialed. */
function keyOf({ host, port }: SocketAddress): string {
  return `${isLoopback(host) ? 'loopback' : host} ${port}`;
}
