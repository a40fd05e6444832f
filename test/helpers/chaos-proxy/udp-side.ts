/** The proxy's UDP: one socket for all clients, and for each client a socket of its own towards the server. */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { Random } from '../../../scripts/fuzz/random.js';
import type { SocketAddress } from '../../../src/transport/connection.js';
import type { ProxyCounters } from './counters.js';
import { DatagramPath, type DatagramVerdict } from './datagram-path.js';
import type { DelayLine } from './delay-line.js';
import { DIRECTIONS, type Direction, type FaultTable } from './faults.js';

export interface UdpSideOptions {
  readonly seed: number;
  readonly target: SocketAddress;
  readonly line: DelayLine;
  readonly counters: ProxyCounters['udp'];
  readonly maxClients: number;
  readonly maxQueuedBytes: number;
  readonly faults: () => FaultTable['udp'];
  readonly onDatagram: (
    direction: Direction,
    datagram: Buffer,
    client: SocketAddress,
  ) => DatagramVerdict;
}

/** Where a client's datagrams come from, as it has it and as the server sees it. */
export interface UdpClient {
  readonly client: SocketAddress;
  readonly source: SocketAddress;
}

/** Former sockets of a client that stay open; beyond that the oldest goes. */
const MAX_FORMER_SOCKETS = 16;
/** Datagrams of a client that wait for its first socket. */
const MAX_EARLY = 1024;
/** Asked of the system, which grants what it is set to. */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;

export class UdpSide {
  readonly #front: Socket;
  readonly #options: UdpSideOptions;
  readonly #flows = new Map<string, Flow>();
  #numbered = 0;
  #closed = false;

  static async bind(address: SocketAddress, options: UdpSideOptions): Promise<UdpSide> {
    return new UdpSide(await bindSocket(address), options);
  }

  private constructor(front: Socket, options: UdpSideOptions) {
    this.#front = front;
    this.#options = options;
    front.on('message', (datagram, { address, port }) => {
      this.#flowOf({ host: address, port })?.receive(datagram);
    });
  }

  get port(): number {
    return this.#front.address().port;
  }

  get clients(): readonly UdpClient[] {
    return [...this.#flows.values()].flatMap(({ client, source }) =>
      source === undefined ? [] : [{ client, source }],
    );
  }

  /** Gives every client a new source port. Replies reach the clients all along. */
  async rebind(keepOldPorts: boolean): Promise<void> {
    await Promise.all([...this.#flows.values()].map((flow) => flow.rebind(keepOldPorts)));
  }

  async close(): Promise<void> {
    this.#closed = true;
    const flows = [...this.#flows.values()];
    this.#flows.clear();
    await Promise.all([closeSocket(this.#front), ...flows.map((flow) => flow.close())]);
  }

  #flowOf(client: SocketAddress): Flow | undefined {
    const key = `${client.host} ${client.port}`;
    let flow = this.#flows.get(key);
    if (flow !== undefined || this.#closed) return flow;
    if (this.#flows.size >= this.#options.maxClients) {
      this.#options.counters.refused += 1;
      return undefined;
    }
    flow = new Flow(client, this.#numbered, this.#front, this.#options);
    this.#numbered += 1;
    this.#flows.set(key, flow);
    return flow;
  }
}

/** One client. Its chances depend on the seed, on how many clients came before it, and on the direction. */
class Flow {
  readonly client: SocketAddress;
  readonly #options: UdpSideOptions;
  readonly #paths: Readonly<Record<Direction, DatagramPath>>;
  readonly #former: Socket[] = [];
  #socket: Socket | undefined;
  /** The next socket, while it is being opened, and what waits for the first one. */
  #opening: Promise<void>;
  #early: Buffer[] = [];
  #closed = false;

  constructor(client: SocketAddress, number: number, front: Socket, options: UdpSideOptions) {
    this.client = client;
    this.#options = options;
    const path = (direction: Direction, deliver: (datagram: Buffer) => void) =>
      new DatagramPath({
        random: new Random(options.seed, number, DIRECTIONS.indexOf(direction)),
        line: options.line,
        counters: options.counters[direction],
        maxQueuedBytes: options.maxQueuedBytes,
        faults: () => options.faults()[direction],
        hook: (datagram) => options.onDatagram(direction, datagram, client),
        deliver: (datagram) => {
          if (!this.#closed) deliver(datagram);
        },
      });
    const { host, port } = options.target;
    this.#paths = {
      toServer: path('toServer', (datagram) => this.#socket?.send(datagram, port, host)),
      toClient: path('toClient', (datagram) => front.send(datagram, client.port, client.host)),
    };
    this.#opening = this.#open().then(() => {
      for (const datagram of this.#early) this.#paths.toServer.take(datagram);
      this.#early = [];
    });
  }

  get source(): SocketAddress | undefined {
    if (this.#socket === undefined || this.#closed) return undefined;
    const { address, port } = this.#socket.address();
    return { host: address, port };
  }

  receive(datagram: Buffer): void {
    if (this.#socket !== undefined) this.#paths.toServer.take(datagram);
    // Only until the first socket is open: a turn of the event loop or two.
    else if (this.#early.length < MAX_EARLY) this.#early.push(datagram);
    else this.#options.counters.toServer.overflowed += 1;
  }

  rebind(keepOldPorts: boolean): Promise<void> {
    this.#opening = this.#opening.then(async () => {
      const old = this.#socket;
      await this.#open();
      if (this.#closed || old === undefined) return;
      this.#options.counters.rebound += 1;
      if (!keepOldPorts) return closeSocket(old);
      this.#former.push(old);
      if (this.#former.length > MAX_FORMER_SOCKETS) void closeSocket(this.#former.shift());
    });
    return this.#opening;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#opening;
    await Promise.all([this.#socket, ...this.#former].map(closeSocket));
  }

  async #open(): Promise<void> {
    const { target } = this.#options;
    const host = isLoopback(target.host) ? target.host : anyHost(target.host);
    const socket = await bindSocket({ host, port: 0 });
    if (this.#closed) return closeSocket(socket);
    socket.on('message', (datagram, { address, port }) => {
      if (address === target.host && port === target.port) this.#paths.toClient.take(datagram);
    });
    this.#socket = socket;
  }
}

async function bindSocket({ host, port }: SocketAddress): Promise<Socket> {
  const socket = createSocket({
    type: isIPv6(host) ? 'udp6' : 'udp4',
    // Numeric addresses only: sends that wait for a lookup would change their order and their time.
    lookup: (name, _options, done) => done(null, name, isIPv6(name) ? 6 : 4),
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, host, resolve);
  });
  socket.removeAllListeners('error');
  // What cannot be sent is lost, as datagrams are.
  socket.on('error', () => {});
  try {
    socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
    socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
  } catch {
    // Larger than the system grants anybody: its default serves.
  }
  return socket;
}

function closeSocket(socket: Socket | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (socket === undefined) resolve();
    else socket.close(() => resolve());
  });
}

function isLoopback(host: string): boolean {
  return host === '::1' || host.startsWith('127.');
}

function anyHost(host: string): string {
  return isIPv6(host) ? '::' : '0.0.0.0';
}
