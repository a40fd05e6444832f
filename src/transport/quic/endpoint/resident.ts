/**
 * A connection's place at its endpoint: the IDs it is found by, what it takes of the endpoint, and who hears how far it is.
 *
 * The endpoint's tables hold places, and a place lets go of its connection when that is over: a hash table that grew or
 * shrank is dead, but V8 keeps what was in it through every minor collection. Connections that come and go would all be
 * copied to the old generation, and everybody would wait for that.
 */
import type { MeshError } from '../../../errors.js';
import type { PeerIdentity, Refusal, SocketAddress } from '../../connection.js';
import type { FrameMemory } from '../../frame-memory.js';
import type { ConnectionHost, QuicConnection } from '../connection/connection.js';
import type { BumpBuffer } from '../io/bump-buffer.js';
import type { EndpointCounters } from '../io/counters.js';
import type { SendMemory } from '../io/send-memory.js';
import type { UdpSocket } from '../io/udp-socket.js';

/** The endpoint, as its residents know it. */
export interface Home extends SharedMemory {
  readonly counters: EndpointCounters;
  readonly acceptor: EndpointAcceptor | undefined;
  /** Every connection under each of its IDs. */
  readonly routes: Map<string, Resident>;
  sendDatagram(datagram: Buffer, to: SocketAddress, socket: UdpSocket): void;
  openSocket(address: SocketAddress): Promise<UdpSocket>;
  closeSocket(socket: UdpSocket): void;
  isListening(socket: UdpSocket): boolean;
  resetTokenOf(connectionId: Uint8Array): bigint;
  /** Flushes the connection at the end of this turn. */
  flushSoon(resident: Resident): void;
  /** @throws MeshError with a Certificate* code */
  verifyDialer(chain: readonly Uint8Array[]): PeerIdentity;
  /** The pacer's clock ran ahead with this host. */
  outpaced(host: string): void;
  /** Another dialer of this source may begin its handshake. */
  leave(source: string): void;
  forget(resident: Resident): void;
}

interface SharedMemory {
  readonly sendMemory: SendMemory;
  readonly readBuffer: BumpBuffer;
  readonly frameMemory: FrameMemory;
}

/** What a listener wants to hear; see ListenOptions. */
export interface EndpointAcceptor {
  readonly onConnection: (connection: QuicConnection) => void;
  readonly onRefused?: ((refusal: Refusal) => void) | undefined;
}

export interface EndpointDialOptions {
  readonly connectTimeoutMs: number;
  /** The same of the acceptor, which must be the node that is dialed. */
  readonly verifyPeer: (chain: readonly Uint8Array[]) => PeerIdentity;
  /** An earlier connection's, to be resumed. */
  readonly session?: Uint8Array | undefined;
  /** The acceptor gave a session to keep. */
  readonly onSession?: ((session: Uint8Array) => void) | undefined;
}

/** A dial, and whom to tell what becomes of it. */
export interface Dial {
  readonly options: EndpointDialOptions;
  readonly resolve: () => void;
  readonly reject: (error: MeshError) => void;
}

export interface ResidentOptions {
  /** Where its first datagram arrived, or leaves. */
  readonly socket: UdpSocket;
  readonly ids: readonly string[];
  /** Whose place it takes, of those for dialers whose handshake is under way. */
  readonly halfOpenSource?: string | undefined;
  readonly dial?: Dial | undefined;
  /** Where secrets are logged. */
  readonly collectKeys?: (() => void) | undefined;
}

export class Resident implements ConnectionHost {
  /** None before it is made, and once it is over. */
  connection: QuicConnection | undefined;
  /** It is flushed at the end of this turn. */
  isFlushDue = false;
  readonly socket: UdpSocket;
  readonly #home: Home;
  readonly #ids: Set<string>;
  readonly #collectKeys: (() => void) | undefined;
  #dial: Dial | undefined;
  #halfOpenSource: string | undefined;
  /** Its early data made a connection of it before TLS is done. */
  #handedOut = false;

  constructor(home: Home, { socket, ids, halfOpenSource, dial, collectKeys }: ResidentOptions) {
    this.#home = home;
    this.socket = socket;
    this.#ids = new Set(ids);
    this.#halfOpenSource = halfOpenSource;
    this.#dial = dial;
    this.#collectKeys = collectKeys;
    for (const id of ids) home.routes.set(id, this);
  }

  get counters(): EndpointCounters {
    return this.#home.counters;
  }

  get sendMemory(): SendMemory {
    return this.#home.sendMemory;
  }

  get readBuffer(): BumpBuffer {
    return this.#home.readBuffer;
  }

  get frameMemory(): FrameMemory {
    return this.#home.frameMemory;
  }

  sendDatagram(datagram: Buffer, to: SocketAddress, socket: UdpSocket): void {
    this.#home.sendDatagram(datagram, to, socket);
  }

  openSocket(address: SocketAddress): Promise<UdpSocket> {
    return this.#home.openSocket(address);
  }

  closeSocket(socket: UdpSocket): void {
    this.#home.closeSocket(socket);
  }

  isListening(socket: UdpSocket): boolean {
    return this.#home.isListening(socket);
  }

  addRoute(id: string): void {
    this.#ids.add(id);
    this.#home.routes.set(id, this);
  }

  removeRoute(id: string): void {
    this.#ids.delete(id);
    this.#home.routes.delete(id);
  }

  resetTokenOf(id: Uint8Array): bigint {
    return this.#home.resetTokenOf(id);
  }

  flushSoon(): void {
    if (this.isFlushDue) return;
    this.isFlushDue = true;
    this.#home.flushSoon(this);
  }

  outpaced(): void {
    if (this.connection !== undefined) this.#home.outpaced(this.connection.remoteAddress.host);
  }

  verifyPeer(chain: readonly Uint8Array[]): PeerIdentity {
    return this.#dial === undefined
      ? this.#home.verifyDialer(chain)
      : this.#dial.options.verifyPeer(chain);
  }

  early(): void {
    const { acceptor, counters } = this.#home;
    if (this.connection === undefined || acceptor === undefined) return;
    // Half-open still: that the dialer is there now is known once TLS is done.
    this.#handedOut = true;
    counters.earlyAccepted += 1;
    acceptor.onConnection(this.connection);
  }

  sessionGiven(session: Uint8Array): void {
    this.#dial?.options.onSession?.(session);
  }

  established(): void {
    const { connection } = this;
    if (connection === undefined) return;
    const { acceptor, counters } = this.#home;
    this.#collectKeys?.();
    if (connection.isResumed) counters.resumed += 1;
    if (connection.role === 'dialer') {
      this.#dial?.resolve();
      return;
    }
    this.#settleHalfOpen();
    counters.accepted += 1;
    if (!this.#handedOut) acceptor?.onConnection(connection);
  }

  ended(error: MeshError): void {
    if (this.connection === undefined) return;
    const { acceptor, counters } = this.#home;
    const { remoteAddress } = this.connection;
    this.#collectKeys?.();
    this.#dial?.reject(error);
    // Until it is released it keeps its place: the binding's connection lives on, for a while where this side closed.
    if (this.#halfOpenSource === undefined) return;
    counters.refused += 1;
    // Whoever has the connection has heard; a dialer that gave up was not turned away.
    if (this.#handedOut || hasLeft(error)) return;
    acceptor?.onRefused?.({ error, remoteAddress, transport: 'quic' });
  }

  released(): void {
    for (const id of this.#ids) this.#home.routes.delete(id);
    this.#settleHalfOpen();
    this.#home.forget(this);
    this.#dial = undefined;
    this.connection = undefined;
  }

  #settleHalfOpen(): void {
    if (this.#halfOpenSource === undefined) return;
    this.#home.leave(this.#halfOpenSource);
    this.#halfOpenSource = undefined;
  }
}

/** Whether a dialer closed early, as one does whose other transport was faster. */
function hasLeft({ code, side }: MeshError): boolean {
  return side === 'remote' && code === 'ConnectFailed';
}
