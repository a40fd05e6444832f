/**
 * How fast peers open and reset streams, over all of their connections and for a while after these: who dials anew, or dials
 * twice, may do no more. Pure.
 */
import { StreamRateGuard, type StreamRates } from './stream-rate.js';

/** The peer that dialed, or was dialed, the longest ago is forgotten first. One has as many names as its CA gave it. */
const MAX_PEERS = 4096;

/** The rates of peers, by {@link readerOf}. Transports of one node share them. */
export class PeerRates {
  readonly #limits: StreamRates;
  readonly #guards = new Map<string, StreamRateGuard>();

  constructor(limits: StreamRates) {
    this.#limits = limits;
  }

  /** Peers that are remembered. */
  get size(): number {
    return this.#guards.size;
  }

  /** What all connections of that peer count against. For each new connection, once. */
  of(peerId: string): StreamRateGuard {
    const guard = this.#guards.get(peerId) ?? new StreamRateGuard(this.#limits);
    this.#guards.delete(peerId);
    if (this.#guards.size >= MAX_PEERS) this.#forgetFirst();
    this.#guards.set(peerId, guard);
    return guard;
  }

  #forgetFirst(): void {
    for (const peerId of this.#guards.keys()) {
      this.#guards.delete(peerId);
      return;
    }
  }
}
