/**
 * The paths of one connection: where its peer is, over which of our sockets it is reached, and how either changes. RFC
 * 9000, section 9; SPEC.md, "QUIC".
 *
 * The binding validates paths and switches between them. This file tells it about new ones, bounds them, and follows:
 * a peer whose address changes is followed as an acceptor, and as a dialer this side moves by itself, asked to or
 * because its address is gone. Steady traffic costs comparisons only: the binding is asked about paths and connection
 * IDs for a while after something out of the ordinary was seen, and with every keep-alive.
 *
 * quiche 0.18.0 never lets go of a path as long as there are spare connection IDs, for it gives them to idle paths, and
 * two paths that share an ID are a danger (CVE-2025-7054). So a path is taken only where a spare ID waits for it, and
 * `MAX_PATHS` is all that a connection has in its life; before that, the connection is renewed.
 */
import { isIPv6 } from 'node:net';
import { MeshError, toMeshError } from '../../errors.js';
import { abortable } from '../abortable.js';
import type { MigrateOptions, PathEvent, Role, SocketAddress } from '../connection.js';
import { ConnectionIds, type IdRoutes } from './connection-ids.js';
import type { EndpointCounters } from './counters.js';
import { isSame, Migration, type Path } from './migration.js';
import type { NativeConnection } from './native.js';
import { MIN_INITIAL_BYTES } from './packet.js';
import { RateLimit } from './rate-limit.js';
import type { SendFailures } from './send-failures.js';
import type { UdpSocket } from './udp-socket.js';

/** Paths of a connection, and connection IDs for them at either end. */
export const MAX_PATHS = 32;
/** With so many, the connection had better be renewed. */
const MANY_PATHS = 24;
/** New addresses of a peer: so many at once, and so many a second in the long run. */
const PATH_BURST = 4;
const PATHS_PER_SECOND = 2;
/** How long the binding is asked with every flush what became of paths and connection IDs. */
const ATTENTION_MS = 3000;
const MIGRATION_TIMEOUT_MS = 5000;
/** Until a socket that was moved away from is closed: what is still under way to it may arrive. */
const OLD_SOCKET_MS = 1000;
/** Between attempts to get away from an address that is gone; doubled with each, up to the maximum. */
const MIN_RETRY_MS = 250;
const MAX_RETRY_MS = 8000;
const NO_PATHS: readonly Path[] = [];

/** What the paths of a connection ask of its endpoint and of the connection itself. */
export interface PathsHost {
  readonly socket: UdpSocket;
  readonly counters: EndpointCounters;
  readonly routes: IdRoutes;
  openSocket(address: SocketAddress): Promise<UdpSocket>;
  closeSocket(socket: UdpSocket): void;
  isOpen(): boolean;
  flushSoon(): void;
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

export class ConnectionPaths {
  /** Whether `tend` is to be called with the next flush. */
  isAttentive = false;
  readonly #native: NativeConnection;
  readonly #role: Role;
  readonly #host: PathsHost;
  readonly #mayMove: boolean;
  readonly #ids: ConnectionIds;
  readonly #known: Path[];
  readonly #changes = new RateLimit(PATHS_PER_SECOND, PATH_BURST);
  readonly #closings = new Map<UdpSocket, NodeJS.Timeout>();
  #current: Path;
  /** What the last datagram came over. */
  #latest: Path;
  #currentSequence = 0;
  /** Whether more than one socket may be named by the binding. */
  #hasMoved = false;
  #attentiveUntilMs = 0;
  #paddedUntilMs = 0;
  /** New addresses of the peer that are not validated yet. */
  readonly #unsettled = new Set<Path>();
  #migration: Migration | undefined;
  #retryMs = MIN_RETRY_MS;
  #retryAtMs = 0;

  constructor({ native, role, host, remoteAddress, migration }: PathsOptions) {
    this.#native = native;
    this.#role = role;
    this.#host = host;
    this.#mayMove = migration;
    this.#ids = new ConnectionIds(native, host.routes);
    this.#current = { from: remoteAddress, to: host.socket.address, socket: host.socket };
    this.#latest = this.#current;
    this.#known = [this.#current];
  }

  /** The path in use: validated, and the one that this side sends over. */
  get current(): Path {
    return this.#current;
  }

  get localAddress(): SocketAddress {
    return this.#current.to;
  }

  get remoteAddress(): SocketAddress {
    return this.#current.from;
  }

  /** Whether the connection has changed its path so often that it had better be replaced. */
  get isWorn(): boolean {
    return Math.max(this.#known.length - 1, this.#ids.spent) >= MANY_PATHS;
  }

  /**
   * The path that a datagram came over, as far as its addresses and its connection ID tell.
   * @returns `undefined` when it is to be dropped
   */
  admit(from: SocketAddress, socket: UdpSocket, id: string, nowMs: number): Path | undefined {
    const current = this.#current;
    const isUsual =
      from.port === current.from.port &&
      from.host === current.from.host &&
      socket === current.socket &&
      id === this.#ids.last;
    if (isUsual && this.#latest === current) return current;
    const path = this.#admitUnusual(from, socket, id, nowMs);
    if (path !== undefined) this.#latest = path;
    return path;
  }

  /** The socket from which the binding wants a datagram sent. */
  socketOf(local: SocketAddress): UdpSocket {
    const { socket } = this.#current;
    if (!this.#hasMoved || isSame(socket.address, local)) return socket;
    return this.#known.find(({ to }) => isSame(to, local))?.socket ?? socket;
  }

  /**
   * Paths to be sent over once more when the binding says that there is nothing to send. quiche 0.18.0 looks only at a
   * path that wants to be probed, even when it may not send there for lack of credit (RFC 9000, section 8.1): a peer
   * that has moved on from that path meanwhile would never hear of us again.
   */
  overlooked(): readonly Path[] {
    if (this.#role === 'dialer' || this.#known.length === 1) return NO_PATHS;
    return this.#latest === this.#current ? [this.#current] : [this.#latest, this.#current];
  }

  /**
   * As much of the memory as a datagram may take. quiche 0.18.0 pads every packet on a path that is not validated yet to
   * its full size, acknowledgements too; no more than what validates a path is sent there.
   */
  room(memory: Buffer): Buffer {
    return this.#unsettled.size === 0 ? memory : memory.subarray(0, MIN_INITIAL_BYTES);
  }

  /** Whether the peer's datagrams may be padded because it sees this side at a new address. */
  mayBePadded(nowMs: number): boolean {
    return nowMs < this.#paddedUntilMs;
  }

  /** The handshake is done: the peer may have spare connection IDs from now on. */
  established(): void {
    if (this.#mayMove) this.#ids.issueSpares();
  }

  /** Learns from the binding what became of paths and connection IDs, and acts on it. */
  tend(nowMs = performance.now()): void {
    if (this.#migration === undefined && nowMs > this.#attentiveUntilMs) {
      this.isAttentive = false;
      this.#unsettled.clear();
    }
    this.#ids.forgetRetired();
    this.#drainEvents();
    if (!this.#mayMove || !this.#host.isOpen()) return;
    this.#ids.issueSpares();
    this.#migration?.advance();
  }

  /** See Connection.migrate. */
  async migrate({ host, port = 0, signal }: MigrateOptions): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw new MeshError('MigrationFailed', refusal);
    const old = this.#current;
    const address = { host: host ?? old.to.host, port };
    if (isIPv6(address.host) !== isIPv6(old.to.host)) {
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
    const failure = failures.of(path.socket, path.from);
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

  #admitUnusual(
    from: SocketAddress,
    socket: UdpSocket,
    id: string,
    nowMs: number,
  ): Path | undefined {
    if (id !== this.#ids.last) {
      const { spent } = this.#ids;
      if (!this.#ids.changedTo(id)) {
        this.#host.counters.droppedUnknownConnection += 1;
        return undefined;
      }
      // What a dialer sees of a new address that the network gave it: only so often, for spares are limited.
      if (this.#ids.spent > spent) this.#paddedUntilMs = nowMs + ATTENTION_MS;
      if (this.#host.isOpen()) this.#attend(nowMs);
    }
    const current = this.#current;
    if (socket === current.socket && isSame(from, current.from)) return current;
    this.#attend(nowMs);
    const known = this.#known.find((path) => path.socket === socket && isSame(path.from, from));
    if (known !== undefined) return known;
    if (this.#followsTo(nowMs)) return { from, to: socket.address, socket };
    this.#host.counters.pathChangesRefused += 1;
    return undefined;
  }

  /** Whether one more address of the peer may become a path. Only dialers move (RFC 9000, section 9). */
  #followsTo(nowMs: number): boolean {
    return (
      this.#mayMove &&
      this.#role === 'acceptor' &&
      this.#known.length < MAX_PATHS &&
      this.#changes.allows(nowMs) &&
      this.#native.availableDcids() > 0
    );
  }

  #attend(nowMs: number): void {
    this.isAttentive = true;
    this.#attentiveUntilMs = nowMs + ATTENTION_MS;
  }

  #drainEvents(): void {
    for (;;) {
      const event = this.#native.pathEventNext();
      if (event === null) return;
      switch (event.type) {
        case 'New':
          this.#changes.take(performance.now());
          this.#remember(event.peer, event.local);
          break;
        case 'Validated':
          this.#host.counters.pathsValidated += 1;
          this.#settled(event.local, event.peer);
          this.#migration?.pathValidated(event.local, event.peer);
          break;
        case 'FailedValidation':
          this.#host.counters.pathsFailed += 1;
          this.#settled(event.local, event.peer);
          this.#failed(event.local, event.peer);
          break;
        case 'Closed':
          this.#forget(event.local, event.peer);
          break;
        case 'PeerMigrated':
          // In the binding's words `old` and `new` are the two ends of the new path.
          this.#followed(event.old, event.new);
          break;
        case 'ReusedSourceConnectionId':
          // What the rebinding of a NAT looks like.
          break;
      }
    }
  }

  #remember(from: SocketAddress, to: SocketAddress): void {
    const { socket } = this.#host;
    if (!isSame(socket.address, to)) return;
    const path = { from, to: socket.address, socket };
    this.#known.push(path);
    this.#unsettled.add(path);
  }

  #settled(local: SocketAddress, remote: SocketAddress): void {
    const path = this.#find(local, remote);
    if (path !== undefined) this.#unsettled.delete(path);
  }

  #find(local: SocketAddress, remote: SocketAddress): Path | undefined {
    return this.#known.find(({ from, to }) => isSame(from, remote) && isSame(to, local));
  }

  #forget(local: SocketAddress, remote: SocketAddress): void {
    const index = this.#known.findIndex(
      ({ from, to }) => isSame(from, remote) && isSame(to, local),
    );
    if (index >= 0 && this.#known[index] !== this.#current) this.#known.splice(index, 1);
  }

  /** The peer talks over another path, which is validated. */
  #followed(local: SocketAddress, remote: SocketAddress): void {
    const path = this.#find(local, remote);
    if (path === undefined || path === this.#current) return;
    const { from } = this.#current;
    this.#current = path;
    this.#host.counters.peerMigrations += 1;
    this.#host.emit({ kind: 'migrated', side: 'remote', from, to: remote });
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
          host.emit({ kind: 'pathFailed', local: address, remote: this.#current.from, error });
        },
      },
      this.#current.from,
      MIGRATION_TIMEOUT_MS,
    );
    this.#migration = migration;
    this.isAttentive = true;
    return migration;
  }

  #moveTo(path: Path, sequence: number): void {
    const old = this.#current;
    this.#native.migrate(path.to, path.from);
    this.#current = path;
    this.#migration = undefined;
    this.#retireOld(sequence);
    this.#closeLater(old.socket);
    this.#retryMs = MIN_RETRY_MS;
    this.#attend(performance.now());
    // Tells the peer, who goes by the first packet that is more than a probe.
    this.#native.sendAckEliciting();
    this.#host.flushSoon();
    this.#host.counters.migrations += 1;
    this.#host.emit({ kind: 'migrated', side: 'local', from: old.to, to: path.to });
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
