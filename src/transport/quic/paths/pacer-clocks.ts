/**
 * Decides for which hosts connections use the binding's pacer clock.
 *
 * With the clock, quiche 0.18.0 stamps every packet with its own time; without it, with the time of an earlier packet, for up
 * to `8 packets / window` round trips. By those stamps it measures round trips, and tells packets sent before a loss from
 * those after it. Without the clock, under loss, the round trip seems to grow to seconds, and the congestion window freezes.
 * Packets leave at once either way: the binding does not say when they are due.
 *
 * The clock has a price. It allows one and a quarter windows for each estimated round trip. When the first estimate is far
 * too long, because the other process was busy during the handshake, stamps run ahead of the time. Then no round trip can be
 * measured any more, and the estimate stays. So the clock is not used over loopback, nor any longer for a host where
 * `RttWatch` saw that. A loopback peer that takes small datagrams only counts as one across a link: its window has few, small
 * packets, and without the clock its stamps would stand still for long.
 *
 * What stays: under loss, calls one at a time make the estimate grow to a tenth of a second and more over a path of a few
 * milliseconds, and much data right after them drives stamps ahead. Where the window is full of lost packets then, neither
 * quiche's loss timer nor a tail probe may send before the stamps are over: 4 of 112 transfers of 5 MB took 11 to 18 s
 * instead of two, at 3 % loss each way. The window of a peer that takes small datagrams is that small; across links it is larger.
 */

/** How many hosts are remembered. The one that was found first is forgotten first. */
const MAX_HOSTS = 1024;

/**
 * Decides which connections use the binding's pacer clock. Without it quiche 0.18.0 measures round trips wrongly under
 * loss; over loopback the clock itself does harm.
 */
export class PacerClocks {
  readonly #without = new Set<string>();

  /**
   * @param host a numeric address
   * @param takesSmall whether the peer takes no larger datagrams than links carry
   */
  isKeptFor(host: string, takesSmall: boolean): boolean {
    return (takesSmall || !isLoopback(host)) && !this.#without.has(host);
  }

  /** Packets to this host went out faster than the clock allows: new connections do without the clock. */
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
