/**
 * What QUIC and TCP have in common, and all that the layers above know of either: connections that carry
 * streams of frames. SPEC.md, "Transports".
 *
 * A request is a stream of its own: on QUIC a bidirectional stream, on TCP the frames of one message id.
 * Everything here is synchronous from the bytes' arrival to the handler's call: handlers are objects with
 * methods, not events or promises, so that a frame costs no allocation besides itself.
 */
import type { ByteAccount } from '../base/byte-budget.js';
import type { MeshError, MeshErrorCode } from '../errors.js';
import type { Compression, Frame } from '../protocol/frame.js';
import type { TailSum } from '../protocol/kept-message.js';
import type { Priority } from '../protocol/priority.js';
import { DEFAULT_STREAM_RATES, type StreamRates } from './stream-rate.js';

/** Every {@link TransportName}. */
export const TRANSPORT_NAMES = ['quic', 'tcp', 'memory'] as const;
/** How a connection travels. `memory` is a pair within one process, for tests. */
export type TransportName = (typeof TRANSPORT_NAMES)[number];

/** Who opened the connection. Decides who counts message ids odd (dialer) and even (acceptor). */
export type Role = 'dialer' | 'acceptor';

/** A host and a port. The host of what is bound or connected is a numeric IP address. */
export interface SocketAddress {
  readonly host: string;
  readonly port: number;
}

/** What a peer's certificate proved: its chain leads to the CA and its dates hold. */
export interface PeerIdentity {
  /** The node ids that its owner may claim: the DNS names of the certificate, each once, in lower case. */
  readonly nodeIds: readonly string[];
  /** SHA-256 of the certificate, in hex pairs with colons. A certificate signed by ECDSA has a twin with another one. */
  readonly fingerprint256: string;
  /** SHA-256 of its public key (SubjectPublicKeyInfo), in hex pairs with colons: the same for a certificate and its twin. */
  readonly keyFingerprint256: string;
  readonly validToMs: number;
  /**
   * The certificates that the peer showed, in DER, leaf first and then those that led to its root, so that they can be
   * held against other material later. 16 or so at most, and no more than 32 KiB behind the leaf.
   */
  readonly chain: readonly Uint8Array[];
}

/** Receives what arrives on one stream. Methods are called synchronously and must not throw. */
export interface FrameStreamHandler {
  /** A frame. Its payload's memory is the handler's from here on. */
  onFrame(frame: Frame): void;
  /** The peer sends nothing more on this stream. */
  onEnd(): void;
  /** The stream is over in both directions, by the peer's reset or with its connection. Nothing follows. */
  onReset(error: MeshError): void;
  /** After `send` answered false: there is room again. */
  onDrain?(): void;
  /** Of a stream that this side opened: its first byte was handed to the transport. May come from within `send`. */
  onSent?(): void;
}

/** Ignores all events: for a stream that has no handler yet, or no longer. */
export const NO_HANDLER: FrameStreamHandler = { onFrame() {}, onEnd() {}, onReset() {} };

/**
 * One bidirectional stream of frames.
 *
 * It is over when both sides have ended, or either has reset; `onReset` is not called for one's own reset.
 */
export interface FrameStream {
  /** 0 until the first frame is on its way: ids are given in the order in which streams reach the wire. */
  readonly messageId: number;
  /**
   * Whether any byte of this side was handed to the transport (TCP: to the socket's writer, QUIC: to the binding). Before,
   * the peer cannot have seen anything of it. What this side's own `reset` says does not count.
   */
  readonly hasSent: boolean;
  /** Who opened the stream, seen from here. */
  readonly initiator: 'local' | 'remote';
  /** May be replaced at any time between two calls into the stream. */
  handler: FrameStreamHandler;
  /**
   * What this side's unsent bytes are taken from, headers among them, until the transport has sent them or the stream is over.
   * To be set before the first `send`. None by default.
   */
  account?: ByteAccount | undefined;
  /**
   * Hands a frame over; `payload` belongs to the connection until it is sent, `options.tail` stays the caller's.
   * @returns false when the stream holds more than its high-water mark: wait for `onDrain`
   * @throws MeshError ConnectionClosed or StreamReset when the stream is over, InvalidArgument after `end`,
   *   Overloaded when the caller goes on in spite of false until the queue's limit
   */
  send(payload: Uint8Array, options?: SendOptions): boolean;
  /**
   * Discards all frames that were handed over, and the end, if no byte has left yet. The stream keeps its place in the queue.
   * Does nothing once `hasSent`, or on a stream that is over.
   */
  unsend(): void;
  /** Says that nothing more will be sent, without a frame. Does nothing when that was said already. */
  end(): void;
  /**
   * Sets the priority of what this side sends from now on, and of what waits. The opener sets it by {@link StreamOptions}, the
   * answerer once it knows the call; a stream of the peer's is normal until then.
   */
  prioritize(priority: Priority): void;
  /** Abandons both directions and tells the peer why. Does nothing on a stream that is over. */
  reset(code: MeshErrorCode, reason?: string): void;
  /** Stops delivery; what the peer may still send is bounded by the stream's credit. */
  pause(): void;
  resume(): void;
}

/** How a frame is sent. */
export interface SendOptions {
  /** The payload's rest, where it comes in two pieces. Copied before `send` returns. */
  readonly tail?: Uint8Array | undefined;
  /** CRC-32 of `tail`, where that is known: it is not passed over again. */
  readonly tailChecksum?: number | undefined;
  /**
   * Receives the CRC-32 of `tail` as it was passed to `send`, at the latest when the stream ends. It costs nothing where the
   * frame has a checksum, which covers `tail` anyway.
   * @internal
   */
  readonly tailSum?: TailSum | undefined;
  readonly compression?: Compression;
  /** Whether this is the last frame of this side. */
  readonly end?: boolean;
}

/** How a stream is opened. */
export interface StreamOptions {
  /** On an `early` connection its frames leave at once, as 0-RTT data, which an attacker can record and send again. */
  readonly early?: boolean | undefined;
  /** What goes first where streams share a connection. Default `normal`. */
  readonly priority?: Priority | undefined;
}

/** A connection's life. A state carries its own data; see {@link nextConnectionState} for what may follow what. */
export type ConnectionState =
  | { readonly kind: 'connecting' }
  /** TLS is not done, but early data passes: a dialer may send some, an acceptor has received some. */
  | { readonly kind: 'early' }
  | { readonly kind: 'open' }
  | { readonly kind: 'closing'; readonly error: MeshError }
  | { readonly kind: 'closed'; readonly error: MeshError };

const NEXT_STATES: Readonly<Record<ConnectionState['kind'], readonly ConnectionState['kind'][]>> = {
  connecting: ['early', 'open', 'closing', 'closed'],
  early: ['open', 'closing', 'closed'],
  open: ['closing', 'closed'],
  closing: ['closed'],
  closed: [],
};

/** The state that follows, or `undefined` where the table does not allow it; the caller then changes nothing. */
export function nextConnectionState(
  from: ConnectionState,
  to: ConnectionState,
): ConnectionState | undefined {
  return NEXT_STATES[from.kind].includes(to.kind) ? to : undefined;
}

/** What passed over one connection, in counts and bytes of frames. */
export interface ConnectionCounters {
  framesSent: number;
  framesReceived: number;
  bytesSent: number;
  bytesReceived: number;
  streamsOpened: number;
  streamsAccepted: number;
  streamsReset: number;
}

/** What a handshake settled and a connection has to hold to. */
export interface AgreedLimits {
  readonly maxMessageBytes: number;
  readonly maxOutgoingStreams: number;
  readonly maxIncomingStreams: number;
  readonly checksum: boolean;
  /** Compressions that frames may have: `none` and what both sides read. */
  readonly compressions: readonly Compression[];
}

/** Limits that hold on every connection, from its first byte. */
export interface StreamLimits extends StreamRates {
  /** Largest payload accepted until a handshake agreed on another. */
  readonly maxMessageBytes: number;
  /** Streams that the peer may have open. */
  readonly maxIncomingStreams: number;
  /** Streams waiting for the peer's stream limit; `openStream` beyond that throws Overloaded. */
  readonly maxQueuedStreams: number;
  /** Bytes that a peer may send on one stream before the reader takes them. */
  readonly streamWindowBytes: number;
  /** The same for all streams of a connection together. */
  readonly connectionWindowBytes: number;
  /** A transport whose windows grow with a fast reader lets them grow to so much, for a stream and in all. */
  readonly maxStreamWindowBytes: number;
  readonly maxConnectionWindowBytes: number;
  /** Above so many unsent bytes on a stream, `send` answers false. */
  readonly sendHighWaterBytes: number;
}

/** The limits of a transport that is given none. */
export const DEFAULT_STREAM_LIMITS: StreamLimits = {
  maxMessageBytes: 16 * 1024 * 1024,
  maxIncomingStreams: 1024,
  maxQueuedStreams: 65_536,
  streamWindowBytes: 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  maxStreamWindowBytes: 4 * 1024 * 1024,
  maxConnectionWindowBytes: 32 * 1024 * 1024,
  sendHighWaterBytes: 256 * 1024,
  ...DEFAULT_STREAM_RATES,
};

/**
 * Payloads that a dialer sends before its handshake is answered have no more in all. It does not know yet what the acceptor
 * takes, but every acceptor keeps that much. SPEC.md, "Pipelining".
 */
export const MAX_PRE_HANDSHAKE_BYTES = 128 * 1024;
/** Streams that a dialer opens before its handshake is answered, that of the handshake among them. */
export const MAX_PRE_HANDSHAKE_STREAMS = 64;

/** A secured connection to one peer. */
export interface Connection {
  readonly transport: TransportName;
  readonly role: Role;
  /**
   * What the peer's certificate proved; checked before the connection is handed out. While the connection is `early`
   * that is the certificate of the session that is resumed.
   */
  readonly peerIdentity: PeerIdentity;
  readonly localAddress: SocketAddress;
  readonly remoteAddress: SocketAddress;
  readonly state: ConnectionState;
  readonly counters: Readonly<ConnectionCounters>;
  /** Round-trip time as the transport measures it, in milliseconds; `undefined` where it does not. */
  readonly rttMs: number | undefined;
  /** The largest datagram that the path has been found to carry, in bytes of UDP payload. Absent where there are none. */
  readonly datagramBytes?: number;
  /** Streams of this side that are open or waiting. */
  readonly openStreams: number;
  /**
   * What is taken for bytes that arrived and wait: for readers that are slow, or for the rest of their message. Where there is
   * no room, streams are given up with Overloaded, those first that have waited longest. Set once, after the handshake.
   */
  account?: ByteAccount | undefined;
  /**
   * Opens a stream. Where the peer's stream limit is reached it waits its turn, in order; while the connection is
   * `early` it waits until that is open, unless it is an early stream.
   * @throws MeshError ConnectionClosed, GoingAway, Overloaded (too many waiting)
   */
  openStream(handler: FrameStreamHandler, options?: StreamOptions): FrameStream;
  /**
   * Called for every stream that the peer opens, before its first frame is delivered; the answer receives
   * the stream. Until it is set, the peer's streams wait unread.
   */
  onStream: ((stream: FrameStream) => FrameStreamHandler) | undefined;
  /**
   * Moves the connection to another local address; calls under way go on. Fulfils when the new path is validated and
   * in use. Absent where the transport cannot do that.
   * @throws MeshError MigrationFailed, after which the old path stays in use; InvalidArgument; Cancelled
   */
  readonly migrate?: (options: MigrateOptions) => Promise<void>;
  /** Whether a new connection should take its place: this one is near a limit of what one connection can carry. */
  readonly needsReplacement?: boolean;
  /** Called when the path changes, by either side, or fails to. */
  onPathEvent?: ((event: PathEvent) => void) | undefined;
  /**
   * Opens no more streams on this connection and tells the peer, which then does the same; open ones go on, and so do
   * those that wait for the peer's stream limit. Does nothing the second time. SPEC.md, "Going away".
   */
  goAway(): void;
  /** Whether either side has said that it goes away: `openStream` then throws GoingAway (nothing was sent). */
  readonly isGoingAway: boolean;
  /** Called once, when the peer's announcement arrives. By then this side has stopped opening streams too. */
  onGoAway: (() => void) | undefined;
  /**
   * Fulfils once both sides have gone away and every stream is over at both ends, so that to close loses nothing; or
   * when the connection is over. Never rejects.
   */
  readonly drained: Promise<void>;
  /** Whether a stream that is opened now reaches the peer without waiting for one of the others to end. */
  readonly hasStreamRoom: boolean;
  /**
   * Makes the peer send something, ahead of all queued data. The only effect is a newer `lastReceivedMs`. Absent if the
   * transport cannot do that: make a ping call then.
   */
  readonly probe?: () => void;
  /**
   * When bytes of the peer last arrived, on the clock of `performance.now()`. Any byte counts, not only whole frames; noise of
   * others does not.
   */
  readonly lastReceivedMs: number;
  /**
   * Holds a dialer to what it may send before its handshake is done, until {@link applyLimits}: {@link MAX_PRE_HANDSHAKE_BYTES}
   * in all, on {@link MAX_PRE_HANDSHAKE_STREAMS}. Beyond, the connection is closed. If it is called from `onConnection`, the
   * connection counts as half-open for as long.
   */
  expectHandshake?(): void;
  /** Puts into force what the handshake agreed. Called once. */
  applyLimits(limits: AgreedLimits): void;
  /**
   * Closes and tells the peer why. Streams still open are reset on both sides. Calling it again changes
   * nothing and waits for the same end.
   */
  close(code?: MeshErrorCode, reason?: string): Promise<void>;
  /**
   * Closes over an error that this side found: the peer gets its code and text, and open streams end with this error
   * (unlike `close`, after which they end with ConnectionClosed). Does nothing on a connection that is over.
   */
  fail(error: MeshError): void;
  /** Fulfils once: with true when TLS is done, with false when the connection is over before. Never rejects. */
  readonly opened: Promise<boolean>;
  /** Fulfils once, when the connection is over: code `NoError` after a close in good order. Never rejects. */
  readonly closed: Promise<MeshError>;
}

/** Where to move a connection: an address of this side. */
export interface MigrateOptions {
  /** Default: the host that the connection has now. */
  readonly host?: string | undefined;
  /** Default: one that the system picks. */
  readonly port?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What happened to the path of a connection. */
export type PathEvent =
  | {
      readonly kind: 'migrated';
      /** Whose address changed. */
      readonly side: 'local' | 'remote';
      readonly from: SocketAddress;
      readonly to: SocketAddress;
    }
  | {
      /** A path was tried and is not taken; the connection goes on over the one it has. */
      readonly kind: 'pathFailed';
      readonly local: SocketAddress;
      readonly remote: SocketAddress;
      readonly error: MeshError;
    }
  | {
      /** The path was found to carry larger datagrams, or not to carry those that it did. Bytes of UDP payload. */
      readonly kind: 'datagramSizeChanged';
      readonly from: number;
      readonly to: number;
    };

/** How to reach a peer. */
export interface DialTarget {
  readonly host: string;
  readonly port: number;
  /** The node id that the peer's certificate must carry, in any case; without it any certificate of the CA will do. */
  readonly nodeId?: string | undefined;
}

/** How a transport dials. */
export interface DialOptions {
  readonly signal?: AbortSignal | undefined;
  /** Default: the transport's own. */
  readonly connectTimeoutMs?: number | undefined;
  /**
   * Called with a connection in state `early`, before the dial fulfils with the same, where a session is resumed that
   * allows early data. A connection that fails before it is open is not the dial's last word: another may follow.
   */
  readonly onEarly?: ((connection: Connection) => void) | undefined;
}

/** One way of reaching peers and of being reached. */
export interface Transport {
  readonly name: TransportName;
  /**
   * Dials a peer and checks its certificate. What comes before the peer has proved who it is can be anybody's: then the code
   * is ConnectFailed, with what was said in text and cause. An error of side `remote` is the peer's own, and ends the dial.
   * @throws MeshError ConnectTimeout, ConnectFailed, Cancelled, TransportUnavailable, a Certificate* code of side `local`
   */
  dial(target: DialTarget, options?: DialOptions): Promise<Connection>;
  /** Starts to accept. At most one listener a transport. */
  listen(options: ListenOptions): Promise<Listener>;
  /** What was dropped and refused before it became a connection. */
  readonly counters: Readonly<Record<string, number>>;
  /** Closes the listener and every connection. */
  close(): Promise<void>;
}

/** Where a transport listens, and who hears of what arrives. */
export interface ListenOptions {
  readonly host: string;
  /** 0 lets the system pick. */
  readonly port: number;
  /** A peer arrived with a certificate of the CA. The connection is `open`, or `early` where it began with early data. */
  readonly onConnection: (connection: Connection) => void;
  /** A peer was turned away before it became a connection. */
  readonly onRefused?: (refusal: Refusal) => void;
}

/** A peer that was turned away, and why. */
export interface Refusal {
  readonly error: MeshError;
  readonly remoteAddress: SocketAddress;
  readonly transport: TransportName;
}

/** A transport that listens. To close it stops that, and leaves connections open. */
export interface Listener {
  /** Where it is bound: of a listener on all addresses, `0.0.0.0` or `::`. */
  readonly address: SocketAddress;
  close(): Promise<void>;
}

/** Certificates in PEM. `cert` may carry intermediates after the leaf; `ca` may hold several roots. */
export interface TlsMaterial {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /**
   * Certificates of the CA that are not to be taken any more, intermediates too: as PEM, which covers their keys as well, or in
   * hex, with colons or without, their SHA-256 or SHA-1 fingerprints, serial numbers, or SHA-256 digests of their public keys
   * (SubjectPublicKeyInfo).
   */
  readonly revoked?: readonly string[] | undefined;
  /**
   * CRLs of the CAs in `ca`, or of intermediates in `cert`, as PEM texts or in DER: complete ones, of CAs that may sign them
   * (cRLSign). Of several of one CA the newest holds. One that is out of date holds all the same.
   */
  readonly crl?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined;
}

/** The application protocol of wire version 1 (RFC 7301). */
export const ALPN_PROTOCOL = 'quicmesh/1';
