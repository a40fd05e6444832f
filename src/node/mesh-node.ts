/** Options and counts of a node. */

/** How to reach a peer once and for all. */
export interface ConnectOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether to go on dialing, with growing pauses, until the peer is reached. Default false. */
  readonly retry?: boolean | undefined;
}

/** Counts of a node: its transports' own, its handshakes, and what it refused after them. */
export interface NodeCounters {
  readonly transports: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly handshakes: { readonly accepted: number; readonly refused: number };
  /** What peers that were let in got wrong. */
  readonly refusals: {
    /** Calls answered with an error that is no handler's. */
    readonly calls: number;
    /** Connections that this node closed over what the peer sent. */
    readonly connections: number;
  };
}
