/** By which transports bulk connections to a peer are dialed, and which of them lately failed there. */
import type { TransportName } from '../transport/connection.js';
import { ReachMemory } from '../transport/dialing/reach-memory.js';
import type { NodeConfig } from './options/resolve.js';
import { nameOfTransport } from './options/schema.js';

/** How long a failure counts, the first and the longest. A try that fails costs the transfer that waits for it seconds. */
const AVOIDED_MS = { firstMs: 30_000, maxMs: 1_800_000 } as const;

/**
 * The transports of a node's bulk connections, for all its peers. One over which a connection carried nothing, or broke off in the
 * midst of transfers, is avoided to that peer, for twice as long each time, until it has served to the end. It remembers a bounded
 * number of failures, and the clock comes with each call.
 */
export class BulkRoutes {
  readonly #order: readonly TransportName[];
  readonly #memory = new ReachMemory(AVOIDED_MS);

  constructor(config: NodeConfig) {
    this.#order = transportsOf(config);
  }

  /** In order of preference; empty where none is worth a try now. */
  to(nodeId: string, nowMs: number): readonly TransportName[] {
    return this.#order.filter((name) => this.#memory.retryAtMs(key(name, nodeId), nowMs) <= nowMs);
  }

  failed(nodeId: string, transport: TransportName, nowMs: number): void {
    this.#memory.failed(key(transport, nodeId), nowMs);
  }

  served(nodeId: string, transport: TransportName): void {
    this.#memory.reached(key(transport, nodeId));
  }
}

function key(transport: TransportName, nodeId: string): string {
  return `${transport} ${nodeId}`;
}

/**
 * Those that the node has. TCP comes first where the node may choose: the kernel paces it, and sends many segments at a time.
 */
function transportsOf({ bulk, transports }: NodeConfig): readonly TransportName[] {
  const names = transports.map(nameOfTransport);
  if (bulk.transport === 'quic' || bulk.transport === 'tcp') return [bulk.transport];
  return [...names.filter((name) => name === 'tcp'), ...names.filter((name) => name !== 'tcp')];
}
