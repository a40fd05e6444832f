/**
 * Which datagram sizes to ask a path for, one after the other, from one that it carries up to the largest worth trying. RFC
 * 8899, section 5.3.
 *
 * The largest comes first: most paths carry it, and one round trip is enough then. What is left after that is halved with
 * each answer. Pure.
 */

import { ETHERNET_DATAGRAM_BYTES } from '../io/packet.js';

/**
 * Sizes worth asking for where the largest is too much: IPv6's least, tunnels of IPsec and WireGuard, PPPoE, and steps
 * between them.
 */
const PLATEAUS = [1232, 1256, 1280, 1304, 1328, 1350, 1372, 1392, 1412, 1432, 1444, 1452];
/** Probes of one size. A lost one costs congestion window, and the search is made again. */
const TRIES = 2;

/**
 * Which datagram sizes to ask a path for, one after the other. The largest comes first; what is left after that is
 * halved with each answer. RFC 8899, section 5.3. Pure.
 */
export class SizeSearch {
  /** Sizes that may still be found to pass, in ascending order. */
  #sizes: readonly number[];
  #bytes: number;
  #tries = 0;

  /** @param passing the path carries so much; there is something to search for up to `maxBytes` */
  constructor(passing: number, maxBytes: number) {
    this.#sizes = PLATEAUS.filter((size) => size > passing && size < maxBytes);
    this.#bytes = maxBytes;
  }

  /** The size to ask for. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A probe of that size has left. */
  asked(): void {
    this.#tries += 1;
  }

  /** That size passes. @returns whether there is another to ask for */
  passed(): boolean {
    const left = this.#sizes.filter((size) => size > this.#bytes);
    return this.#goOn(left, left.length >> 1);
  }

  /** The probe had its time. @returns whether there is something to ask for: the same size again, or another */
  unanswered(): boolean {
    if (this.#tries < TRIES) return true;
    const left = this.#sizes.filter((size) => size < this.#bytes);
    // Below what is more than an Ethernet carries, most paths carry just that.
    const isJumbo = this.#bytes > ETHERNET_DATAGRAM_BYTES;
    return this.#goOn(left, isJumbo ? left.length - 1 : left.length >> 1);
  }

  #goOn(left: readonly number[], index: number): boolean {
    const bytes = left[index];
    if (bytes === undefined) return false;
    this.#sizes = left;
    this.#bytes = bytes;
    this.#tries = 0;
    return true;
  }
}
