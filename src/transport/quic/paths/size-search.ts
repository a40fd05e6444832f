/**
 * Decides which datagram sizes to probe, one after the other, from one that the path carries up to the largest worth trying.
 * RFC 8899, section 5.3.
 *
 * The largest size comes first: most paths carry it, and then one round trip is enough. After that it is a binary search.
 * Pure.
 */

import { ETHERNET_DATAGRAM_BYTES } from '../io/packet.js';

/**
 * The sizes to try when the largest does not pass: those of the smallest IPv6 MTU, of IPsec and WireGuard tunnels and of PPPoE,
 * and steps between them.
 */
const PLATEAUS = [1232, 1256, 1280, 1304, 1328, 1350, 1372, 1392, 1412, 1432, 1444, 1452];
/** How many probes are sent of one size. A lost one shrinks the congestion window, and the search is repeated later anyway. */
const TRIES = 2;

/**
 * Decides which datagram sizes to probe, one after the other: first the largest, then by a binary search. RFC 8899, section
 * 5.3. Pure.
 */
export class SizeSearch {
  /** Sizes that may still be found to pass, in ascending order. */
  #sizes: readonly number[];
  #bytes: number;
  #tries = 0;

  /** @param passing a size that the path carries, below `maxBytes` */
  constructor(passing: number, maxBytes: number) {
    this.#sizes = PLATEAUS.filter((size) => size > passing && size < maxBytes);
    this.#bytes = maxBytes;
  }

  /** The size to probe. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A probe of that size has left. */
  asked(): void {
    this.#tries += 1;
  }

  /** That size passes. @returns whether there is another to probe */
  passed(): boolean {
    const left = this.#sizes.filter((size) => size > this.#bytes);
    return this.#goOn(left, left.length >> 1);
  }

  /** The probe was not answered in time. @returns whether there is a size to probe: the same again, or another */
  unanswered(): boolean {
    if (this.#tries < TRIES) return true;
    const left = this.#sizes.filter((size) => size < this.#bytes);
    // If a size above Ethernet's does not pass, Ethernet's usually does.
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
