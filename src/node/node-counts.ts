/** What a node counts itself, beside its transports. */
import type { NodeCounters } from './mesh-node.js';

type OwnCounters = Omit<NodeCounters, 'transports'>;

/** The counts as they grow; `node.counters` shows copies of them. */
export type NodeCounts = { readonly [K in keyof OwnCounters]: Mutable<OwnCounters[K]> };

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** All zero. */
export function newCounts(): NodeCounts {
  return { handshakes: { accepted: 0, refused: 0 }, refusals: { calls: 0, connections: 0 } };
}
