/** Another node, as long as this node lives: calls go over whichever connection to it is open. */
import { callAgain, isLoss } from './calls/call-again.js';
import type { DialQueue } from './calls/dial-queue.js';
import type { CallSession } from './calls/session.js';
import type {
  CallCounters,
  CallOptions,
  OneWayMessage,
  ReplyTo,
  RequestMessage,
  StreamCallOptions,
} from './calls/types.js';
import { MeshError } from './errors.js';
import type { DataTransfer } from './protocol/message.js';
import type { MigrateOptions, Role, SocketAddress, TransportName } from './transport/connection.js';

/** One connection of a peer, as `peer.connections` shows it. */
export interface PeerConnection {
  readonly transport: TransportName;
  readonly role: Role;
  readonly remoteAddress: SocketAddress;
  readonly calls: Readonly<CallCounters>;
  /** Of frames, in bytes on the wire, before TLS. */
  readonly bytes: { readonly sent: number; readonly received: number };
}

export class Peer {
  readonly nodeId: string;
  /** Newest first: calls take the newest connection, so that older ones come to rest, on both sides alike. */
  readonly #sessions: CallSession[] = [];
  /** While this node dials the peer. */
  #dialing: DialQueue | undefined;
  /** Dials the peer as this node did before; known once it did. */
  #redial: (() => DialQueue) | undefined;
  /** Whether a connection that this node dialed was lost, and none has taken its place. */
  #wasLost = false;

  /** Peers are made by MeshNode. */
  constructor(nodeId: string) {
    this.nodeId = nodeId;
  }

  /** Whether there is a connection whose handshake is done. False while the peer is dialed, although calls may be made. */
  get isConnected(): boolean {
    return this.#sessions.some((session) => session.isOpen);
  }

  /** The transport that a call would take now; `undefined` while there is no connection. */
  get transport(): TransportName | undefined {
    return this.#sessions.find((session) => session.isOpen)?.transport;
  }

  get connections(): readonly PeerConnection[] {
    return this.#sessions.map(({ transport, connection, counters }) => ({
      transport,
      role: connection.role,
      remoteAddress: connection.remoteAddress,
      calls: { ...counters },
      bytes: { sent: connection.counters.bytesSent, received: connection.counters.bytesReceived },
    }));
  }

  /**
   * Asks and waits for the answer. Settles exactly once. When a connection that this node dialed is lost, it dials
   * again, and the call goes by the new one if there is time, and it had not left before or is `replaySafe`.
   * @throws MeshError the handler's error or the peer's refusal (side `remote`); DeadlineExceeded; Cancelled;
   *   ConnectionLost or ConnectionClosed, with `maybeExecuted` telling whether the call had left this node
   */
  request<M extends RequestMessage>(message: M, options: CallOptions = {}): Promise<ReplyTo<M>> {
    const isReplaySafe = options.replaySafe === true || message.type === 'ping';
    return this.#call((carrier, left) => carrier.request(message, left), options, isReplaySafe);
  }

  /**
   * Sends without waiting for an answer: fulfils when the transport has taken the message under backpressure.
   * Whether it arrived is not known.
   */
  send(message: OneWayMessage, options: CallOptions = {}): Promise<void> {
    const isReplaySafe = options.replaySafe === true;
    return this.#call((carrier, left) => carrier.send(message, left), options, isReplaySafe);
  }

  /**
   * Opens a bulk transfer: `body` goes out, what the peer's handler yields comes back. Both directions are flow
   * controlled by bytes; leaving the loop early cancels the transfer.
   * @throws MeshError as `request`, from the loop over the bytes
   */
  stream(
    transfer: Omit<DataTransfer, 'type' | 'offset' | 'data'> & {
      readonly type?: 'dataTransfer';
      readonly offset?: number;
    },
    options: StreamCallOptions = {},
  ): AsyncIterable<Uint8Array> {
    return this.#carrier().stream({ offset: 0, ...transfer, type: 'dataTransfer' }, options);
  }

  /** Round-trip time of a ping, in milliseconds. */
  async ping(options: CallOptions = {}): Promise<number> {
    const startMs = performance.now();
    await this.request({ type: 'ping' }, options);
    return performance.now() - startMs;
  }

  /**
   * Moves the QUIC connections that this node dialed to another local address, by default a new port of the same host.
   * Calls under way go on. Fulfils when the new path is validated and in use.
   * @throws MeshError MigrationFailed, after which the old path stays in use; InvalidArgument for an address of
   *   another family; Cancelled
   */
  async migrate(options: MigrateOptions = {}): Promise<void> {
    const movable = this.#sessions
      .map(({ connection }) => connection)
      .filter(({ migrate, role }) => migrate !== undefined && role === 'dialer');
    if (movable.length === 0) {
      const text = `there is no QUIC connection to ${this.nodeId} that this node dialed`;
      throw new MeshError('MigrationFailed', text);
    }
    for (const connection of movable) await connection.migrate?.(options);
  }

  /** Closes every connection to this peer, without waiting for calls. */
  async close(): Promise<void> {
    this.#wasLost = false;
    await Promise.all(
      this.#sessions.map(({ connection }) => connection.close('NoError', 'peer closed')),
    );
  }

  /** @internal A connection whose handshake is done. */
  attach(session: CallSession): void {
    this.#wasLost = false;
    this.#sessions.unshift(session);
  }

  /** @internal How to dial the peer again. */
  dialedBy(redial: () => DialQueue): void {
    this.#redial = redial;
  }

  /** @internal A connection that is over. */
  detach(session: CallSession): void {
    const index = this.#sessions.indexOf(session);
    if (index >= 0) this.#sessions.splice(index, 1);
    if (isLost(session)) this.#wasLost = !this.isConnected;
  }

  /** @internal A dial of this peer has begun: calls that find no connection ride along. */
  dialing(queue: DialQueue): void {
    this.#dialing = queue;
  }

  /** @internal The dial is over. */
  dialed(queue: DialQueue): void {
    if (this.#dialing === queue) this.#dialing = undefined;
  }

  async #call<T>(
    make: (carrier: CallSession | DialQueue, left: CallOptions) => Promise<T>,
    options: CallOptions,
    isReplaySafe: boolean,
  ): Promise<T> {
    const attempt = (left: CallOptions) => {
      const carrier = this.#carrier();
      return { result: make(carrier, left), carrier };
    };
    if (this.#redial === undefined) return attempt(options).result;
    return callAgain(attempt, options, isReplaySafe, () => this.#hasWay);
  }

  #carrier(): CallSession | DialQueue {
    for (const session of this.#sessions) if (session.isOpen) return session;
    if (this.#dialing === undefined && this.#hasWay) this.#dialing = this.#redial?.();
    if (this.#dialing !== undefined) return this.#dialing;
    throw new MeshError('ConnectionLost', `no open connection to ${this.nodeId}`);
  }

  /** Whether a call has a connection to go by, or can get one. */
  get #hasWay(): boolean {
    if (this.isConnected || this.#dialing !== undefined) return true;
    return this.#redial !== undefined && (this.#wasLost || this.#sessions.some(isLost));
  }
}

/** Whether a connection that this side dialed has ended without anybody's decision. */
function isLost({ connection }: CallSession): boolean {
  const { role, state } = connection;
  return role === 'dialer' && state.kind === 'closed' && isLoss(state.error.code);
}
