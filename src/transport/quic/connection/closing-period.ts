/**
 * What a connection sends and waits for once this side has closed it (RFC 9000, section 10.2.1).
 *
 * The binding writes one packet with CONNECTION_CLOSE and falls silent. That packet is kept here and sent again when the
 * peer still sends: for the 1st, 2nd, 4th, 8th … datagram that arrives, so that two sides that both close come to an end.
 *
 * Until that packet is written, the binding is asked for it a few times only. The congestion window may hold it back to
 * the next probe timeout. And where that probe is one of the handshake's, quiche 0.18.0 never writes it: it writes an
 * acknowledgement in its place, as often as it is asked, without end.
 *
 * Pure: datagrams and times in, decisions out.
 */

/** Datagrams that the binding may write before the one that closes. */
const MAX_DATAGRAMS = 3;
/** The binding waits three probe timeouts, however wrong its estimate. Afterwards stateless resets answer. */
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
   * @param isClose whether it is the one that closes; it is copied then
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
