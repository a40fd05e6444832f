/**
 * One attempt of this side to move its connection to another local address. It opens a socket there, waits for spare
 * connection IDs on both sides, probes the path, and waits for the answer. Meanwhile the old path carries the connection.
 * RFC 9000, section 9.2.
 */
import { MeshError, toMeshError } from '../../../errors.js';
import type { SocketAddress } from '../../connection.js';
import { isSameAddress } from '../../socket-address.js';
import { readNativeFailure } from '../binding/native.js';
import type { UdpSocket } from '../io/udp-socket.js';
import { type Path, pathBetween } from './path.js';

const PROBE_INTERVAL_MS = 300;

export interface MigrationHost {
  openSocket(): Promise<UdpSocket>;
  closeSocket(socket: UdpSocket): void;
  /** Whether the peer has issued a spare connection ID for another path. */
  canProbe(): boolean;
  /**
   * Sends a PATH_CHALLENGE over the path.
   * @returns whether the path is validated already
   * @throws what the binding throws
   */
  probe(path: Path): boolean;
  /** Switches to the validated path. @throws what the binding throws */
  take(path: Path): void;
  failed(error: MeshError): void;
}

type MigrationState =
  | { readonly kind: 'opening' }
  | { readonly kind: 'waitingForId'; readonly path: Path }
  | { readonly kind: 'probing'; readonly path: Path }
  | { readonly kind: 'settled' };

/**
 * One attempt of this side to move its connection to another local address: a new socket, spare connection IDs, a
 * probe, and its answer. The old path carries the connection meanwhile. RFC 9000, section 9.2.
 */
export class Migration {
  /** Fulfils once the new path is in use. @throws MeshError MigrationFailed, or what `fail` was given */
  readonly done: Promise<void>;
  readonly #host: MigrationHost;
  readonly #remote: SocketAddress;
  readonly #timer: NodeJS.Timeout;
  #probeTimer: NodeJS.Timeout | undefined;
  readonly #resolve: () => void;
  readonly #reject: (error: MeshError) => void;
  #state: MigrationState = { kind: 'opening' };

  constructor(host: MigrationHost, remote: SocketAddress, timeoutMs: number) {
    this.#host = host;
    this.#remote = remote;
    let settle: { resolve: () => void; reject: (error: MeshError) => void } | undefined;
    this.done = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    this.#resolve = () => settle?.resolve();
    this.#reject = (error) => settle?.reject(error);
    this.#timer = setTimeout(() => this.#timedOut(timeoutMs), timeoutMs);
    void this.#open();
  }

  /** Probes the path if there is a connection ID for it now. Call it when something has arrived. */
  advance(): void {
    const state = this.#state;
    if (state.kind !== 'waitingForId' || !this.#host.canProbe()) return;
    this.#state = { kind: 'probing', path: state.path };
    this.#probe();
  }

  /** The binding has validated a path. */
  pathValidated(local: SocketAddress, remote: SocketAddress): void {
    const state = this.#state;
    if (state.kind !== 'probing') return;
    const { path } = state;
    if (!isSameAddress(path.to, local) || !isSameAddress(path.from, remote)) return;
    this.#attempt(() => {
      this.#host.take(path);
      this.#stopTimers();
      this.#state = { kind: 'settled' };
      this.#resolve();
    });
  }

  /** Gives the attempt up; does nothing once it has settled. */
  fail(error: MeshError): void {
    const state = this.#state;
    if (state.kind === 'settled') return;
    this.#stopTimers();
    this.#state = { kind: 'settled' };
    if (state.kind !== 'opening') this.#host.closeSocket(state.path.socket);
    this.#host.failed(error);
    this.#reject(error);
  }

  async #open(): Promise<void> {
    try {
      const socket = await this.#host.openSocket();
      if (this.#state.kind !== 'opening') {
        this.#host.closeSocket(socket);
        return;
      }
      const path = pathBetween(socket, this.#remote);
      this.#state = { kind: 'waitingForId', path };
      this.advance();
    } catch (thrown) {
      const { message, cause = thrown } = toMeshError(thrown);
      this.fail(new MeshError('MigrationFailed', message, { cause }));
    }
  }

  /** Repeats the challenge itself: the binding knows no round trip of the new path yet, and is slow to repeat a lost one. */
  #probe(): void {
    const state = this.#state;
    if (state.kind !== 'probing') return;
    const { path } = state;
    this.#attempt(() => {
      this.#probeTimer = setTimeout(() => this.#probe(), PROBE_INTERVAL_MS);
      if (this.#host.probe(path)) this.pathValidated(path.to, path.from);
    });
  }

  #stopTimers(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#probeTimer);
  }

  #attempt(step: () => void): void {
    try {
      step();
    } catch (cause) {
      const { name } = readNativeFailure(cause);
      this.fail(new MeshError('MigrationFailed', `QUIC refused the path: ${name}`, { cause }));
    }
  }

  #timedOut(timeoutMs: number): void {
    const missing =
      this.#state.kind === 'probing' ? 'answer over the new path' : 'spare connection ID';
    this.fail(new MeshError('MigrationFailed', `no ${missing} within ${timeoutMs} ms`));
  }
}
