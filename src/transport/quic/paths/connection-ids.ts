/**
 * The connection IDs that lead to one connection: the one in use, and spares for later paths. RFC 9000, section 5.1.
 *
 * Every path needs an ID of its own at each end. So each side gives the other a few spares, and issues another as soon as one
 * is used or retired.
 */
import { LazySet } from '../../../base/lazy-collections.js';
import type { NativeConnection } from '../binding/native.js';
import { routeOf } from '../io/packet.js';

/** The endpoint's routing table, for the IDs of one connection. */
export interface IdRoutes {
  /** Makes a connection ID as long as the others of the connection. */
  newConnectionId(): Buffer;
  addRoute(connectionId: string): void;
  removeRoute(connectionId: string): void;
  /** The stateless reset token of an ID. */
  resetTokenOf(connectionId: Uint8Array): bigint;
}

/** How many times a peer can move within one round trip. */
const SPARE_IDS = 3;
/** How many retired IDs are kept, because late datagrams may still carry them. */
const MAX_RETIRED = 64;

/**
 * The connection IDs under which one connection is reached: the one in use, and spares for paths to come. RFC 9000,
 * section 5.1.
 */
export class ConnectionIds {
  readonly #native: NativeConnection;
  readonly #routes: IdRoutes;
  /** Issued, and not seen on a datagram yet. */
  readonly #spares = new Set<string>();
  /** The ID of the latest datagram. */
  #last: string | undefined;
  readonly #retired = new LazySet<string>();
  #spent = 0;
  /** How many spares the peer is short of. */
  #missing = SPARE_IDS;

  constructor(native: NativeConnection, routes: IdRoutes) {
    this.#native = native;
    this.#routes = routes;
  }

  get last(): string | undefined {
    return this.#last;
  }

  /** Spares that were used: how often either side has changed the path. */
  get spent(): number {
    return this.#spent;
  }

  /**
   * A datagram came with another ID than the one before.
   *
   * quiche 0.18.0 closes the connection when a datagram carries a retired ID, as one may that was overtaken on the way. The
   * frame that retires an ID travels under another ID. So it is enough to ask for retired IDs whenever the ID changes.
   * @returns whether the ID is still valid
   */
  changedTo(connectionId: string): boolean {
    this.forgetRetired();
    if (this.#retired.has(connectionId)) return false;
    this.#last = connectionId;
    if (this.#spares.delete(connectionId)) {
      this.#spent += 1;
      this.#missing += 1;
    }
    return true;
  }

  forgetRetired(): void {
    for (;;) {
      const retired = this.#native.retiredScidNext();
      if (retired === null) return;
      const connectionId = routeOf(retired);
      this.#spares.delete(connectionId);
      this.#bury(connectionId);
      // Also for one that was used and replaced before: quiche 0.18.0 gives a spare to the path that lost its ID.
      this.#missing += 1;
    }
  }

  /** Issues the spares that the peer is short of, up to its limit. */
  issueSpares(): void {
    while (this.#missing > 0 && this.#native.sourceCidsLeft() > 0) {
      this.#missing -= 1;
      const connectionId = this.#routes.newConnectionId();
      this.#native.newSourceCid(connectionId, this.#routes.resetTokenOf(connectionId), false);
      const key = routeOf(connectionId);
      this.#spares.add(key);
      this.#routes.addRoute(key);
    }
  }

  /**
   * Keeps a retired ID in the routing table for a while, so that late datagrams with it are dropped. Without a route they
   * would be answered with a stateless reset, which the peer may take for the end of the connection.
   */
  #bury(connectionId: string): void {
    this.#retired.add(connectionId);
    if (this.#retired.size <= MAX_RETIRED) return;
    const [oldest = connectionId] = this.#retired;
    this.#retired.delete(oldest);
    this.#routes.removeRoute(oldest);
  }
}
