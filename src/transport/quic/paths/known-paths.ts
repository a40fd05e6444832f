/** The paths that a native connection knows, and the one in use. */
import type { SocketAddress } from '../../connection.js';
import { isSameAddress } from '../../socket-address.js';
import type { UdpSocket } from '../io/udp-socket.js';
import type { Path } from './path.js';

/**
 * The paths of one connection. An acceptor's native connection has a single one all its life, whatever its peer does; see
 * `peer-address.ts`.
 */
export class KnownPaths {
  /** The path in use, as the binding knows it. */
  current: Path;
  readonly #paths: Path[];
  /** Whether the binding may name more than one socket. */
  #hasMoved = false;

  constructor(first: Path) {
    this.current = first;
    this.#paths = [first];
  }

  get count(): number {
    return this.#paths.length;
  }

  find(isWanted: (path: Path) => boolean): Path | undefined {
    return this.#paths.find(isWanted);
  }

  /** Adds a path that this side probes, in place of an earlier one between the same addresses. */
  add(path: Path): void {
    this.forget(path.to, path.from);
    this.#paths.push(path);
    this.#hasMoved = true;
  }

  /** Forgets a path that is not in use. */
  forget(local: SocketAddress, remote: SocketAddress): void {
    const index = this.#paths.findIndex(
      ({ from, to }) => isSameAddress(from, remote) && isSameAddress(to, local),
    );
    if (index >= 0 && this.#paths[index] !== this.current) this.#paths.splice(index, 1);
  }

  /** The socket from which the binding wants a datagram sent. */
  socketOf(local: SocketAddress): UdpSocket {
    const { socket, to } = this.current;
    if (!this.#hasMoved || isSameAddress(to, local)) return socket;
    return this.#paths.find((path) => isSameAddress(path.to, local))?.socket ?? socket;
  }
}
