/**
 * Moves a dialed connection to another address of this side, when asked to or when the present address is gone. The binding
 * validates the new path and switches to it. RFC 9000, section 9.2.
 */
import { abortable } from '../../../base/abortable.js';
import { LazyMap } from '../../../base/lazy-collections.js';
import { MeshError, toMeshError } from '../../../errors.js';
import type { MigrateOptions, Role, SocketAddress } from '../../connection.js';
import { canonicalAddress, checkLocalAddress } from '../../dial-address.js';
import { isIPv6 } from '../../socket-address.js';
import { MAX_PATHS } from '../binding/config.js';
import type { NativeConnection } from '../binding/native.js';
import type { SendFailures } from '../io/send-failures.js';
import type { UdpSocket } from '../io/udp-socket.js';
import type { KnownPaths } from './known-paths.js';
import { Migration } from './migration.js';
import type { Path } from './path.js';
import type { PathsHost } from './paths-host.js';

const MIGRATION_TIMEOUT_MS = 5000;
/** Until a socket is closed that the connection has left: datagrams on their way to it may still arrive. */
const OLD_SOCKET_MS = 1000;
/** Between attempts to leave an address that is gone; doubled with each attempt, up to the maximum. */
const MIN_RETRY_MS = 250;
const MAX_RETRY_MS = 8000;

export interface PathMoverOptions {
  readonly native: NativeConnection;
  readonly role: Role;
  readonly host: PathsHost;
  readonly paths: KnownPaths;
  readonly mayMove: boolean;
  /** A migration has begun: its progress is to be looked at with every flush. */
  readonly began: () => void;
  /** The connection uses this path from now on. */
  readonly moved: (path: Path) => void;
}

/** The migration of one connection that is under way, and what remains of earlier ones. */
export class PathMover {
  readonly #options: PathMoverOptions;
  readonly #closings = new LazyMap<UdpSocket, NodeJS.Timeout>();
  /** The sequence number of the peer's connection ID in use. */
  #currentSequence = 0;
  #migration: Migration | undefined;
  #retryMs = MIN_RETRY_MS;
  #retryAtMs = 0;

  constructor(options: PathMoverOptions) {
    this.#options = options;
  }

  get isMoving(): boolean {
    return this.#migration !== undefined;
  }

  /** See Connection.migrate. */
  async migrate({ host, port = 0, signal }: MigrateOptions): Promise<void> {
    const { host: oldHost } = this.#options.paths.current.socket.address;
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

  /** Leaves the present path if it is among those where sending failed. */
  check(failures: SendFailures): void {
    const path = this.#options.paths.current;
    const failure = failures.of(path.socket, path.remote);
    const host = isIPv6(path.to.host) ? '::' : '0.0.0.0';
    // From a wildcard address the system picks the source of each datagram: another socket would fare no better.
    if (failure === undefined || (failure === 'route' && path.to.host === host)) return;
    const nowMs = performance.now();
    if (nowMs < this.#retryAtMs || this.#refusal() !== undefined) return;
    this.#retryAtMs = nowMs + this.#retryMs;
    this.#retryMs = Math.min(2 * this.#retryMs, MAX_RETRY_MS);
    this.#begin({ host, port: 0 }).done.catch(() => {
      // The event has told of it. The next datagram that cannot be sent leads to another attempt.
    });
  }

  /** The binding has validated a path. */
  pathValidated(local: SocketAddress, remote: SocketAddress): void {
    this.#migration?.pathValidated(local, remote);
  }

  /** Goes on with the migration, if there are connection IDs for it now. */
  advance(): void {
    this.#migration?.advance();
  }

  /** The connection is over: lets go of the sockets that it has left. */
  release(): void {
    this.#migration?.fail(new MeshError('MigrationFailed', 'connection is over'));
    for (const [socket, timer] of this.#closings) {
      clearTimeout(timer);
      this.#options.host.closeSocket(socket);
    }
    this.#closings.clear();
  }

  /** Why this side cannot move the connection now. */
  #refusal(): string | undefined {
    const { mayMove, role, host, paths, native } = this.#options;
    if (!mayMove) return 'migration is turned off';
    if (role !== 'dialer') return 'only the side that dialed can move a connection';
    if (!host.isOpen()) return 'connection is not open';
    if (this.#migration !== undefined) return 'the connection is moving already';
    if (paths.count >= MAX_PATHS) return `the connection has had ${MAX_PATHS} paths`;
    if (native.stats().peerDisableActiveMigration) return 'the peer allows no migration';
    return undefined;
  }

  #begin(address: SocketAddress): Migration {
    const { native, host, paths, began } = this.#options;
    const { remote } = paths.current;
    let sequence = 0;
    const migration = new Migration(
      {
        openSocket: () => host.openSocket(address),
        closeSocket: (socket) => host.closeSocket(socket),
        canProbe: () => native.availableDcids() > 0,
        probe: (path) => {
          sequence = Number(native.probePath(path.to, path.from));
          paths.add(path);
          host.flushSoon();
          return native.isPathValidated(path.to, path.from);
        },
        take: (path) => this.#moveTo(path, sequence),
        failed: (error) => {
          this.#migration = undefined;
          host.emit({ kind: 'pathFailed', local: address, remote, error });
        },
      },
      remote,
      MIGRATION_TIMEOUT_MS,
    );
    this.#migration = migration;
    began();
    return migration;
  }

  #moveTo(path: Path, sequence: number): void {
    const { native, host, paths, moved } = this.#options;
    const old = paths.current;
    native.migrate(path.to, path.from);
    paths.current = path;
    this.#migration = undefined;
    this.#retireOld(sequence);
    this.#closeLater(old.socket);
    this.#retryMs = MIN_RETRY_MS;
    moved(path);
    // The peer follows the first packet on the new path that is more than a probe.
    native.sendAckEliciting();
    host.flushSoon();
    host.counters.migrations += 1;
    const [from, to] = [old.socket.address, path.socket.address];
    host.emit({ kind: 'migrated', side: 'local', from, to });
  }

  /** Retires the peer's connection ID on the path left behind. The peer then issues another. */
  #retireOld(sequence: number): void {
    try {
      this.#options.native.retireDestinationCid(this.#currentSequence);
    } catch {
      // The peer has retired it already.
    }
    this.#currentSequence = sequence;
  }

  #closeLater(socket: UdpSocket): void {
    const close = () => {
      this.#closings.delete(socket);
      this.#options.host.closeSocket(socket);
    };
    this.#closings.set(socket, setTimeout(close, OLD_SOCKET_MS));
  }
}
