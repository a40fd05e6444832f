/**
 * Which transport reaches a peer: tries them in order of preference, and listens on all of them under one port
 * number.
 */
import { MeshError, type MeshErrorCode, toMeshError } from '../errors.js';
import type {
  Connection,
  DialOptions,
  DialTarget,
  Listener,
  ListenOptions,
  Transport,
} from './connection.js';

/** Failures to reach a peer at all. Anything else is the peer's answer, and another transport would get the same. */
const UNREACHED: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  'ConnectTimeout',
  'ConnectFailed',
  'ConnectionLost',
  'TransportUnavailable',
]);

/** Attempts at finding a port that is free for every transport, where the system picks. */
const PORT_ATTEMPTS = 16;

export interface TransportManagerOptions {
  /** In order of preference; at least one. */
  readonly transports: readonly Transport[];
  /** A transport that cannot serve here, such as QUIC without a build for the platform. */
  readonly onUnavailable?: ((transport: Transport, error: MeshError) => void) | undefined;
}

export class TransportManager {
  readonly #transports: readonly Transport[];
  readonly #onUnavailable: (transport: Transport, error: MeshError) => void;

  constructor(options: TransportManagerOptions) {
    if (options.transports.length === 0) {
      throw new MeshError('InvalidOptions', 'transports must name at least one transport');
    }
    this.#transports = options.transports;
    this.#onUnavailable = options.onUnavailable ?? (() => {});
  }

  /** Counters of each transport, by name. */
  get counters(): Readonly<Record<string, Readonly<Record<string, number>>>> {
    return Object.fromEntries(
      this.#transports.map(({ name, counters }) => [name, { ...counters }]),
    );
  }

  /**
   * Dials by the first transport that reaches the peer.
   * @throws MeshError the last transport's failure, or the first refusal
   */
  async dial(target: DialTarget, options: DialOptions = {}): Promise<Connection> {
    let failure: MeshError | undefined;
    for (const transport of this.#transports) {
      try {
        return await transport.dial(target, options);
      } catch (thrown) {
        failure = toMeshError(thrown, 'ConnectFailed');
        if (!UNREACHED.has(failure.code)) throw failure;
      }
    }
    throw failure as MeshError;
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
      this.#onUnavailable(transport, error);
      return undefined;
    }
  }
}
