/**
 * The connection IDs under which one connection is reached: the one in use, and spares for paths to come. RFC 9000,
 * section 5.1.
 *
 * A path that a connection moves to needs an ID of its own at each end. So each side keeps a few spares with the other,
 * and issues another as soon as one comes into use or is retired.
 */
import { randomBytes } from 'node:crypto';
import type { NativeConnection } from '../binding/native.js';
import { CONNECTION_ID_BYTES } from '../io/packet.js';

/** The endpoint's table of connection IDs, as far as this connection's go. */
export interface IdRoutes {
  addRoute(connectionId: string): void;
  removeRoute(connectionId: string): void;
  /** The stateless reset token that belongs to an ID. */
  resetTokenOf(connectionId: Uint8Array): bigint;
}

/** How many moves a peer can make within one round trip. */
const SPARE_IDS = 3;
/** IDs that the peer has given back, and that late datagrams may still carry. */
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
  /** What the datagram before the present one came under. */
  #last: string | undefined;
  readonly #retired = new Set<string>();
  #spent = 0;
  /** How many more the peer is to have. */
  #missing = SPARE_IDS;

  constructor(native: NativeConnection, routes: IdRoutes) {
    this.#native = native;
    this.#routes = routes;
  }

  get last(): string | undefined {
    return this.#last;
  }

  /** Spares that came into use: how often the peer took another path, or saw this side take one. */
  get spent(): number {
    return this.#spent;
  }

  /**
   * A datagram came under another ID than the one before.
   *
   * quiche 0.18.0 closes the connection when it meets an ID that the peer has retired, as a datagram that was overtaken
   * carries. The frame that retires an ID travels under another one, so that asking here, and only here, is in time.
   * @returns whether the ID is still good
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
      const connectionId = Buffer.from(retired).toString('latin1');
      this.#spares.delete(connectionId);
      this.#bury(connectionId);
      // Even of one that was spent before, and replaced: quiche 0.18.0 gives a spare to the path that lost its ID.
      this.#missing += 1;
    }
  }

  /** Issues what the peer is short of, as far as it takes them. */
  issueSpares(): void {
    while (this.#missing > 0 && this.#native.sourceCidsLeft() > 0) {
      this.#missing -= 1;
      const connectionId = randomBytes(CONNECTION_ID_BYTES);
      this.#native.newSourceCid(connectionId, this.#routes.resetTokenOf(connectionId), false);
      const key = connectionId.toString('latin1');
      this.#spares.add(key);
      this.#routes.addRoute(key);
    }
  }

  /**
   * A retired ID stays this connection's for a while, so that what comes late under it is dropped: to an ID that belongs
   * to nobody the answer is a stateless reset, and the peer may take that for the end of the connection.
   */
  #bury(connectionId: string): void {
    this.#retired.add(connectionId);
    if (this.#retired.size <= MAX_RETIRED) return;
    const [oldest = connectionId] = this.#retired;
    this.#retired.delete(oldest);
    this.#routes.removeRoute(oldest);
  }
}
