/**
 * Tells the peer's datagrams from those that others send under the connection's ID. Only what QUIC found authentic and new
 * is a sign of life: whoever sees a connection's ID can send noise with it, and would keep a dead connection in use.
 *
 * The binding does not say of one datagram whether it took it. It counts packets, and asking for the count costs as much as
 * a small call. So it is asked once in a while, and what arrives in between is believed until then. If somebody else was
 * found to send, it is asked after each datagram for a while.
 *
 * Pure: times and counts in, verdicts out.
 */

/** After so long without a look, the next datagram is looked at. What is believed wrongly is off by no more than that. */
const LOOK_EVERY_MS = 50;
/** For so long after noise, every datagram is looked at. */
const STRICT_MS = 1000;
/** Noise is what makes up this share of the datagrams since a look. Networks send some of the peer's twice, or late. */
const NOISE_FRACTION = 1 / 2;

/** The signs of life of one connection's peer. For each datagram call {@link arrives}, the binding, and {@link arrived}. */
export class SignsOfLife {
  /** When the last datagram came that was the peer's, or is believed to be. */
  heardMs: number;
  /** The same of those that are known to be the peer's. */
  #provenMs: number;
  #arrivedMs: number;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #strictUntilMs = Number.NEGATIVE_INFINITY;
  /** Packets of the peer at the last look, and datagrams that arrived since. */
  #packets = 0;
  #datagrams = 0;
  /** Whether the datagram that the binding gets now is judged by itself. */
  #isAlone = false;

  constructor(nowMs: number) {
    this.heardMs = nowMs;
    this.#provenMs = nowMs;
    this.#arrivedMs = nowMs;
  }

  /** A datagram of the handshake arrived. Until TLS is done nobody is known, and each counts. */
  arrivedEarly(nowMs: number): void {
    this.heardMs = nowMs;
    this.#provenMs = nowMs;
    this.#arrivedMs = nowMs;
    this.#datagrams += 1;
  }

  /** TLS is done. @param packets so far */
  established(packets: number): void {
    this.#packets = packets;
    this.#datagrams = 0;
  }

  /**
   * The binding is about to be given a datagram.
   * @param packets in all, as the binding counts those that were authentic and new; called now and then only
   * @param isAlone whether this one must be judged by itself
   */
  arrives(nowMs: number, packets: () => number, isAlone = false): void {
    const isDue = nowMs < this.#strictUntilMs || nowMs - this.#lookedAtMs >= LOOK_EVERY_MS;
    this.#isAlone = isAlone || isDue;
    if (this.#isAlone && this.#datagrams > 0) this.#look(nowMs, packets());
  }

  /**
   * The binding has taken that datagram.
   * @returns whether it counts as the peer's
   */
  arrived(nowMs: number, packets: () => number): boolean {
    this.#datagrams += 1;
    this.#arrivedMs = nowMs;
    if (this.#isAlone) return this.#look(nowMs, packets());
    this.heardMs = nowMs;
    return true;
  }

  /** Judges all that arrived since the last look. @returns whether anything of it was the peer's */
  #look(nowMs: number, packets: number): boolean {
    const news = packets - this.#packets;
    // Once TLS is done, a datagram is one packet.
    if (this.#datagrams - news > this.#datagrams * NOISE_FRACTION) {
      this.#strictUntilMs = nowMs + STRICT_MS;
    }
    if (news > 0) this.#provenMs = this.#arrivedMs;
    this.heardMs = this.#provenMs;
    this.#lookedAtMs = nowMs;
    this.#packets = packets;
    this.#datagrams = 0;
    return news > 0;
  }
}
