/** The public face of a peer: another node, and the calls to it. */
import type { BatchOptions, MessageBatcher } from '../calls/batching/batcher.js';
import type {
  CallCounters,
  CallOptions,
  OneWayMessage,
  ReplyTo,
  RequestMessage,
  RetryCounters,
  StreamCallOptions,
  TrySendOptions,
} from '../calls/types.js';
import type { MemberStateKind } from '../pool/member.js';
import type { PoolStatistics } from '../pool/options.js';
import type { ConnectionClass } from '../protocol/connection-class.js';
import type { DataTransfer } from '../protocol/message.js';
import type {
  MigrateOptions,
  Role,
  SocketAddress,
  TransportName,
} from '../transport/connection.js';

/**
 * Another node. Calls go over whichever connection to it is open. `node.connect` answers with one, and it stays usable
 * for as long as you hold it, whatever becomes of its connections.
 */
export interface Peer {
  /** The peer's name, as its certificate carries it. */
  readonly nodeId: string;

  /**
   * Whether there is a connection whose handshake is done. False while the peer is dialed, although calls may be made.
   */
  readonly isConnected: boolean;

  /** The transport that calls use now; `undefined` while there is no connection. */
  readonly transport: TransportName | undefined;

  /** The connections to this peer, as they are now. Each read is a copy. */
  readonly connections: readonly PeerConnection[];

  /** What the pool of connections to this peer holds, and what it did. */
  readonly statistics: PoolStatistics;

  /** The same of the connections that carry bulk transfers only, of either side; `undefined` before the first. */
  readonly bulkStatistics: PoolStatistics | undefined;

  /** How many calls to this peer were attempted again, and how many the retry budget denied that. */
  readonly retries: Readonly<RetryCounters>;

  /**
   * Sends a request and waits for the answer. Settles exactly once. When the connection is lost, a call that had not
   * left, or that is `replaySafe`, goes by the next connection if there is time; see {@link CallOptions.retry}.
   *
   * You may change or reuse the message's memory once this has returned. If you change a byte string of 4 KiB or more,
   * a call that failed is not attempted again.
   * @throws MeshError the handler's error or the peer's refusal (side `remote`); DeadlineExceeded; Cancelled;
   *   Superseded; ConnectionLost or ConnectionClosed, with `maybeExecuted` telling whether the call had left this node;
   *   InvalidArgument for a message that cannot be sent, or whose type begins no such call
   */
  request<M extends RequestMessage>(message: M, options?: CallOptions): Promise<ReplyTo<M>>;

  /**
   * Sends without waiting for an answer: fulfils when the transport has taken the message under backpressure. Whether it
   * arrived is not known.
   * @throws MeshError as {@link request}
   */
  send(message: OneWayMessage, options?: CallOptions): Promise<void>;

  /**
   * Sends without waiting for anything: false where the message would have to wait, for a connection, or for others
   * that have yet to leave. After true, whether it arrived is not known.
   * @throws MeshError what would not be better later: CapabilityMissing, MessageTooLarge, InvalidArgument
   */
  trySend(message: OneWayMessage, options?: TrySendOptions): boolean;

  /**
   * Opens a bulk transfer: `body` goes out, and what the peer's handler yields comes back. Both directions are flow
   * controlled by bytes. Leaving the loop early cancels the transfer.
   *
   * `offset` asks for the answer's bytes from there on. `priorChecksum`, the CRC-32 of the bytes before, lets the peer
   * go on with the checksum of the whole. With `resume` a lost connection interrupts the transfer, and does not end it.
   * @throws MeshError from the loop over the bytes: as {@link request}, and ChecksumMismatch when the bytes are not
   *   those that were sent. InvalidArgument at once
   */
  stream(transfer: TransferOpening, options?: StreamCallOptions): AsyncIterable<Uint8Array>;

  /**
   * Gathers `replicationLog` and `appendEntries` messages to this peer, and sends those that continue each other as one.
   * @throws MeshError InvalidArgument for an option that is wrong
   */
  batch(options?: BatchOptions): MessageBatcher;

  /**
   * Measures the round-trip time of a ping, in milliseconds.
   * @throws MeshError as {@link request}
   */
  ping(options?: CallOptions): Promise<number>;

  /**
   * Moves the QUIC connections that this node dialed to another local address, by default a new port of the same host.
   * Calls under way go on. Fulfils when the new path is validated and in use.
   * @throws MeshError MigrationFailed, after which the old path stays in use; InvalidArgument for an address of
   *   another family; Cancelled
   */
  migrate(options?: MigrateOptions): Promise<void>;

  /** Closes every connection to this peer, without waiting for calls. Neither side dials again by itself. */
  close(): Promise<void>;
}

/** One connection of a peer, as `peer.connections` shows it. */
export interface PeerConnection {
  readonly transport: TransportName;
  /** `bulk`: it carries large transfers only. */
  readonly connectionClass: ConnectionClass;
  readonly role: Role;
  readonly state: MemberStateKind;
  readonly remoteAddress: SocketAddress;
  /**
   * The largest datagram that the path has been found to carry from here, in bytes of UDP payload. `undefined` over TCP.
   * It grows once there is something large to send.
   */
  readonly datagramBytes: number | undefined;
  /** What the peer showed when the connection was made; it may have another by now. */
  readonly certificate: { readonly fingerprint256: string; readonly validToMs: number };
  readonly calls: Readonly<CallCounters>;
  /** Of frames, in bytes on the wire, before TLS. */
  readonly bytes: { readonly sent: number; readonly received: number };
}

/** What a transfer is. */
export interface TransferOpening
  extends Omit<
    DataTransfer,
    'type' | 'offset' | 'data' | 'checksum' | 'resume' | 'resumeAt' | 'nested'
  > {
  readonly type?: 'dataTransfer';
  readonly offset?: number;
}
