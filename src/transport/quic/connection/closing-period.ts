/**
 * Decides what a connection sends and waits for once this side has closed it (RFC 9000, section 10.2.1).
 *
 * The binding writes one packet with CONNECTION_CLOSE and falls silent. That packet is kept here and sent again while datagrams
 * of the peer still arrive: for the 1st, 2nd, 4th, 8th … of them, so that two sides that both close do not go on for ever.
 *
 * The binding is asked for that packet only a few times. The congestion window may hold it back until the next probe timeout.
 * And if that is a timeout of the handshake, quiche 0.18.0 never writes the packet, but an acknowledgement instead, whenever
 * it is asked.
 *
 * Pure: datagrams and times in, decisions out.
 */

/** How many datagrams the binding may write until CONNECTION_CLOSE. */
const MAX_DATAGRAMS = 3;
/** The longest closing period. The binding waits three probe timeouts, which may be far too long. Later, resets answer. */
const MAX_PERIOD_MS = 3000;

/**
 * What a connection sends and waits for once this side has closed it (RFC 9000, section 10.2.1). Pure: datagrams and
 * times in, decisions out.
 */
export class ClosingPeriod {
  readonly #endsAtMs: number;
  #written = 0;
  #packet: Buffer | undefined;
  #arrived = 0;
  #answerAt = 1;

  constructor(nowMs: number) {
    this.#endsAtMs = nowMs + MAX_PERIOD_MS;
  }

  /** Whether the binding may be asked for a datagram, and told of a timeout. */
  get mayWrite(): boolean {
    return this.#packet === undefined && this.#written < MAX_DATAGRAMS;
  }

  /**
   * The binding wrote a datagram.
   * @param isClose whether it is the one with CONNECTION_CLOSE, of which a copy is kept
   */
  wrote(datagram: Buffer, isClose: boolean): void {
    this.#written += 1;
    if (isClose) this.#packet = Buffer.from(datagram);
  }

  /** A datagram arrived. @returns what to answer, if anything */
  arrived(): Buffer | undefined {
    if (this.#packet === undefined) return undefined;
    this.#arrived += 1;
    if (this.#arrived < this.#answerAt) return undefined;
    this.#answerAt *= 2;
    return this.#packet;
  }

  isOver(nowMs: number): boolean {
    return nowMs >= this.#endsAtMs;
  }

  /**
   * How long to wait before something is to be done.
   * @param timeoutMs how long the binding waits, `null` for ever
   */
  delayMs(timeoutMs: number | null, nowMs: number): number {
    const leftMs = this.#endsAtMs - nowMs;
    const waitsForBinding = this.mayWrite || this.#packet !== undefined;
    return waitsForBinding && timeoutMs !== null ? Math.min(timeoutMs, leftMs) : leftMs;
  }
}
