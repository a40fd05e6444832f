/**
 * The paths of one connection: where its peer is, and over which of this side's sockets it is reached. RFC 9000, section 9;
 * SPEC.md, "QUIC".
 *
 * An acceptor follows a peer whose address changes, and does not tell the binding: see `peer-address.ts`. It answers from
 * the socket where the peer's datagrams arrive; a listener may have several, see `listening-sockets.ts`. A dialer moves by
 * itself, see `path-mover.ts`, and lets the system pick its address.
 *
 * Steady traffic costs comparisons only. The binding is asked about paths and connection IDs now and then while there are calls, and
 * for a while after something unusual was seen.
 *
 * quiche 0.18.0 never drops a path while there are spare connection IDs, because it gives those to idle paths. So a dialer's
 * connection can have `MAX_PATHS` in its life; before that, it is replaced.
 */
import { MeshError } from '../../../errors.js';
import type { MigrateOptions, SocketAddress } from '../../connection.js';
import { isLoopback, isSameAddress } from '../../socket-address.js';
import type { NativeConnection } from '../binding/native.js';
import type { SendFailures } from '../io/send-failures.js';
import type { UdpSocket } from '../io/udp-socket.js';
import { makeProofNonce } from '../streams/control-stream.js';
import { ConnectionIds } from './connection-ids.js';
import { KnownPaths } from './known-paths.js';
import { type Path, pathBetween } from './path.js';
import { PathMover } from './path-mover.js';
import type { PathsHost, PathsOptions } from './paths-host.js';
import { PeerAddress } from './peer-address.js';

/** From so many paths on, the connection should be replaced. */
const MANY_PATHS = 24;
/** How long the binding is asked with every flush what became of paths and connection IDs. */
const WATCH_MS = 3000;

/**
 * The paths of one connection: where its peer is, which socket reaches it, and how either changes. As an acceptor this
 * side follows its peer; as a dialer it moves by itself. RFC 9000, section 9.
 */
export class ConnectionPaths {
  /** Whether `maintain` is to be called with the next flush. */
  isMaintenanceDue = false;
  readonly #native: NativeConnection;
  readonly #host: PathsHost;
  readonly #mayMove: boolean;
  readonly #ids: ConnectionIds;
  readonly #known: KnownPaths;
  readonly #mover: PathMover;
  /** Where an acceptor's peer is; `undefined` for a dialer. The one path that an acceptor's binding knows stays as it began. */
  readonly #peer: PeerAddress | undefined;
  /** The socket where datagrams usually arrive, and the address from which a dialer's usually come. */
  #arrivalSocket: UdpSocket;
  #heardFrom: SocketAddress;
  #watchedUntilMs = 0;

  constructor({ native, role, host, remoteAddress, migration }: PathsOptions) {
    this.#native = native;
    this.#host = host;
    this.#mayMove = migration;
    this.#ids = new ConnectionIds(native, host.routes);
    this.#known = new KnownPaths(pathBetween(host.socket, remoteAddress));
    this.#arrivalSocket = host.socket;
    this.#heardFrom = remoteAddress;
    this.#mover = new PathMover({
      native,
      role,
      host,
      paths: this.#known,
      mayMove: migration,
      began: () => {
        this.isMaintenanceDue = true;
      },
      moved: (path) => {
        this.#arrivalSocket = path.socket;
        this.#watch(performance.now());
      },
    });
    if (role === 'acceptor') this.#peer = new PeerAddress(remoteAddress);
  }

  /** The path in use, as the binding knows it. */
  get current(): Path {
    return this.#known.current;
  }

  get localAddress(): SocketAddress {
    return this.#known.current.socket.address;
  }

  /** Where the peer has been proved to be. */
  get remoteAddress(): SocketAddress {
    return this.#peer?.proven ?? this.#known.current.remote;
  }

  /** Where the peer's datagrams arrive, and the address that it has been proved to send them from. */
  get arrival(): Arrival {
    return { socket: this.#arrivalSocket, remote: this.#peer?.proven ?? this.#heardFrom };
  }

  /** Whether the connection has changed its path so often that a new one should replace it. */
  get needsReplacement(): boolean {
    return Math.max(this.#known.count - 1, this.#ids.spent) >= MANY_PATHS;
  }

  /**
   * Finds the path that a datagram came over, by its addresses and its connection ID.
   * @returns `undefined` when the datagram is to be dropped
   */
  route(from: SocketAddress, socket: UdpSocket, id: string, nowMs: number): Path | undefined {
    const remote = this.#peer?.current ?? this.#heardFrom;
    const isUsual =
      isSameAddress(from, remote) && socket === this.#arrivalSocket && id === this.#ids.last;
    return isUsual ? this.#known.current : this.#routeUnusual(from, socket, id, nowMs);
  }

  /** Whether the peer is followed to this address or socket, if a datagram from there turns out to be authentic and new. */
  isElsewhere(from: SocketAddress, socket: UdpSocket): boolean {
    if (this.#peer === undefined) return false;
    return socket !== this.#known.current.socket || !isSameAddress(from, this.#peer.current);
  }

  /** The peer sent a datagram from another address, or to another socket of ours: answers go there, and from there. */
  follow(from: SocketAddress, socket: UdpSocket, bytes: number, nowMs: number): void {
    if (socket !== this.#known.current.socket) {
      this.#known.current = { ...this.#known.current, socket };
      this.#arrivalSocket = socket;
      this.#host.arrivalChanged();
    }
    if (this.#peer === undefined || isSameAddress(from, this.#peer.current)) return;
    const nonce = this.#peer.follow(from, bytes, nowMs, makeProofNonce);
    if (nonce !== undefined) this.#host.askForProof(nonce);
  }

  /** A datagram came from the peer's current address, which earns it credit while it is not proved. */
  received(bytes: number): void {
    this.#peer?.received(bytes);
  }

  /** The part of the memory that may be sent to the peer's address now. */
  sendable(memory: Buffer): Buffer {
    const credit = this.#peer?.credit ?? memory.length;
    return credit >= memory.length ? memory : memory.subarray(0, Math.max(0, credit));
  }

  /** Counts a datagram that is sent. @returns the address that it goes to */
  sent(bytes: number): SocketAddress {
    if (this.#peer === undefined) return this.#known.current.remote;
    this.#peer.sent(bytes);
    return this.#peer.current;
  }

  /** The peer sent a nonce back. */
  proofArrived(nonce: Uint8Array): void {
    const move = this.#peer?.prove(nonce);
    if (move === undefined) return;
    this.#host.counters.pathsValidated += 1;
    this.#host.counters.peerMigrations += 1;
    this.#host.emit({ kind: 'migrated', side: 'remote', ...move });
  }

  /** The socket from which the binding wants a datagram sent. */
  socketOf(local: SocketAddress): UdpSocket {
    return this.#known.socketOf(local);
  }

  /** The handshake is done: the peer may have spare connection IDs from now on. */
  established(): void {
    if (this.#mayMove) this.#ids.issueSpares();
  }

  /** Learns from the binding what became of paths and connection IDs, and acts on it. */
  maintain(nowMs = performance.now()): void {
    const isBusy = this.#mover.isMoving || this.#peer?.isOnTrial === true;
    if (!isBusy && nowMs > this.#watchedUntilMs) this.isMaintenanceDue = false;
    this.#ids.forgetRetired();
    this.#drainEvents();
    this.#leaveUnproven(nowMs);
    if (!this.#mayMove || !this.#host.isOpen()) return;
    this.#ids.issueSpares();
    this.#mover.advance();
  }

  /** See Connection.migrate. */
  migrate(options: MigrateOptions): Promise<void> {
    return this.#mover.migrate(options);
  }

  /** Some datagrams could not be sent: leaves the present path if it is among those that failed. */
  check(failures: SendFailures): void {
    this.#mover.check(failures);
  }

  /** The connection is over: lets go of its sockets. */
  release(): void {
    this.#mover.release();
    this.#host.closeSocket(this.#known.current.socket);
  }

  // ---- The peer's address -------------------------------------------------------------------------------

  #routeUnusual(
    from: SocketAddress,
    socket: UdpSocket,
    id: string,
    nowMs: number,
  ): Path | undefined {
    if (id !== this.#ids.last) {
      if (!this.#ids.changedTo(id)) {
        this.#host.counters.droppedUnknownConnection += 1;
        return undefined;
      }
      if (this.#host.isOpen()) this.#watch(nowMs);
    }
    const path =
      this.#peer === undefined
        ? this.#routeToDialer(from, socket, nowMs)
        : this.#routeToAcceptor(this.#peer, from, socket, nowMs);
    if (path === undefined) this.#host.counters.pathChangesRefused += 1;
    return path;
  }

  #routeToDialer(from: SocketAddress, socket: UdpSocket, nowMs: number): Path | undefined {
    const current = this.#known.current;
    if (this.#isAt(socket, current) && isFrom(from, current.remote)) {
      this.#arrivalSocket = socket;
      this.#heardFrom = from;
      this.#host.arrivalChanged();
      return current;
    }
    this.#watch(nowMs);
    return this.#known.find((path) => this.#isAt(socket, path) && isFrom(from, path.remote));
  }

  #routeToAcceptor(
    peer: PeerAddress,
    from: SocketAddress,
    socket: UdpSocket,
    nowMs: number,
  ): Path | undefined {
    const current = this.#known.current;
    if (!this.#isAt(socket, current)) return undefined;
    if (isSameAddress(from, peer.current)) return current;
    this.#watch(nowMs);
    const mayFollow = this.#mayMove && this.#host.isOpen() && peer.mayFollowTo(from, nowMs);
    return mayFollow ? current : undefined;
  }

  /** Whether a datagram that arrived at this socket may have come over the path. */
  #isAt(socket: UdpSocket, path: Path): boolean {
    if (socket === path.socket) return true;
    return this.#host.isListening(socket) && this.#host.isListening(path.socket);
  }

  /** Goes back to the proved address of the peer when the new one was not proved in time. */
  #leaveUnproven(nowMs: number): void {
    const remote = this.#peer?.expire(nowMs);
    if (remote === undefined) return;
    this.#host.counters.pathsFailed += 1;
    this.#failed(this.#known.current.socket.address, remote);
  }

  #watch(nowMs: number): void {
    this.isMaintenanceDue = true;
    this.#watchedUntilMs = nowMs + WATCH_MS;
  }

  #drainEvents(): void {
    for (;;) {
      const event = this.#native.pathEventNext();
      if (event === null) return;
      switch (event.type) {
        case 'Validated':
          this.#host.counters.pathsValidated += 1;
          this.#mover.pathValidated(event.local, event.peer);
          break;
        case 'FailedValidation':
          this.#host.counters.pathsFailed += 1;
          this.#failed(event.local, event.peer);
          break;
        case 'Closed':
          this.#known.forget(event.local, event.peer);
          break;
        case 'New':
        case 'PeerMigrated':
        case 'ReusedSourceConnectionId':
          // The binding never sees a peer at a new address, so it reports none of these.
          break;
      }
    }
  }

  #failed(local: SocketAddress, remote: SocketAddress): void {
    // While this side migrates, a path that failed is probed again until the deadline.
    if (this.#mover.isMoving) return;
    const error = new MeshError('MigrationFailed', 'the peer did not answer over the path');
    this.#host.emit({ kind: 'pathFailed', local, remote, error });
  }
}

/** Where datagrams arrive, and from where. */
export interface Arrival {
  readonly socket: UdpSocket;
  readonly remote: SocketAddress;
}

/**
 * Whether a datagram may come from the peer that was dialed at `remote`. A peer on this machine that listens on all addresses
 * may be dialed at any of 127.0.0.0/8, and answers from 127.0.0.1.
 */
function isFrom(from: SocketAddress, remote: SocketAddress): boolean {
  if (from.port !== remote.port) return false;
  return from.host === remote.host || (isLoopback(from.host) && isLoopback(remote.host));
}
