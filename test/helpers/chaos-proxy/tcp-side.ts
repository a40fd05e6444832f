/** The proxy's TCP: for each connection of a client one to the server. */
import { once } from 'node:events';
import { createServer, type Server, Socket } from 'node:net';
import { Random } from '../../../scripts/fuzz/random.js';
import type { SocketAddress } from '../../../src/transport/connection.js';
import type { ProxyCounters } from './counters.js';
import type { DelayLine } from './delay-line.js';
import { DIRECTIONS, type Direction, type FaultTable } from './faults.js';
import { StreamPath } from './stream-path.js';

export interface TcpSideOptions {
  readonly seed: number;
  readonly target: SocketAddress;
  readonly line: DelayLine;
  readonly counters: ProxyCounters['tcp'];
  readonly maxClients: number;
  readonly maxQueuedBytes: number;
  readonly faults: () => FaultTable['tcp'];
}

export class TcpSide {
  readonly #server: Server;
  readonly #options: TcpSideOptions;
  readonly #links = new Set<Link>();
  #numbered = 0;

  /** @throws the system's error when the address is taken */
  static async bind({ host, port }: SocketAddress, options: TcpSideOptions): Promise<TcpSide> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    server.listen(port, host);
    await once(server, 'listening');
    return new TcpSide(server, options);
  }

  private constructor(server: Server, options: TcpSideOptions) {
    this.#server = server;
    this.#options = options;
    server.on('connection', (client) => this.#accept(client));
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Ends one direction of every connection; the other one goes on. */
  halfClose(direction: Direction): void {
    for (const link of this.#links) link.paths[direction].end();
  }

  /** Resets every connection, both ways, at once. */
  reset(): void {
    for (const link of this.#links) link.reset();
  }

  settingsChanged(): void {
    for (const link of this.#links) link.settingsChanged();
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await Promise.all([closed, ...[...this.#links].map((link) => link.close())]);
  }

  #accept(client: Socket): void {
    const { counters, maxClients } = this.#options;
    if (this.#links.size >= maxClients) {
      counters.refused += 1;
      client.resetAndDestroy();
      return;
    }
    counters.accepted += 1;
    const link = new Link(client, this.#numbered, this.#options);
    this.#numbered += 1;
    this.#links.add(link);
    void link.closed.then(() => this.#links.delete(link));
  }
}

/**
 * A client's connection and the one to the server. The kernel has established the client's before the proxy hears
 * of it, without delay; what the client sends is kept for the round trip that it would have waited, and the server
 * hears of it after one way. A server that refuses is a reset to the client.
 */
class Link {
  readonly paths: Readonly<Record<Direction, StreamPath>>;
  readonly closed: Promise<void>;
  readonly #options: TcpSideOptions;
  readonly #client: Socket;
  readonly #upstream = new Socket({ allowHalfOpen: true });
  #openAtMs: number | undefined;

  constructor(client: Socket, number: number, options: TcpSideOptions) {
    this.#options = options;
    this.#client = client;
    const upstream = this.#upstream.setNoDelay(true);
    const path = (direction: Direction, source: Socket, sink: Socket) =>
      new StreamPath({
        source,
        sink,
        random: new Random(options.seed, number, DIRECTIONS.indexOf(direction)),
        line: options.line,
        counters: options.counters[direction],
        maxQueuedBytes: options.maxQueuedBytes,
        faults: () => options.faults()[direction],
        openAtMs: () => this.#openAtMs,
      });
    this.paths = {
      toServer: path('toServer', client, upstream),
      toClient: path('toClient', upstream, client),
    };
    this.closed = Promise.all([gone(client), gone(upstream)]).then(() => {});
    this.settingsChanged();
  }

  settingsChanged(): void {
    const { toServer, toClient } = this.#options.faults();
    if (this.#openAtMs === undefined) {
      if (toServer.blackHole || toClient.blackHole) return;
      const nowMs = performance.now();
      this.#openAtMs = nowMs + toServer.delayMs + toClient.delayMs;
      if (toServer.delayMs === 0) this.#connect();
      else this.#options.line.schedule(nowMs + toServer.delayMs, () => this.#connect());
    }
    this.paths.toServer.settingsChanged();
    this.paths.toClient.settingsChanged();
  }

  reset(): void {
    this.#client.resetAndDestroy();
    // What is not connected yet cannot be reset.
    if (this.#upstream.readyState === 'open') this.#upstream.resetAndDestroy();
    else this.#upstream.destroy();
  }

  async close(): Promise<void> {
    this.#client.destroy();
    this.#upstream.destroy();
    await this.closed;
  }

  #connect(): void {
    if (this.#upstream.destroyed) return;
    const { host, port } = this.#options.target;
    this.#upstream.connect({ host, port, autoSelectFamily: false });
  }
}

function gone(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}
