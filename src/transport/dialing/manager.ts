/**
 * Which transport reaches a peer: the preferred one, and the next beside it where that takes long. Listens on all of
 * them under one port number.
 */
import { isOwnFault, isUnreached, MeshError, toMeshError } from '../../errors.js';
import type {
  Connection,
  DialOptions,
  DialTarget,
  Listener,
  ListenOptions,
  SocketAddress,
  Transport,
  TransportName,
} from '../connection.js';
import { isSameAddress } from '../socket-address.js';
import { tellingOf } from '../unproved.js';
import { DialTurns } from './dial-turns.js';
import { canonicalTarget, type Discovery, locate, type PeerTarget } from './discovery.js';
import { dnsDiscovery } from './dns-discovery.js';
import { type RacingDial, raceDials } from './race.js';
import { ReachMemory, type ReachMemoryOptions } from './reach-memory.js';

/** How to dial a peer. */
export interface ManagedDialOptions extends DialOptions {
  /** The round trip to the peer, where it is known, in milliseconds. */
  readonly rttMs?: number | undefined;
  /** Dials only by transports that come before this one in the order of preference. */
  readonly betterThan?: TransportName | undefined;
  /** Dials only by these, in this order. Default: by all of them, in the manager's order. */
  readonly order?: readonly TransportName[] | undefined;
  /** Addresses to leave out, because another node answered there. */
  readonly except?: readonly SocketAddress[] | undefined;
  /** Called before the dial fulfils, with the address that the connection leads to, as discovery gave it. */
  readonly onReached?: ((address: SocketAddress) => void) | undefined;
}

/** One transport to one address. */
interface Way {
  readonly transport: Transport;
  readonly address: SocketAddress;
}

function pathOf({ transport: { name }, address: { host, port } }: Way): string {
  return `${name} ${host} ${port}`;
}

/** Attempts to find a port that is free for every transport, where the system picks it. */
const PORT_ATTEMPTS = 16;

/** What a {@link TransportManager} is made of. */
export interface TransportManagerOptions {
  /** In order of preference; at least one. */
  readonly transports: readonly Transport[];
  /** Called for a transport that cannot run here, such as QUIC without a build for the platform. */
  readonly onUnavailable?: ((transport: Transport, error: MeshError) => void) | undefined;
  /** When a transport takes longer than this to connect, the next one starts beside it. Default 200. */
  readonly fallbackDelayMs?: number | undefined;
  /** How long to put a transport last that did not reach a peer which another one reached. */
  readonly reachMemory?: ReachMemoryOptions | undefined;
  /** Resolves names. Default: DNS. */
  readonly discovery?: Discovery | undefined;
}

const DEFAULT_FALLBACK_DELAY_MS = 200;
const DEFAULT_DISCOVERY_TIMEOUT_MS = 5000;

/**
 * Dials peers by whichever transport reaches them: the preferred one, and the next beside it where that takes long. It
 * listens on all transports under one port number.
 *
 * The transports are its own: `close` closes them.
 */
export class TransportManager {
  readonly #transports: readonly Transport[];
  readonly #onUnavailable: (transport: Transport, error: MeshError) => void;
  /** Transports that have turned out to be unavailable. */
  readonly #unavailable = new Set<Transport>();
  readonly #fallbackDelayMs: number;
  readonly #memory: ReachMemory;
  readonly #discovery: Discovery;
  readonly #turns = new DialTurns();

  constructor(options: TransportManagerOptions) {
    if (options.transports.length === 0) {
      throw new MeshError('InvalidOptions', 'transports must name at least one transport');
    }
    this.#transports = options.transports;
    this.#onUnavailable = options.onUnavailable ?? (() => {});
    this.#fallbackDelayMs = options.fallbackDelayMs ?? DEFAULT_FALLBACK_DELAY_MS;
    this.#memory = new ReachMemory(options.reachMemory);
    this.#discovery = options.discovery ?? dnsDiscovery();
  }

  /** Counters of each transport, by name. */
  get counters(): Readonly<Record<string, Readonly<Record<string, number>>>> {
    return Object.fromEntries(
      this.#transports.map(({ name, counters }) => [name, { ...counters }]),
    );
  }

  /**
   * Dials by the preferred transport. The next one starts beside it when that has failed, or has taken `fallbackDelayMs` or
   * twice the known round trip. The peer's other addresses follow likewise, and the first dial that connects wins. A
   * transport that did not reach an address which another one reached goes last for a while. Where a peer has more addresses
   * than one dial tries, the next dial after a failure tries others.
   * @throws MeshError the peer's refusal, or the most telling of the failures to reach it; ConnectFailed when its name does
   *   not resolve, or leads only to addresses that are left out; InvalidArgument as canonicalTarget; Cancelled
   */
  async dial(given: PeerTarget, options: ManagedDialOptions = {}): Promise<Connection> {
    const target = canonicalTarget(given);
    const { signal, betterThan, connectTimeoutMs = DEFAULT_DISCOVERY_TIMEOUT_MS } = options;
    const turn = this.#turns.of(target);
    try {
      const where = { timeoutMs: connectTimeoutMs, turn, signal };
      return await this.#dialAt(await locate(target, this.#discovery, where), target, options);
    } catch (thrown) {
      // One that only a better transport did not reach is there, by another.
      if (betterThan === undefined && signal?.aborted !== true) this.#turns.failed(target);
      throw thrown;
    }
  }

  async #dialAt(
    located: readonly SocketAddress[],
    target: PeerTarget,
    { signal, rttMs = 0, betterThan, order, except = [], onReached, ...rest }: ManagedDialOptions,
  ): Promise<Connection> {
    const addresses = located.filter(
      (address) => !except.some((met) => isSameAddress(met, address)),
    );
    if (addresses.length === 0) {
      throw new MeshError('ConnectFailed', 'somebody else answers at every address of the peer');
    }
    const ordered = this.#inOrder(order);
    const ways = this.#waysTo(addresses, preferredTo(betterThan, ordered));
    if (ways.length === 0) {
      const text =
        betterThan === undefined
          ? `none of ${order?.join(', ')} is here`
          : `no transport is preferred to ${betterThan}`;
      throw new MeshError('InvalidArgument', text);
    }
    const dials = ways.map(
      ({ transport, address }): RacingDial =>
        (losing) =>
          this.#dialBy(
            transport,
            { nodeId: target.nodeId, ...address },
            { ...rest, signal: losing },
          ),
    );
    try {
      const { connection, winner, begun } = await raceDials(dials, {
        staggerMs: Math.max(this.#fallbackDelayMs, 2 * rttMs),
        isFinal,
        endsOnFinal: addresses.length === 1,
        tellingOf,
        signal,
      });
      const way = ways[winner] as Way;
      this.#remember(ways.slice(0, begun), way, ordered);
      onReached?.(way.address);
      return connection;
    } catch (thrown) {
      // The peer is up: it is there by another transport.
      if (betterThan !== undefined) this.#doubt(ways);
      throw thrown;
    }
  }

  async #dialBy(
    transport: Transport,
    target: DialTarget,
    options: DialOptions,
  ): Promise<Connection> {
    try {
      return await transport.dial(target, options);
    } catch (thrown) {
      const error = toMeshError(thrown);
      if (error.code === 'TransportUnavailable') this.#tellUnavailable(transport, error);
      throw error;
    }
  }

  /** Reports an unavailable transport once: that will not change. */
  #tellUnavailable(transport: Transport, error: MeshError): void {
    if (this.#unavailable.has(transport)) return;
    this.#unavailable.add(transport);
    this.#onUnavailable(transport, error);
  }

  /** Whether a transport that is preferred to the connection's may reach the peer by now. For connections dialed here. */
  mayImprove({ transport, remoteAddress }: Connection): boolean {
    const nowMs = performance.now();
    return preferredTo(transport, this.#transports).some((preferred) => {
      const way = { transport: preferred, address: remoteAddress };
      return this.#memory.retryAtMs(pathOf(way), nowMs) <= nowMs;
    });
  }

  /** Whether any transport is preferred to this one. */
  isSecondChoice(transport: TransportName): boolean {
    return preferredTo(transport, this.#transports).length > 0;
  }

  #inOrder(order: readonly TransportName[] | undefined): readonly Transport[] {
    if (order === undefined) return this.#transports;
    return order.flatMap((name) => this.#transports.filter((transport) => transport.name === name));
  }

  #doubt(ways: readonly Way[]): void {
    const nowMs = performance.now();
    for (const way of ways) this.#memory.failed(pathOf(way), nowMs, way.transport.name);
  }

  /** Every transport at every address: by address, then by preference. Those that failed lately come last. */
  #waysTo(addresses: readonly SocketAddress[], transports: readonly Transport[]): Way[] {
    const nowMs = performance.now();
    const ways = addresses.flatMap((address) =>
      transports.map((transport): Way => ({ transport, address })),
    );
    const isDoubtful = (way: Way): boolean =>
      this.#memory.retryAtMs(pathOf(way), nowMs, way.transport.name) > nowMs;
    return [...ways.filter((way) => !isDoubtful(way)), ...ways.filter(isDoubtful)];
  }

  /** Remembers the preferred transports that lost to the winner. Where none connects the peer is down: nothing is learned. */
  #remember(begun: readonly Way[], winner: Way, ordered: readonly Transport[]): void {
    this.#memory.reached(pathOf(winner), winner.transport.name);
    const preferred = preferredTo(winner.transport.name, ordered);
    this.#doubt(
      begun.filter(
        ({ address, transport }) => address === winner.address && preferred.includes(transport),
      ),
    );
  }

  /**
   * Listens on every transport that works here, on one port number.
   * @throws MeshError ConnectFailed when the address is taken, TransportUnavailable when no transport works
   */
  async listen(options: ListenOptions): Promise<Listener> {
    const attempts = options.port === 0 ? PORT_ATTEMPTS : 1;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#listenOnOnePort(options);
      } catch (thrown) {
        const error = toMeshError(thrown);
        if (error.code !== 'ConnectFailed' || attempt === attempts) throw error;
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#transports.map((transport) => transport.close()));
  }

  async #listenOnOnePort(options: ListenOptions): Promise<Listener> {
    const listeners: Listener[] = [];
    let { port } = options;
    try {
      for (const transport of this.#transports) {
        const listener = await this.#listenIfAvailable(transport, { ...options, port });
        if (listener === undefined) continue;
        listeners.push(listener);
        port = listener.address.port;
      }
    } catch (thrown) {
      await Promise.all(listeners.map((listener) => listener.close()));
      throw thrown;
    }
    const [first] = listeners;
    if (first === undefined) {
      throw new MeshError('TransportUnavailable', 'none of the transports works on this platform');
    }
    return {
      address: first.address,
      close: async () => {
        await Promise.all(listeners.map((listener) => listener.close()));
      },
    };
  }

  async #listenIfAvailable(
    transport: Transport,
    options: ListenOptions,
  ): Promise<Listener | undefined> {
    try {
      return await transport.listen(options);
    } catch (thrown) {
      const error = toMeshError(thrown);
      if (error.code !== 'TransportUnavailable') throw error;
      this.#tellUnavailable(transport, error);
      return undefined;
    }
  }
}

/** Those that come before the one of that name; all of them where it is not among them. */
function preferredTo(
  name: TransportName | undefined,
  ordered: readonly Transport[],
): readonly Transport[] {
  const index = ordered.findIndex((transport) => transport.name === name);
  return index < 0 ? ordered : ordered.slice(0, index);
}

/**
 * Whether another transport would end the same: the peer has answered, or this side is at fault. What this side finds wrong
 * with who answered says nothing of the peer: somebody else may have answered there.
 */
function isFinal({ code, side }: MeshError): boolean {
  if (isUnreached(code)) return false;
  return side === 'remote' || isOwnFault(code) || code === 'Cancelled';
}
