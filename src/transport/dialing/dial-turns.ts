/** Turns of dials: which of its addresses a target is tried at. */
import type { PeerTarget } from './discovery.js';

/** Targets remembered. Beyond that, the one that failed longest ago is forgotten and begins anew. */
const MAX_TARGETS = 1024;

/**
 * Counts how often a dial did not reach a target. A target with more addresses than one dial tries is tried at others
 * the next time. It remembers a bounded number of targets.
 */
export class DialTurns {
  /** In order of the last failure. */
  readonly #turns = new Map<string, number>();

  /** Targets that are remembered. */
  get size(): number {
    return this.#turns.size;
  }

  /** Dials that failed so far. */
  of(target: PeerTarget): number {
    return this.#turns.get(keyOf(target)) ?? 0;
  }

  failed(target: PeerTarget): void {
    const key = keyOf(target);
    const turn = (this.of(target) + 1) % Number.MAX_SAFE_INTEGER;
    this.#turns.delete(key);
    this.#turns.set(key, turn);
    if (this.#turns.size <= MAX_TARGETS) return;
    const [oldest] = this.#turns.keys();
    if (oldest !== undefined) this.#turns.delete(oldest);
  }
}

function keyOf(target: PeerTarget): string {
  if (target.nodeId !== undefined) return target.nodeId;
  const places = 'addresses' in target ? target.addresses : [target];
  return places.map(({ host, port }) => `${host} ${port}`).join(', ');
}
