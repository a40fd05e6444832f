/**
 * With whom connections keep the binding's pacer clock. With it packets are stamped anew, and not with the time of an
 * earlier one for up to `8 packets / window` round trips. By those stamps quiche 0.18.0 measures round trips and tells
 * packets from before a loss from those after it. Without the clock the round trip seems to grow to seconds under loss,
 * and the congestion window freezes. Packets leave at once either way: the binding does not say when they are due.
 *
 * What the clock costs: it allows one and a quarter windows per round trip as estimated. Where the first estimate is far
 * too long, because a handshake waited for a busy process next door, stamps run ahead of the time, no round trip can be
 * measured any more, and the estimate stays. So it is not for loopback, and no longer for a host where that was seen
 * (`RttWatch`). Over loopback to a peer that takes small datagrams only, a window of few small packets stands still for long:
 * such a peer is as one across a link.
 */

/** Hosts remembered; the one that was found first is forgotten first. */
const MAX_HOSTS = 1024;

/**
 * Decides which connections use the binding's pacer clock. Without it quiche 0.18.0 measures round trips wrongly under
 * loss; over loopback the clock itself does harm.
 */
export class PacerClocks {
  readonly #without = new Set<string>();

  /**
   * @param host a numeric address
   * @param takesSmall the peer takes no larger datagrams than links carry
   */
  isKeptFor(host: string, takesSmall: boolean): boolean {
    return (takesSmall || !isLoopback(host)) && !this.#without.has(host);
  }

  /** Packets to this host went out faster than the clock allows: new connections do without. */
  ranAhead(host: string): void {
    if (this.#without.size >= MAX_HOSTS && !this.#without.has(host)) {
      const [oldest] = this.#without;
      if (oldest !== undefined) this.#without.delete(oldest);
    }
    this.#without.add(host);
  }
}

export function isLoopback(host: string): boolean {
  return host === '::1' || host.startsWith('127.');
}
