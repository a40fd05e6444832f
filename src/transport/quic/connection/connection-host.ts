/** What a QUIC connection is given: the endpoint that it lives on, and its options. */
import type { Alarms } from '../../../base/alarms.js';
import type { MeshError } from '../../../errors.js';
import type { PeerIdentity, Role, SocketAddress, StreamLimits } from '../../connection.js';
import type { FrameMemory } from '../../frame-memory.js';
import type { PeerRates } from '../../peer-rates.js';
import type { ReadingTurns } from '../../reading-turns.js';
import type { HalfOpenGuard } from '../admission/half-open-guard.js';
import type { NativeConnection } from '../binding/native.js';
import type { BumpBuffer } from '../io/bump-buffer.js';
import type { EndpointCounters } from '../io/counters.js';
import type { SendMemory } from '../io/send-memory.js';
import type { UdpSocket } from '../io/udp-socket.js';
import type { IdRoutes } from '../paths/connection-ids.js';
import type { PathMtuLimits } from '../paths/path-mtu.js';

/** What a connection asks of its endpoint. */
export interface ConnectionHost extends IdRoutes {
  /** The socket that the connection begins on. */
  readonly socket: UdpSocket;
  readonly counters: EndpointCounters;
  /** Memory for outgoing datagrams, shared by all connections of the endpoint. */
  readonly sendMemory: SendMemory;
  /** Memory for stream bytes, shared likewise. */
  readonly readBuffer: BumpBuffer;
  /** Share the event loop among peers. */
  readonly turns: ReadingTurns;
  /** How fast peers open and reset streams, over all of their connections. */
  readonly rates: PeerRates;
  /** Memory for large frames, shared likewise. */
  readonly frameMemory: FrameMemory;
  /** Deadlines of all connections. */
  readonly alarms: Alarms;
  /** Sends a datagram. Its memory belongs to the system until that has taken it. */
  sendDatagram(datagram: Buffer, to: SocketAddress, socket: UdpSocket): void;
  /** Opens a socket besides the endpoint's own. @throws MeshError ConnectFailed */
  openSocket(address: SocketAddress): Promise<UdpSocket>;
  /** Closes such a socket; leaves the endpoint's own open. */
  closeSocket(socket: UdpSocket): void;
  /** Whether a socket is one of the endpoint's own, which all have the same port. */
  isListening(socket: UdpSocket): boolean;
  /** Calls the connection's `flush()` once this turn's input is read. */
  flushSoon(): void;
  /** Calls the connection's `maintain()` then, and not when it was to be called before. */
  maintainAt(atMs: number): void;
  /** Checks the peer's certificates. @throws MeshError with a Certificate* code */
  verifyPeer(chain: readonly Uint8Array[]): PeerIdentity;
  /** An acceptor may read early data: the certificate of the resumed session is good. */
  early(): void;
  /** The peer gave a session to resume, whose memory is the host's from here on. Called at most once. */
  sessionGiven(session: Uint8Array): void;
  /** TLS is done and the peer's certificate is good. */
  established(): void;
  /** Limits are agreed: the handshake above TLS is done, maybe before TLS itself. */
  agreed(): void;
  /** The peer's datagrams come from another address, or to another socket. */
  arrivalChanged(): void;
  /** The connection is over for its users. Called once. */
  ended(error: MeshError): void;
  /** The native connection has drained as well: its connection IDs may be forgotten. */
  released(): void;
}

export interface QuicConnectionOptions {
  readonly native: NativeConnection;
  readonly host: ConnectionHost;
  readonly role: Role;
  readonly remoteAddress: SocketAddress;
  readonly limits: StreamLimits;
  /** Whether the connection may change its path. */
  readonly migration: boolean;
  /** The time for TLS, and so for checking certificate and address. */
  readonly connectTimeoutMs: number;
  /** This side's idle timeout, as in the binding's configuration. */
  readonly idleTimeoutMs: number;
  /** After so long a silence a dialer asks its peer for a sign of life. */
  readonly keepAliveMs: number;
  /** The congestion window that the connection begins with, as in the binding's configuration. */
  readonly initialWindowBytes: number;
  /** Whether packets wait until they are due, by the stamps of the binding. */
  readonly isPaced: boolean;
  /** The sizes that datagrams between two addresses may have. */
  readonly datagramLimits: (remote: SocketAddress, local: SocketAddress) => PathMtuLimits;
  /** The limits for a peer that has yet to prove who and where it is. */
  readonly guard?: HalfOpenGuard | undefined;
}
