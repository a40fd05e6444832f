/** What users pass to `createNode`. Its twin, `schema.ts`, checks it; the compiler holds the two together. */
import type { Redundancy } from '../../calls/redundancy.js';
import type { Authorize } from '../../calls/session/authorize.js';
import type { RetryOptions } from '../../calls/types.js';
import type { Strategy } from '../../pool/select.js';
import type { CompressionName } from '../../protocol/compression.js';
import type { LoggingOption } from '../../telemetry/logging.js';
import type { TlsMaterial, Transport } from '../../transport/connection.js';
import type { Discovery } from '../../transport/dialing/discovery.js';
import type { AdmissionOptions } from '../../transport/quic/admission/admission-policy.js';
import type { SessionStore } from '../../transport/quic/resumption/sessions.js';

/** Options of {@link createNode}. Durations are in milliseconds, sizes in bytes. Unknown keys are errors. */
export interface NodeOptions {
  /**
   * This node's name: a DNS name, and no IP address. Its certificate must carry it as a DNS subject alternative name. Case does
   * not matter: this node and its peers know it in lower case.
   */
  readonly nodeId: string;
  /** Nodes of different clusters refuse each other. */
  readonly cluster: string;
  /** This node's certificates, and the CAs that it trusts. */
  readonly tls: TlsOption;
  /**
   * Where to accept peers: one port number, UDP for QUIC and TCP for the fallback. `'0.0.0.0'` and `'::'` are all interfaces,
   * port 0 is one of the system's choice. Without `listen` the node only dials.
   */
  readonly listen?: { readonly host: string; readonly port: number } | undefined;
  /**
   * In order of preference, each name once. Default `['quic', 'tcp']`. A transport of your own belongs to this node alone,
   * brings its own certificates and limits, and is closed with the node. It is left open when `createNode` fails because of
   * an option.
   */
  readonly transports?: readonly ('quic' | 'tcp' | Transport)[] | undefined;
  /** What the names of peers mean. Default: DNS, with A, AAAA and SRV records. */
  readonly discovery?: Discovery | undefined;
  /** What this node takes part in. Default: all of it. */
  readonly capabilities?:
    | {
        readonly query?: boolean | undefined;
        readonly replication?: boolean | undefined;
        readonly consensus?: boolean | undefined;
        readonly dataTransfer?: boolean | undefined;
      }
    | undefined;
  /** What is asked of peers beside a certificate. Default: nothing. */
  readonly auth?: NodeAuthOptions | undefined;
  /**
   * Who is answered, and how many dialers may be in their TLS handshake at once, on each transport. Default: only those who know a
   * CA of this node; 1024 in all, and 64 from one IPv4 address or one IPv6 network of 64 bits. Over QUIC dialers get a Retry from
   * 64 on.
   */
  readonly admission?: AdmissionOptions | undefined;
  /** How large messages may be, and how many connections, calls and bytes there may be at once. */
  readonly limits?: NodeLimitOptions | undefined;
  /** How long the node waits. */
  readonly timeouts?: NodeTimeoutOptions | undefined;
  /** What only QUIC has. */
  readonly quic?: NodeQuicOptions | undefined;
  /** How many connections the node keeps to each peer that it dials. */
  readonly pool?: NodePoolOptions | undefined;
  /** Which connection carries bulk transfers. */
  readonly bulk?: NodeBulkOptions | undefined;
  /** When a silent peer is asked for a sign of life, and when it is given up. */
  readonly health?: NodeHealthOptions | undefined;
  /** When a lost peer is dialed again. The node never stops trying. */
  readonly reconnect?: NodeReconnectOptions | undefined;
  /** When calls that failed are made again. */
  readonly retry?: NodeRetryOptions | undefined;
  /** When connections that this node dialed are replaced before they grow old. */
  readonly renewal?: NodeRenewalOptions | undefined;
  /** How messages are compressed. */
  readonly compression?: NodeCompressionOptions | undefined;
  /**
   * How often calls of priority `control` of up to 1 KiB are sent that bring no `redundancy` of their own; see
   * {@link CallOptions}. Default 1.
   */
  readonly redundancy?: Redundancy | undefined;
  /** CRC-32 on every frame. Default true. It is off only where both sides turn it off. */
  readonly checksum?: boolean | undefined;
  /**
   * A file to which the TLS secrets of every connection are appended, for Wireshark. For debugging only. Default: what the
   * environment variable SSLKEYLOGFILE names, if anything.
   */
  readonly keyLogFile?: string | undefined;
  /** A pino logger, or the level of the default one, which writes to standard error. Default `'warn'`. */
  readonly logger?: LoggingOption | undefined;
}

/** PEM texts, or a function that gives them. It is called at the start and again by `reloadTls()`. */
export type TlsOption = TlsMaterial | (() => TlsMaterial | Promise<TlsMaterial>);

/** What is asked of peers beside a certificate. At least one of the three is given. */
export interface NodeAuthOptions {
  /** A secret, at most 1024 characters. Dialed peers see it. Without `verify`, dialers must show the same. */
  readonly token?: string | undefined;
  /**
   * Decides synchronously whether a dialer's token is accepted. `true` accepts it; anything else, including a promise or a
   * throw, refuses it. Compare secrets with `sameToken`, which takes constant time.
   * @param nodeId the dialer, as its certificate proves
   */
  readonly verify?: ((token: string | undefined, nodeId: string) => boolean) | undefined;
  /** Asked before the handler for every call of a peer, ping excepted. Default: every call is allowed. */
  readonly authorize?: Authorize | undefined;
}

/**
 * How large messages may be, and how many connections, calls and bytes there may be at once. Bytes are those of messages: a
 * call counts from when it leaves until it is answered, a one-way message and an answer until the transport has taken them.
 */
export interface NodeLimitOptions {
  /** Size of one message, before compression. Default 16 MiB. */
  readonly messageBytes?: number | undefined;
  /** Calls that a peer may have under way on one connection. Default 1024. */
  readonly streams?: number | undefined;
  /** Connections in all. Beyond, the node dials nobody and refuses dialers. Default 4096. */
  readonly connections?: number | undefined;
  /** Connections that one peer may have dialed. Default 64. */
  readonly connectionsPerPeer?: number | undefined;
  /** Bytes of one call that its reader has not taken yet: the largest window of a stream. Default 4 MiB, at least 1 MiB. */
  readonly callBytes?: number | undefined;
  /**
   * Bytes under way on one connection, each way. Beyond, calls of this side wait, and calls of the peer are refused with
   * Overloaded. Urgent calls (of class control) have a quarter more. Default 32 MiB, at least 16 MiB.
   */
  readonly connectionBytes?: number | undefined;
  /**
   * The same for all connections of one peer together: its share of `nodeBytes`, so that no peer can take what the others need.
   * Default a quarter of `nodeBytes`, or `connectionBytes` if that is more.
   */
  readonly peerBytes?: number | undefined;
  /** The same for all connections of the node together. Default 256 MiB. */
  readonly nodeBytes?: number | undefined;
  /**
   * Calls of one peer that are handled at once, and as many urgent ones. Others are refused with Overloaded. A call counts
   * until its handler is done, even if the peer has given it up. Default 1024.
   */
  readonly callsPerPeer?: number | undefined;
  /**
   * Streams that a peer may open in a second, over all of its connections, and as many at once. The connection that brings more is
   * closed. Default 200,000.
   */
  readonly streamOpensPerSecond?: number | undefined;
  /** The same for streams that the peer resets. Default 10,000. */
  readonly streamResetsPerSecond?: number | undefined;
  /**
   * Errors that a peer may make in a second, over all of its connections, and as many at once: messages that cannot be read, and
   * connections closed over what came by them, each of which counts as 25. Beyond, its connections are closed and refused with
   * Overloaded, until enough time has passed. Default 1,000.
   */
  readonly errorsPerSecond?: number | undefined;
}

/** How long the node waits. */
export interface NodeTimeoutOptions {
  /** For one transport to connect. Default 5000. */
  readonly connectMs?: number | undefined;
  /** For a transport to connect, before the next one starts beside it. Default 200. */
  readonly fallbackDelayMs?: number | undefined;
  /** For the handshake of quicmesh, once the transport has connected. Default 5000. */
  readonly handshakeMs?: number | undefined;
  /** For any datagram on a QUIC connection. Without one, the connection is dead. Default 30,000. */
  readonly idleMs?: number | undefined;
  /** Before the dialer's transport asks a silent peer for a sign of life; the acceptor's asks a little later. Default 10,000. */
  readonly keepAliveMs?: number | undefined;
  /** For calls under way, when the node closes. Default 5000. */
  readonly drainMs?: number | undefined;
}

/** What only QUIC has. */
export interface NodeQuicOptions {
  /**
   * Forbids every other transport, whatever `transports` says. A transport of your own that is not QUIC is neither used nor
   * closed. Default false.
   */
  readonly required?: boolean | undefined;
  /**
   * Largest datagram, in bytes of UDP payload, 1,200 to 65,527. `'auto'`, the default, probes the path: from 1,200 up to what
   * the interface takes. A number is used without probing, and given up only where the path loses such datagrams.
   */
  readonly maxDatagramBytes?: number | 'auto' | undefined;
  /** Whether connections resume earlier ones, and `replaySafe` calls may be sent and run as 0-RTT data. Default true. */
  readonly earlyData?: boolean | undefined;
  /** Where sessions to resume are kept. They hold secrets. Default: in memory. */
  readonly sessionStore?: SessionStore | undefined;
  /** How long one key encrypts the tickets by which peers resume. Default 12 hours. */
  readonly ticketKeyLifetimeMs?: number | undefined;
  /** Whether connections survive a change of address, of the peer or of this node. Default true. */
  readonly migration?: boolean | undefined;
  /**
   * How many peers have a UDP socket of their own at the node's port, 0 to 65,536. What a flood of strangers fills is another
   * queue then. Only on Linux. 0 gives none, and the port to this socket alone. Default 128.
   */
  readonly peerSockets?: number | undefined;
  /** Default `'cubic'`. */
  readonly congestionControl?: 'cubic' | 'reno' | 'bbr' | undefined;
  /**
   * The congestion window that a connection begins with, in bytes, 12,000 to 655,270. Default 54,000. The smallest window is a
   * fifth of it, and without loss the window grows by a tenth of it a round trip. The more it is, the
   * less do calls wait for each other where packets are lost, and the more goes into a link that is full already.
   */
  readonly initialWindowBytes?: number | undefined;
}

/** How many connections a node keeps to each peer that it dials. */
export interface NodePoolOptions {
  /** Connections to keep, 1 to 10. Default 1. */
  readonly min?: number | undefined;
  /** Connections to dial at most, 1 to 10. Default 1, or `min` if that is more. */
  readonly max?: number | undefined;
  /** Which connection takes the next call. Default `'leastLoaded'`. */
  readonly strategy?: Strategy | undefined;
  /** Another connection is dialed, up to `max`, once each has so many calls under way. Default 64. */
  readonly growAtCalls?: number | undefined;
  /** Above `min`, a connection that was idle for so long is closed. Default 60,000. */
  readonly idleMs?: number | undefined;
}

/** Which connection carries the transfers of `peer.stream`, so that calls need not share theirs. */
export interface NodeBulkOptions {
  /**
   * A connection of its own: over TCP where that reaches the peer and carries full segments, else over QUIC (`'auto'`, the default),
   * or over that transport only. `'same'`: the connection that carries calls. A transfer takes that one too while there is no other.
   */
  readonly transport?: 'auto' | 'quic' | 'tcp' | 'same' | undefined;
  /**
   * Transfers of `bulk` priority from this size on, in bytes, leave the connection for calls; those of unknown size do, too. Default
   * 1 MiB.
   */
  readonly thresholdBytes?: number | undefined;
  /** A bulk connection without a transfer for so long is closed by the node that dialed it. Default 30,000. */
  readonly idleMs?: number | undefined;
}

/** When a silent peer is asked for a sign of life, and when it is given up. */
export interface NodeHealthOptions {
  /**
   * A peer that owes answers is asked after so long a silence. Each further interval without a sign of life is a miss.
   * Default 500.
   */
  readonly intervalMs?: number | undefined;
  /** After one miss other connections take its calls. After so many, the connection is given up. Default 3. */
  readonly misses?: number | undefined;
}

/** When a lost peer is dialed again: exponential backoff with full jitter. */
export interface NodeReconnectOptions {
  /** Upper bound of the first delay. The bound doubles with each further one. Default 100. */
  readonly minDelayMs?: number | undefined;
  /** Upper bound of every delay. Default 30,000. */
  readonly maxDelayMs?: number | undefined;
  /** After a connection that lasted so long, delays start from the first again. Default 60,000. */
  readonly stableMs?: number | undefined;
}

/** When calls are made again that bring no `retry` of their own, and how often in all. */
export interface NodeRetryOptions extends RetryOptions {
  /**
   * Further attempts that each peer has in reserve, and starts with. Without one left, a call fails with the error of its
   * last attempt. Calls that never left this node take none. Default 1000.
   */
  readonly budget?: number | undefined;
  /** What each call adds to the reserve, in attempts, up to `budget`. Default 0.2. */
  readonly budgetRatio?: number | undefined;
}

/** When a connection that this node dialed is replaced by another. Calls under way end on the old one. */
export interface NodeRenewalOptions {
  /** After so many streams. Default 4,000,000. */
  readonly afterStreams?: number | undefined;
  /** Or after so much time, less up to a tenth at random. Default 24 hours. */
  readonly afterMs?: number | undefined;
}

/** How messages are compressed. Bulk transfers are not. */
export interface NodeCompressionOptions {
  /** What to offer peers, best first. Default `['lz4', 'zstd']`; `[]` for none. */
  readonly algorithms?: readonly CompressionName[] | undefined;
  /** Messages from this size on are compressed, if that makes them smaller. Default 4096. */
  readonly thresholdBytes?: number | undefined;
}
