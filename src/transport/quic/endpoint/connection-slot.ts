/**
 * A connection's slot in the routing table of its endpoint: the connection IDs that lead to it, what it uses of the
 * endpoint, and whom its progress is reported to.
 *
 * The tables hold slots, and a slot lets go of its connection when that is over. The reason is garbage collection: when a
 * hash table grows or shrinks, V8 keeps the old table's contents alive through every minor collection. Connections that
 * come and go would all be copied to the old generation, and that pauses the process.
 */
import { Alarm, type Alarms } from '../../../base/alarms.js';
import type { MeshError } from '../../../errors.js';
import type { PeerIdentity, Refusal, Role, SocketAddress } from '../../connection.js';
import type { FrameMemory } from '../../frame-memory.js';
import type { PeerRates } from '../../peer-rates.js';
import type { ReadingTurns } from '../../reading-turns.js';
import { isSameAddress } from '../../socket-address.js';
import type { QuicConnection } from '../connection/connection.js';
import type { ConnectionHost } from '../connection/connection-host.js';
import type { BumpBuffer } from '../io/bump-buffer.js';
import type { EndpointCounters } from '../io/counters.js';
import type { PeerSocket } from '../io/peer-socket.js';
import type { PeerSockets } from '../io/peer-sockets.js';
import type { SendMemory } from '../io/send-memory.js';
import type { UdpSocket } from '../io/udp-socket.js';
import type { Flushable, FlushQueue } from './flush-queue.js';

/** Until a peer gets a socket of its own: a connection that ends before is not worth one. */
const SETTLED_MS = 250;

/** What slots ask of their endpoint. */
export interface SlotHost extends SharedMemory {
  readonly counters: EndpointCounters;
  readonly alarms: Alarms;
  readonly acceptor: EndpointAcceptor | undefined;
  /** Every slot under each of its connection IDs. */
  readonly routes: Map<string, ConnectionSlot>;
  readonly flushQueue: FlushQueue;
  readonly peerSockets: PeerSockets;
  sendDatagram(datagram: Buffer, to: SocketAddress, socket: UdpSocket): void;
  openSocket(address: SocketAddress): Promise<UdpSocket>;
  closeSocket(socket: UdpSocket): void;
  isListening(socket: UdpSocket): boolean;
  newConnectionId(role: Role): Buffer;
  resetTokenOf(connectionId: Uint8Array): bigint;
  /** @throws MeshError with a Certificate* code */
  verifyDialer(chain: readonly Uint8Array[]): PeerIdentity;
  /** A half-open connection of this source is done or gone. */
  leave(source: string, isTrusted: boolean): void;
  /** The connection is over, and its native connection drained. */
  forget(slot: ConnectionSlot): void;
}

interface SharedMemory {
  readonly turns: ReadingTurns;
  readonly rates: PeerRates;
  readonly sendMemory: SendMemory;
  readonly readBuffer: BumpBuffer;
  readonly frameMemory: FrameMemory;
}

/** Whom a listening endpoint tells of connections; see `ListenOptions`. */
export interface EndpointAcceptor {
  readonly onConnection: (connection: QuicConnection) => void;
  readonly onRefused?: ((refusal: Refusal) => void) | undefined;
}

export interface EndpointDialOptions {
  readonly connectTimeoutMs: number;
  /** The knock, which becomes the connection ID to begin with. Default: random bytes, for listeners that are not silent. */
  readonly knock?: Buffer | undefined;
  /** Checks the acceptor's certificates, which must be those of the dialed node. @throws MeshError Certificate* */
  readonly verifyPeer: (chain: readonly Uint8Array[]) => PeerIdentity;
  /** The TLS session of an earlier connection, to resume. */
  readonly session?: Uint8Array | undefined;
  /** Gets the session that the acceptor gave, which is then the callee's. */
  readonly onSession?: ((session: Uint8Array) => void) | undefined;
}

/** A dial under way, and the promise that it settles. */
export interface Dial {
  readonly options: EndpointDialOptions;
  readonly resolve: () => void;
  readonly reject: (error: MeshError) => void;
}

export interface ConnectionSlotOptions {
  /** The socket where its first datagram arrived, or from which it leaves. */
  readonly socket: UdpSocket;
  readonly ids: readonly string[];
  /** The source that it counts for among half-open connections; `undefined` for a dialed one. */
  readonly halfOpenSource?: string | undefined;
  readonly dial?: Dial | undefined;
  /** Moves the connection's secrets to the key log, where there is one. */
  readonly collectKeys?: (() => void) | undefined;
}

/** Holds one connection of an endpoint, and is its {@link ConnectionHost}. */
export class ConnectionSlot implements ConnectionHost, Flushable {
  /** `undefined` before the connection is created, and after it is over. */
  connection: QuicConnection | undefined;
  /** See {@link FlushQueue}. */
  isFlushDue = false;
  readonly socket: UdpSocket;
  readonly #host: SlotHost;
  readonly #ids: Set<string>;
  readonly #collectKeys: (() => void) | undefined;
  /** Rings when the connection is to be maintained; made when it first is. */
  #maintenance: Alarm | undefined;
  readonly #role: Role;
  /** Until TLS is done. */
  #dial: Dial | undefined;
  /** What is left of the dial from then on: neither its knock nor the session that it resumed. */
  #verifyPeer: EndpointDialOptions['verifyPeer'] | undefined;
  #onSession: EndpointDialOptions['onSession'];
  #halfOpenSource: string | undefined;
  /** Whether the acceptor got the connection before TLS was done, because it brought early data. */
  #handedOut = false;
  #isEstablished = false;
  /** Set once both handshakes are done. */
  #settling: Alarm | undefined;
  /** Whether they have been for a while. */
  #isSettled = false;
  #peerSocket: PeerSocket | undefined;

  constructor(
    host: SlotHost,
    { socket, ids, halfOpenSource, dial, collectKeys }: ConnectionSlotOptions,
  ) {
    this.#host = host;
    this.socket = socket;
    this.#ids = new Set(ids);
    this.#halfOpenSource = halfOpenSource;
    this.#role = dial === undefined ? 'acceptor' : 'dialer';
    this.#dial = dial;
    this.#verifyPeer = dial?.options.verifyPeer;
    this.#onSession = dial?.options.onSession;
    this.#collectKeys = collectKeys;
    for (const id of ids) host.routes.set(id, this);
  }

  get counters(): EndpointCounters {
    return this.#host.counters;
  }

  get sendMemory(): SendMemory {
    return this.#host.sendMemory;
  }

  get readBuffer(): BumpBuffer {
    return this.#host.readBuffer;
  }

  get turns(): ReadingTurns {
    return this.#host.turns;
  }

  get rates(): PeerRates {
    return this.#host.rates;
  }

  get frameMemory(): FrameMemory {
    return this.#host.frameMemory;
  }

  get alarms(): Alarms {
    return this.#host.alarms;
  }

  sendDatagram(datagram: Buffer, to: SocketAddress, socket: UdpSocket): void {
    this.#host.sendDatagram(datagram, to, socket);
  }

  openSocket(address: SocketAddress): Promise<UdpSocket> {
    return this.#host.openSocket(address);
  }

  closeSocket(socket: UdpSocket): void {
    this.#host.closeSocket(socket);
  }

  isListening(socket: UdpSocket): boolean {
    return this.#host.isListening(socket);
  }

  newConnectionId(): Buffer {
    return this.#host.newConnectionId(this.#role);
  }

  addRoute(id: string): void {
    this.#ids.add(id);
    this.#host.routes.set(id, this);
  }

  removeRoute(id: string): void {
    this.#ids.delete(id);
    this.#host.routes.delete(id);
  }

  resetTokenOf(id: Uint8Array): bigint {
    return this.#host.resetTokenOf(id);
  }

  flushSoon(): void {
    this.#host.flushQueue.add(this);
  }

  maintainAt(atMs: number): void {
    this.#maintenance ??= new Alarm(this.#host.alarms, (nowMs) => this.connection?.maintain(nowMs));
    this.#maintenance.set(atMs);
  }

  verifyPeer(chain: readonly Uint8Array[]): PeerIdentity {
    return this.#verifyPeer === undefined
      ? this.#host.verifyDialer(chain)
      : this.#verifyPeer(chain);
  }

  early(): void {
    const { acceptor, counters } = this.#host;
    if (this.connection === undefined || acceptor === undefined) return;
    // It stays half-open: early data may be a replay, and only the end of TLS proves that the dialer is there.
    this.#handedOut = true;
    counters.earlyAccepted += 1;
    acceptor.onConnection(this.connection);
  }

  sessionGiven(session: Uint8Array): void {
    const onSession = this.#onSession;
    this.#onSession = undefined;
    onSession?.(session);
  }

  established(): void {
    const { connection } = this;
    if (connection === undefined) return;
    const { acceptor, counters } = this.#host;
    this.#collectKeys?.();
    this.#isEstablished = true;
    if (connection.isResumed) counters.resumed += 1;
    if (connection.role === 'dialer') {
      this.#dial?.resolve();
      this.#dial = undefined;
    } else {
      counters.accepted += 1;
      if (!this.#handedOut) acceptor?.onConnection(connection);
    }
    if (!connection.isHandshaking) this.#becomePeer();
  }

  agreed(): void {
    // Early data may be a replay: only the end of TLS proves that the dialer is there.
    if (this.#isEstablished) this.#becomePeer();
  }

  arrivalChanged(): void {
    if (this.#isSettled) this.#takePeerSocket();
  }

  ended(error: MeshError): void {
    if (this.connection === undefined) return;
    const { acceptor, counters } = this.#host;
    const { remoteAddress } = this.connection;
    this.#collectKeys?.();
    this.#dial?.reject(error);
    // It keeps its half-open place until it is released: the native connection lives on for a while, to repeat its close.
    if (this.#halfOpenSource === undefined || this.#isEstablished) return;
    counters.refused += 1;
    // Whoever has the connection is told by the connection itself. A dialer that gave up was not refused.
    if (this.#handedOut || hasLeft(error)) return;
    acceptor?.onRefused?.({ error, remoteAddress, transport: 'quic' });
  }

  released(): void {
    for (const id of this.#ids) this.#host.routes.delete(id);
    this.#settleHalfOpen();
    this.#settling?.stop();
    if (this.#peerSocket !== undefined) this.#host.peerSockets.leave(this.#peerSocket);
    this.#peerSocket = undefined;
    this.#host.forget(this);
    this.#dial = undefined;
    this.connection = undefined;
    this.#maintenance?.stop();
  }

  /** Both handshakes are done. */
  #becomePeer(): void {
    this.#settleHalfOpen();
    if (this.#settling !== undefined || this.connection === undefined) return;
    this.#settling = new Alarm(this.#host.alarms, () => {
      this.#isSettled = true;
      this.#takePeerSocket();
    });
    this.#settling.setIn(SETTLED_MS);
  }

  /** Lets datagrams arrive at a socket of the peer's own, and leaves the one of an earlier address. */
  #takePeerSocket(): void {
    if (this.connection === undefined) return;
    const { socket, remote } = this.connection.arrival;
    const left = this.#peerSocket;
    if (left?.shared === socket && isSameAddress(left.remote, remote)) return;
    if (left !== undefined) this.#host.peerSockets.leave(left);
    this.#peerSocket = this.#host.peerSockets.join(socket, remote);
  }

  #settleHalfOpen(): void {
    if (this.#halfOpenSource === undefined) return;
    this.#host.leave(this.#halfOpenSource, this.#isEstablished);
    this.#halfOpenSource = undefined;
  }
}

/** Whether the dialer gave up, as it does when its other transport was faster. */
function hasLeft({ code, side }: MeshError): boolean {
  return side === 'remote' && code === 'ConnectFailed';
}
