/**
 * How often peers may send what is wrong, over all of their connections. Each error is small, and costs its connection at most; who
 * makes them at once over many connections, or connects anew after each, would otherwise have that for nothing. Pure.
 */
import { SourceBudget } from '../transport/admission/source-budget.js';
import type { PeerIdentity } from '../transport/connection.js';
import { readerOf } from '../transport/reading-turns.js';

/** The peer that erred the longest ago is forgotten first. */
const MAX_PEERS = 4096;
/** A connection that is closed over an error has cost a handshake besides. */
const PER_CONNECTION = 25;

/** What such a peer is told. */
export const ERRORS_TEXT = 'this node has sent too much that is wrong';

/** The errors of a node's peers, by the name in their certificates. */
export class PeerErrors {
  readonly #budget: SourceBudget;

  /** @param perSecond errors that a peer may make in a second, and as many at once */
  constructor(perSecond: number) {
    // In place of milliseconds of work it counts errors.
    this.#budget = new SourceBudget({
      burstMs: perSecond,
      share: perSecond / 1000,
      maxSources: MAX_PEERS,
    });
  }

  /** A message of the peer cannot be read. @returns whether the peer has made more errors than it may */
  noteMessage(peer: PeerIdentity, nowMs: number): boolean {
    this.#budget.charge(readerOf(peer), 1, nowMs);
    return this.isOver(peer, nowMs);
  }

  /** A connection of the peer is closed over what came by it. */
  noteConnection(peer: PeerIdentity, nowMs: number): void {
    this.#budget.charge(readerOf(peer), PER_CONNECTION, nowMs);
  }

  /** Whether the peer has made more errors than it may, and is not to be let in for a while. */
  isOver(peer: PeerIdentity, nowMs: number): boolean {
    return this.#budget.waitMs(readerOf(peer), nowMs) > 0;
  }
}
