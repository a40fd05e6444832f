/**
 * A transport within one process, for nodes of tests: no socket, no TLS; addresses mean something to a hub alone, and
 * whose a connection is its two ends simply say.
 */
import type { Duplex } from 'node:stream';
import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import { cancelledError } from '../../src/base/abortable.js';
import { MeshError } from '../../src/errors.js';
import type {
  Connection,
  DialOptions,
  DialTarget,
  Listener,
  ListenOptions,
  PeerIdentity,
  Role,
  SocketAddress,
  StreamLimits,
  Transport,
} from '../../src/transport/connection.js';
import { MuxConnection } from '../../src/transport/mux/connection.js';
import { checkNodeId } from '../../src/transport/trust/identity.js';
import { memoryWire } from './memory-wire.js';

/** Where dialers find who listens. */
export class MemoryHub {
  readonly #listeners = new Map<string, MemoryListener>();
  readonly #silent = new Set<string>();
  #ports = 0;

  /** A port that nobody was given before. */
  nextPort(): number {
    this.#ports += 1;
    return this.#ports;
  }

  /** @throws MeshError ConnectFailed when the address is taken */
  open(address: SocketAddress, listener: MemoryListener): void {
    const key = keyOf(address);
    if (this.#listeners.has(key)) throw new MeshError('ConnectFailed', `${key} is taken`);
    this.#listeners.set(key, listener);
  }

  leave(address: SocketAddress): void {
    this.#listeners.delete(keyOf(address));
  }

  find(address: SocketAddress): MemoryListener | undefined {
    return this.#listeners.get(keyOf(address));
  }

  /** From now on dials of that address get no answer at all. */
  silence(address: SocketAddress): void {
    this.#silent.add(keyOf(address));
  }

  isSilent(address: SocketAddress): boolean {
    return this.#silent.has(keyOf(address));
  }
}

/** Who listens at an address. */
interface MemoryListener {
  readonly identity: PeerIdentity;
  accept(duplex: Duplex, from: SocketAddress, identity: PeerIdentity): void;
}

export interface MemoryTransportOptions {
  readonly hub: MemoryHub;
  /** The names that this end's certificate would carry. */
  readonly nodeIds: readonly string[];
  readonly limits?: Partial<StreamLimits> | undefined;
  /** Default 5,000. */
  readonly connectTimeoutMs?: number | undefined;
}

export class MemoryTransport implements Transport {
  readonly name = 'memory';
  readonly counters = { dialed: 0, dialsFailed: 0, accepted: 0 };
  readonly #options: MemoryTransportOptions;
  readonly #identity: PeerIdentity;
  readonly #shutdown = new AbortController();
  readonly #connections = new Set<MuxConnection>();
  /** Both ends of what this side has dialed or accepted. */
  readonly #wires = new Set<Duplex>();
  #listener: Listener | undefined;

  constructor(options: MemoryTransportOptions) {
    this.#options = options;
    const { nodeIds } = options;
    this.#identity = {
      nodeIds,
      fingerprint256: '00',
      keyFingerprint256: '00',
      validToMs: Number.MAX_SAFE_INTEGER,
      chain: [],
    };
  }

  async dial(target: DialTarget, options: DialOptions = {}): Promise<Connection> {
    this.#assertOpen();
    try {
      const listener = await this.#reach(target, options);
      if (target.nodeId !== undefined) checkNodeId(listener.identity, target.nodeId);
      const { host, port } = target;
      const local = { host, port: this.#options.hub.nextPort() };
      const [near, far] = memoryWire();
      this.#wires.add(far);
      far.once('close', () => this.#wires.delete(far));
      const connection = this.#connect(near, 'dialer', local, { host, port }, listener.identity);
      listener.accept(far, local, this.#identity);
      this.counters.dialed += 1;
      return connection;
    } catch (thrown) {
      this.counters.dialsFailed += 1;
      this.#assertOpen();
      throw thrown;
    }
  }

  async listen({ host, port, onConnection }: ListenOptions): Promise<Listener> {
    this.#assertOpen();
    if (this.#listener !== undefined) {
      throw new MeshError('InvalidArgument', 'a transport has at most one listener');
    }
    const { hub } = this.#options;
    const address = { host, port: port === 0 ? hub.nextPort() : port };
    hub.open(address, {
      identity: this.#identity,
      accept: (duplex, from, identity) => {
        this.counters.accepted += 1;
        onConnection(this.#connect(duplex, 'acceptor', address, from, identity));
      },
    });
    const listener: Listener = {
      address,
      close: async () => {
        if (this.#listener !== listener) return;
        hub.leave(address);
        this.#listener = undefined;
      },
    };
    this.#listener = listener;
    return listener;
  }

  /** Ends every connection of this side abruptly, for both ends: neither says a word. */
  cut(): void {
    for (const wire of this.#wires) wire.destroy();
  }

  /** Whether {@link close} was called. */
  get isClosed(): boolean {
    return this.#shutdown.signal.aborted;
  }

  async close(): Promise<void> {
    this.#shutdown.abort();
    await this.#listener?.close();
    await Promise.all([...this.#connections].map((connection) => connection.close()));
  }

  /** A turn later, as over any socket. */
  async #reach(target: DialTarget, options: DialOptions): Promise<MemoryListener> {
    const { hub } = this.#options;
    const { signal, connectTimeoutMs = this.#options.connectTimeoutMs ?? 5000 } = options;
    const shutdown = this.#shutdown.signal;
    const either = signal === undefined ? shutdown : AbortSignal.any([signal, shutdown]);
    try {
      await setImmediate(undefined, { signal: either });
      if (hub.isSilent(target)) await delay(connectTimeoutMs, undefined, { signal: either });
    } catch {
      throw cancelledError(either);
    }
    const where = keyOf(target);
    if (hub.isSilent(target)) {
      throw new MeshError('ConnectTimeout', `${where} did not answer in ${connectTimeoutMs} ms`);
    }
    const listener = hub.find(target);
    if (listener === undefined) throw new MeshError('ConnectFailed', `nobody listens at ${where}`);
    return listener;
  }

  #connect(
    duplex: Duplex,
    role: Role,
    localAddress: SocketAddress,
    remoteAddress: SocketAddress,
    peerIdentity: PeerIdentity,
  ): MuxConnection {
    const connection = new MuxConnection(duplex, {
      transport: this.name,
      role,
      peerIdentity,
      localAddress,
      remoteAddress,
      limits: this.#options.limits,
    });
    this.#connections.add(connection);
    this.#wires.add(duplex);
    void connection.closed.then(() => {
      this.#connections.delete(connection);
      this.#wires.delete(duplex);
    });
    return connection;
  }

  #assertOpen(): void {
    if (this.isClosed) throw new MeshError('NodeClosed', 'transport is closed');
  }
}

function keyOf({ host, port }: SocketAddress): string {
  return `${host}:${port}`;
}
