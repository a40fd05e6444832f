/** The public face of a node: what `createNode` answers with. */
import type { Handler, HandlerKind } from '../calls/types.js';
import type { NodeEvent, StatusOptions } from '../telemetry/status.js';
import type { SocketAddress } from '../transport/connection.js';
import type { PeerTarget } from '../transport/dialing/discovery.js';
import type { Peer } from './peer.js';

/**
 * A running node of the mesh: it accepts peers, dials them, and serves their calls. `createNode` makes one;
 * {@link MeshNode.close} ends it, and so does `await using`.
 */
export interface MeshNode {
  /** The node's name, which its certificate has to carry. */
  readonly nodeId: string;

  /**
   * Where the node can be dialed; `undefined` when it only dials. Of a node that listens on a wildcard, `0.0.0.0` or `::`,
   * this is the first of {@link addresses}.
   */
  readonly address: SocketAddress | undefined;

  /**
   * Every address at which the node can be dialed, as this machine's interfaces are now. Those that other machines may
   * reach come first. Empty when the node only dials.
   */
  readonly addresses: readonly SocketAddress[];

  /**
   * Peers that this node is connected to or dials, and those that are gone: for a minute, and at most 128 of them. A peer
   * that the node has forgotten, but that you still hold, works again when its node is back.
   */
  readonly peers: readonly Peer[];

  /** Counts since the node was created. Each read is a copy. */
  readonly counters: NodeCounters;

  /** Events from now on: links that go up and down, and peers refused. Each follower keeps at most 1024 unread events. */
  status(options?: StatusOptions): AsyncIterableIterator<NodeEvent>;

  /**
   * Serves a kind of call from now on.
   * @throws MeshError InvalidArgument when the kind does not exist or has a handler already, or the handler is no function
   */
  handle<K extends HandlerKind>(kind: K, handler: Handler<K>): this;

  /** The peer of that name, if it is one of {@link peers}. */
  peer(nodeId: string): Peer | undefined;

  /**
   * Connects to a peer, or answers with the connection there is, and keeps the peer connected from then on: a lost
   * connection is dialed again, until either side closes the peer. Without `nodeId` the peer is the one that certificate
   * and handshake agree on, and each such call makes a connection of its own.
   * @throws MeshError why the peer could not be reached, or which side refused the other and why; Cancelled; NodeClosed
   */
  connect(target: PeerTarget, options?: ConnectOptions): Promise<Peer>;

  /**
   * Connects to a peer without waiting for it: calls that you make meanwhile leave with the handshake, as early as is safe.
   * They fail if the dial fails, which is logged and reported as `dialFailed`. A `connect` to the same node waits for this
   * dial. The signal ends the dial.
   * @throws MeshError InvalidArgument without `nodeId`; NodeClosed
   */
  connectEarly(target: PeerTarget, options?: ConnectOptions): Peer;

  /**
   * Reads the certificates again: `tls` as a function is called again. All new connections then use them, on both
   * transports. A transport object that you passed in manages its own certificates.
   *
   * Open connections stay and lose no call, with two exceptions:
   * - If this node's own certificate changed, the connections that it dialed are renewed, so that its peers see the new one.
   * - A connection whose peer would not be accepted now is closed, and both sides learn the code that says why. This happens
   *   at once, unless this node dialed the peer and its certificate is not revoked. Then the node first dials again, since
   *   the peer may have a better certificate by now. Calls move over and have `timeouts.drainMs` to do so.
   *
   * Fulfils when every open connection has been checked. Renewals go on in the background.
   * @throws MeshError InvalidOptions when the certificates cannot be read, or what `tls` as a function throws: the old ones
   *   then stay in force. NodeClosed
   */
  reloadTls(): Promise<void>;

  /**
   * Ends the node: tells its peers to make no more calls, gives those under way `timeouts.drainMs`, then closes every
   * connection and the sockets. Calling it again waits for the same end.
   */
  close(): Promise<void>;

  /** The same as {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** How to connect to a peer. */
export interface ConnectOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether to go on dialing, with growing pauses, until the peer is reached. Default false. */
  readonly retry?: boolean | undefined;
}

/** Counts of a node: its transports' own, its handshakes, and what it refused after them. */
export interface NodeCounters {
  readonly transports: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly handshakes: { readonly accepted: number; readonly refused: number };
  /** What peers got wrong after their handshake. */
  readonly refusals: {
    /** Calls answered with an error that no handler threw. */
    readonly calls: number;
    /** Connections that this node closed because of what the peer sent. */
    readonly connections: number;
  };
}
