/** Passes TCP connections on to a node, and notes when each was made. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import type { SocketAddress } from '../../../src/index.js';
import { relaySockets } from '../../helpers/relay-sockets.js';
import { monotonicMs } from './clock.js';

/**
 * Beside a node that is busy with certificates it tells when its dialers came, and not when the node found time for
 * them. After {@link close} another can take its place on its port.
 */
export class NotingRelay {
  readonly #server = createServer((socket) => this.#relay(socket));
  readonly #target: SocketAddress;
  readonly #sockets = new Set<Socket>();
  readonly #arrivals: number[] = [];

  /** Closed when the test ends. @throws the system's error when the port is taken */
  static async start(
    t: ExecutionContext,
    port: number,
    target: SocketAddress,
  ): Promise<NotingRelay> {
    const relay = new NotingRelay(target);
    t.teardown(() => relay.close());
    relay.#server.listen(port, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  private constructor(target: SocketAddress) {
    this.#target = target;
  }

  /** On the monotonic clock, in order. */
  get arrivals(): readonly number[] {
    return this.#arrivals;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  #relay(dialer: Socket): void {
    this.#arrivals.push(monotonicMs());
    const { host, port } = this.#target;
    const node = connect(port, host);
    relaySockets(dialer, node, this.#sockets);
  }
}
