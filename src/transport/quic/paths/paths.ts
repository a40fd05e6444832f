/**
 * The paths of one connection: where its peer is, over which of our sockets it is reached, and how either changes. RFC
 * 9000, section 9; SPEC.md, "QUIC".
 *
 * As an acceptor this side follows a peer whose address changes, and does not tell the binding: see `peer-address.ts`. As
 * a dialer it moves by itself, asked to or because its address is gone, and the binding validates the paths and switches
 * between them. Steady traffic costs comparisons only: the binding is asked about paths and connection IDs for a while
 * after something out of the ordinary was seen, and with every keep-alive.
 *
 * The sockets of a listener are one to a connection, whichever of them its datagrams arrive at: see `listening-sockets.ts`.
 * An acceptor answers from where it was found last. As a dialer, this side lets the system pick.
 *
 * quiche 0.18.0 never lets go of a path as long as there are spare connection IDs, for it gives them to idle paths. So
 * `MAX_PATHS` is all that a dialer's connection has in its life; before that, the connection is renewed.
 */
import { isIPv6 } from 'node:net';
import { abortable } from '../../../base/abortable.js';
import { MeshError, toMeshError } from '../../../errors.js';
import type { MigrateOptions, PathEvent, Role, SocketAddress } from '../../connection.js';
import { canonicalAddress, checkLocalAddress } from '../../dial-address.js';
import { isSameAddress } from '../../socket-address.js';
import { MAX_PATHS } from '../binding/config.js';
import type { NativeConnection } from '../binding/native.js';
import type { EndpointCounters } from '../io/counters.js';
import type { SendFailures } from '../io/send-failures.js';
import type { UdpSocket } from '../io/udp-socket.js';
import { makeProofNonce } from '../streams/control-stream.js';
import { ConnectionIds, type IdRoutes } from './connection-ids.js';
import { Migration } from './migration.js';
import { isLoopback } from './pacer-clocks.js';
import { type Path, pathBetween } from './path.js';
import { PeerAddress } from './peer-address.js';

/** With so many, the connection had better be renewed. */
const MANY_PATHS = 24;
/** How long the binding is asked with every flush what became of paths and connection IDs. */
const WATCH_MS = 3000;
const MIGRATION_TIMEOUT_MS = 5000;
/** Until a socket that was moved away from is closed: what is still under way to it may arrive. */
const OLD_SOCKET_MS = 1000;
/** Between attempts to get away from an address that is gone; doubled with each, up to the maximum. */
const MIN_RETRY_MS = 250;
const MAX_RETRY_MS = 8000;

/** What the paths of a connection ask of its endpoint and of the connection itself. */
export interface PathsHost {
  readonly socket: UdpSocket;
  readonly counters: EndpointCounters;
  readonly routes: IdRoutes;
  openSocket(address: SocketAddress): Promise<UdpSocket>;
  closeSocket(socket: UdpSocket): void;
  isListening(socket: UdpSocket): boolean;
  isOpen(): boolean;
  flushSoon(): void;
  /** Asks the peer to send this back: `proofArrived`. */
  askForProof(nonce: Buffer): void;
  emit(event: PathEvent): void;
}

export interface PathsOptions {
  readonly native: NativeConnection;
  readonly role: Role;
  readonly host: PathsHost;
  readonly remoteAddress: SocketAddress;
  /** Whether the connection may change its path at all. */
  readonly migration: boolean;
}

/**
 * The paths of one connection: where its peer is, which socket reaches it, and how either changes. As an acceptor this
 * side follows its peer; as a dialer it moves by itself. RFC 9000, section 9.
 */
export class ConnectionPaths {
  /** Whether `maintain` is to be called with the next flush. */
  isMaintenanceDue = false;
  readonly #native: NativeConnection;
  readonly #role: Role;
  readonly #host: PathsHost;
  readonly #mayMove: boolean;
  readonly #ids: ConnectionIds;
  readonly #known: Path[];
  /** Of an acceptor: where its peer is. The one path that the binding knows stays as it began. */
  readonly #peer: PeerAddress | undefined;
  readonly #closings = new Map<UdpSocket, NodeJS.Timeout>();
  #current: Path;
  /** Where datagrams arrive as a rule, and, of a dialer, where they come from. */
  #arrivalSocket: UdpSocket;
  #heardFrom: SocketAddress;
  #currentSequence = 0;
  /** Whether more than one socket may be named by the binding. */
  #hasMoved = false;
  #watchedUntilMs = 0;
  #migration: Migration | undefined;
  #retryMs = MIN_RETRY_MS;
  #retryAtMs = 0;

  constructor({ native, role, host, remoteAddress, migration }: PathsOptions) {
    this.#native = native;
    this.#role = role;
    this.#host = host;
    this.#mayMove = migration;
    this.#ids = new ConnectionIds(native, host.routes);
    this.#current = pathBetween(host.socket, remoteAddress);
    this.#arrivalSocket = host.socket;
    this.#heardFrom = remoteAddress;
    this.#known = [this.#current];
    if (role === 'acceptor') this.#peer = new PeerAddress(remoteAddress);
  }

  /** The path in use, as the binding knows it. */
  get current(): Path {
    return this.#current;
  }

  get localAddress(): SocketAddress {
    return this.#current.socket.address;
  }

  /** Where the peer has been proved to be. */
  get remoteAddress(): SocketAddress {
    return this.#peer?.proven ?? this.#current.remote;
  }

  /** Whether the connection has changed its path so often that it had better be replaced. */
  get needsReplacement(): boolean {
    return Math.max(this.#known.length - 1, this.#ids.spent) >= MANY_PATHS;
  }

  /**
   * The path that a datagram came over, as far as its addresses and its connection ID tell.
   * @returns `undefined` when it is to be dropped
   */
  route(from: SocketAddress, socket: UdpSocket, id: string, nowMs: number): Path | undefined {
    const remote = this.#peer?.current ?? this.#heardFrom;
    const isUsual =
      isSameAddress(from, remote) && socket === this.#arrivalSocket && id === this.#ids.last;
    return isUsual ? this.#current : this.#routeUnusual(from, socket, id, nowMs);
  }

  /** Whether datagrams from this address, or at this socket, are to be followed once they prove to be the peer's. */
  isElsewhere(from: SocketAddress, socket: UdpSocket): boolean {
    if (this.#peer === undefined) return false;
    return socket !== this.#current.socket || !isSameAddress(from, this.#peer.current);
  }

  /**
   * The peer sent a datagram from elsewhere, or to another address of ours, which the binding had not seen before: this
   * side answers there, and from there.
   */
  follow(from: SocketAddress, socket: UdpSocket, bytes: number, nowMs: number): void {
    if (socket !== this.#current.socket) {
      this.#current = { ...this.#current, socket };
      this.#arrivalSocket = socket;
    }
    if (this.#peer === undefined || isSameAddress(from, this.#peer.current)) return;
    const nonce = this.#peer.follow(from, bytes, nowMs, makeProofNonce);
    if (nonce !== undefined) this.#host.askForProof(nonce);
  }

  /** A datagram came from where the peer is taken to be. */
  received(bytes: number): void {
    this.#peer?.received(bytes);
  }

  /** As much of the memory as may be sent now. */
  sendable(memory: Buffer): Buffer {
    const credit = this.#peer?.credit ?? memory.length;
    return credit >= memory.length ? memory : memory.subarray(0, Math.max(0, credit));
  }

  /** Something was sent. @returns where it goes */
  sent(bytes: number): SocketAddress {
    if (this.#peer === undefined) return this.#current.remote;
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
    const { socket, to } = this.#current;
    if (!this.#hasMoved || isSameAddress(to, local)) return socket;
    return this.#known.find((path) => isSameAddress(path.to, local))?.socket ?? socket;
  }

  /** The handshake is done: the peer may have spare connection IDs from now on. */
  established(): void {
    if (this.#mayMove) this.#ids.issueSpares();
  }

  /** Learns from the binding what became of paths and connection IDs, and acts on it. */
  maintain(nowMs = performance.now()): void {
    const isBusy = this.#migration !== undefined || this.#peer?.isOnTrial === true;
    if (!isBusy && nowMs > this.#watchedUntilMs) this.isMaintenanceDue = false;
    this.#ids.forgetRetired();
    this.#drainEvents();
    this.#leaveUnproven(nowMs);
    if (!this.#mayMove || !this.#host.isOpen()) return;
    this.#ids.issueSpares();
    this.#migration?.advance();
  }

  /** See Connection.migrate. */
  async migrate({ host, port = 0, signal }: MigrateOptions): Promise<void> {
    const { host: oldHost } = this.#current.socket.address;
    const given = { host: host ?? oldHost, port };
    checkLocalAddress(given);
    const refusal = this.#refusal();
    if (refusal !== undefined) throw new MeshError('MigrationFailed', refusal);
    const address = canonicalAddress(given);
    if (isIPv6(address.host) !== isIPv6(oldHost)) {
      throw new MeshError('InvalidArgument', `${address.host} is of another address family`);
    }
    const migration = this.#begin(address);
    try {
      await abortable(migration.done, signal);
    } catch (thrown) {
      const error = toMeshError(thrown);
      migration.fail(error);
      throw error;
    }
  }

  /** Gets away from the present path if it is among those that failed. */
  check(failures: SendFailures): void {
    const path = this.#current;
    const failure = failures.of(path.socket, path.remote);
    const host = isIPv6(path.to.host) ? '::' : '0.0.0.0';
    // There the system picks the source address of each datagram already: another socket would fare no better.
    if (failure === undefined || (failure === 'route' && path.to.host === host)) return;
    const nowMs = performance.now();
    if (nowMs < this.#retryAtMs || this.#refusal() !== undefined) return;
    this.#retryAtMs = nowMs + this.#retryMs;
    this.#retryMs = Math.min(2 * this.#retryMs, MAX_RETRY_MS);
    this.#begin({ host, port: 0 }).done.catch(() => {
      // The event has told; the next datagram that cannot be sent asks again.
    });
  }

  /** The connection is over: lets go of its sockets. */
  release(): void {
    this.#migration?.fail(new MeshError('MigrationFailed', 'connection is over'));
    for (const [socket, timer] of this.#closings) {
      clearTimeout(timer);
      this.#host.closeSocket(socket);
    }
    this.#closings.clear();
    this.#host.closeSocket(this.#current.socket);
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
    const current = this.#current;
    if (this.#isAt(socket, current) && isFrom(from, current.remote)) {
      this.#arrivalSocket = socket;
      this.#heardFrom = from;
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
    const current = this.#current;
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
    this.#failed(this.#current.socket.address, remote);
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
          this.#migration?.pathValidated(event.local, event.peer);
          break;
        case 'FailedValidation':
          this.#host.counters.pathsFailed += 1;
          this.#failed(event.local, event.peer);
          break;
        case 'Closed':
          this.#forget(event.local, event.peer);
          break;
        case 'New':
        case 'PeerMigrated':
        case 'ReusedSourceConnectionId':
          // Of peers that the binding sees at a new address, which it never does.
          break;
      }
    }
  }

  #forget(local: SocketAddress, remote: SocketAddress): void {
    const index = this.#known.findIndex(
      ({ from, to }) => isSameAddress(from, remote) && isSameAddress(to, local),
    );
    if (index >= 0 && this.#known[index] !== this.#current) this.#known.splice(index, 1);
  }

  #failed(local: SocketAddress, remote: SocketAddress): void {
    // One that this side probes is tried again until its deadline.
    if (this.#migration !== undefined) return;
    const error = new MeshError('MigrationFailed', 'the peer did not answer over the path');
    this.#host.emit({ kind: 'pathFailed', local, remote, error });
  }

  // ---- Our own address ----------------------------------------------------------------------------------

  /** Why this side cannot move the connection now. */
  #refusal(): string | undefined {
    if (!this.#mayMove) return 'migration is turned off';
    if (this.#role !== 'dialer') return 'only the side that dialed can move a connection';
    if (!this.#host.isOpen()) return 'connection is not open';
    if (this.#migration !== undefined) return 'the connection is moving already';
    if (this.#known.length >= MAX_PATHS) return `the connection has had ${MAX_PATHS} paths`;
    if (this.#native.stats().peerDisableActiveMigration) return 'the peer allows no migration';
    return undefined;
  }

  #begin(address: SocketAddress): Migration {
    const host = this.#host;
    let sequence = 0;
    const migration = new Migration(
      {
        openSocket: () => host.openSocket(address),
        closeSocket: (socket) => host.closeSocket(socket),
        canProbe: () => this.#native.availableDcids() > 0,
        probe: (path) => {
          sequence = Number(this.#native.probePath(path.to, path.from));
          this.#forget(path.to, path.from);
          this.#known.push(path);
          this.#hasMoved = true;
          host.flushSoon();
          return this.#native.isPathValidated(path.to, path.from);
        },
        take: (path) => this.#moveTo(path, sequence),
        failed: (error) => {
          this.#migration = undefined;
          host.emit({ kind: 'pathFailed', local: address, remote: this.#current.remote, error });
        },
      },
      this.#current.remote,
      MIGRATION_TIMEOUT_MS,
    );
    this.#migration = migration;
    this.isMaintenanceDue = true;
    return migration;
  }

  #moveTo(path: Path, sequence: number): void {
    const old = this.#current;
    this.#native.migrate(path.to, path.from);
    this.#current = path;
    this.#arrivalSocket = path.socket;
    this.#migration = undefined;
    this.#retireOld(sequence);
    this.#closeLater(old.socket);
    this.#retryMs = MIN_RETRY_MS;
    this.#watch(performance.now());
    // Tells the peer, who goes by the first packet that is more than a probe.
    this.#native.sendAckEliciting();
    this.#host.flushSoon();
    this.#host.counters.migrations += 1;
    const [from, to] = [old.socket.address, path.socket.address];
    this.#host.emit({ kind: 'migrated', side: 'local', from, to });
  }

  /** Retires the peer's connection ID on the path left behind, which the peer then replaces by a fresh one. */
  #retireOld(sequence: number): void {
    try {
      this.#native.retireDestinationCid(this.#currentSequence);
    } catch {
      // The peer has taken it back already.
    }
    this.#currentSequence = sequence;
  }

  #closeLater(socket: UdpSocket): void {
    const close = () => {
      this.#closings.delete(socket);
      this.#host.closeSocket(socket);
    };
    this.#closings.set(socket, setTimeout(close, OLD_SOCKET_MS));
  }
}

/**
 * Whether a datagram from there may be the peer's that was dialed at `remote`. Who listens on all addresses is dialed at
 * any of 127.0.0.0/8, and answers from 127.0.0.1: all of them are this machine.
 */
function isFrom(from: SocketAddress, remote: SocketAddress): boolean {
  if (from.port !== remote.port) return false;
  return from.host === remote.host || (isLoopback(from.host) && isLoopback(remote.host));
}
