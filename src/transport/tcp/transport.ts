/** TCP with TLS 1.3, both sides with certificates: the fallback of QUIC, and its equal above. SPEC.md, "TCP". */
import { AsyncResource } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { MeshError, toMeshError } from '../../errors.js';
import { KNOCK_RANDOM_BYTES } from '../../protocol/knock.js';
import { DEFAULT_HALF_OPEN_LIMITS, type HalfOpenLimits } from '../admission/half-open.js';
import { KnockChoices } from '../admission/knock-choices.js';
import { KnockGate, type SilenceOptions } from '../admission/knock-gate.js';
import type { Knocks } from '../admission/knocks.js';
import {
  type Connection,
  DEFAULT_STREAM_LIMITS,
  type DialOptions,
  type DialTarget,
  type Listener,
  type ListenOptions,
  type PeerIdentity,
  type Role,
  type StreamLimits,
  type TlsMaterial,
  type Transport,
} from '../connection.js';
import { checkDialTarget, checkLocalAddress } from '../dial-address.js';
import { FrameMemory } from '../frame-memory.js';
import { MuxConnection } from '../mux/connection.js';
import { WriteMemory } from '../mux/write-memory.js';
import { PeerRates } from '../peer-rates.js';
import { ReadingTurns, readerOf } from '../reading-turns.js';
import { addressKey } from '../socket-address.js';
import { checkNodeId } from '../trust/identity.js';
import type { KeyLog } from '../trust/key-log.js';
import { handshakeError } from '../trust/tls-errors.js';
import { isSameMaterial } from '../trust/tls-material.js';
import { dialTls } from './dial.js';
import { addressOf, TcpListener } from './listener.js';
import { identifyPeer, refusePeer } from './peer-check.js';
import { createTlsSetup, type TlsSetup } from './tls-context.js';

/** What a {@link TcpTransport} is given. */
export interface TcpTransportOptions {
  /** The certificates in force; asked at every dial and for every socket accepted. */
  readonly tls: () => TlsMaterial;
  readonly limits?: Partial<StreamLimits> | undefined;
  /** How fast peers open and reset streams, where several transports share that. Default: by `limits`, and the transport's own. */
  readonly rates?: PeerRates | undefined;
  /** The time for name resolution, TCP and TLS together. Default 5,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** Idle time before the system probes whether the peer is still there. Default 10,000. */
  readonly keepAliveMs?: number | undefined;
  /** The time for an accepted socket to finish TLS, or to close after it was refused. Default 5,000. */
  readonly handshakeTimeoutMs?: number | undefined;
  /**
   * The cluster, which knocks follow from. A node gives its own; both ends need the same. Default: the empty text.
   * SPEC.md, "Knocks".
   */
  readonly cluster?: string | undefined;
  /** The name by which this side is dialed. Default: every name of its certificate, up to eight. */
  readonly nodeId?: string | undefined;
  /** Who is answered, and how many accepted sockets may be in their handshake at once. Default 1,024, and 64 of one source. */
  readonly admission?: TcpAdmissionOptions | undefined;
  /** Gets the secrets of every connection. Default: none. */
  readonly keyLog?: KeyLog | undefined;
}

/** Whom a listener answers over TCP, and how many at once. */
export type TcpAdmissionOptions = SilenceOptions & {
  readonly [K in keyof HalfOpenLimits]?: number | undefined;
};

/**
 * TCP with TLS 1.3 and certificates on both sides as a transport: the fallback of QUIC, and its equal for everything
 * above. SPEC.md, "TCP".
 */
export class TcpTransport implements Transport {
  readonly name = 'tcp';
  readonly counters = {
    dialed: 0,
    dialsFailed: 0,
    accepted: 0,
    /** Peers that this side refused because of their certificate or protocol. */
    refused: 0,
    halfOpenDropped: 0,
    sourceBudgetDropped: 0,
    droppedWithoutKnock: 0,
    droppedReplayedKnock: 0,
    handshakeExcess: 0,
    handshakeTimeouts: 0,
    tlsErrors: 0,
    reloadsFailed: 0,
    /** Late frames of connections that are over. */
    lateFrames: 0,
  };
  readonly #options: TcpTransportOptions;
  /** The async context that connections live in, whoever dials. */
  readonly #asyncScope = new AsyncResource('quicmesh.TcpTransport');
  /** Reusable after a write: a TLS socket has encrypted what it was given by then. */
  readonly #writeMemory = new WriteMemory(true);
  readonly #frameMemory = new FrameMemory();
  readonly #turns = new ReadingTurns();
  readonly #rates: PeerRates;
  readonly #knockChoices = new KnockChoices();
  readonly #connections = new Set<MuxConnection>();
  readonly #shutdown = new AbortController();
  #listener: TcpListener | undefined;
  #setup: TlsSetup | undefined;

  constructor(options: TcpTransportOptions) {
    this.#options = options;
    this.#rates = options.rates ?? new PeerRates({ ...DEFAULT_STREAM_LIMITS, ...options.limits });
  }

  dial(target: DialTarget, options: DialOptions = {}): Promise<Connection> {
    return this.#asyncScope.runInAsyncScope(() => this.#dial(target, options));
  }

  async #dial(given: DialTarget, options: DialOptions): Promise<Connection> {
    this.#assertOpen();
    const target = checkDialTarget(given);
    const { signal, connectTimeoutMs = this.#options.connectTimeoutMs } = options;
    const shutdown = this.#shutdown.signal;
    try {
      const setup = this.#currentSetup();
      const { knocks } = setup;
      const address = addressKey(target);
      const choice = this.#knockChoices.at(address);
      const random = randomBytes(KNOCK_RANDOM_BYTES);
      const connection = await dialTls({
        target,
        setup,
        knock:
          knocks.choices === 0
            ? undefined
            : knocks.create(target.nodeId, choice, Date.now(), random),
        unanswered: () => {
          if (knocks.choices > 1) this.#knockChoices.unanswered(address, choice);
        },
        timeoutMs: connectTimeoutMs ?? 5000,
        keyLog: this.#options.keyLog,
        signals: signal === undefined ? [shutdown] : [signal, shutdown],
        adopt: (socket) => {
          // By what is in force now: certificates may have been reloaded since the dial began.
          const identity = identifyPeer(socket, this.#currentSetup().trust, 'acceptor');
          if (target.nodeId !== undefined) checkNodeId(identity, target.nodeId);
          return this.#connect(socket, 'dialer', identity);
        },
      });
      this.counters.dialed += 1;
      return connection;
    } catch (error) {
      this.counters.dialsFailed += 1;
      this.#assertOpen();
      throw toMeshError(error, 'InvalidArgument');
    }
  }

  async listen(options: ListenOptions): Promise<Listener> {
    this.#assertOpen();
    checkLocalAddress(options);
    if (this.#listener !== undefined) {
      throw new MeshError('InvalidArgument', 'a transport has at most one listener');
    }
    const { admission = {} } = this.#options;
    const listener = new TcpListener({
      host: options.host,
      port: options.port,
      setup: () => this.#currentSetup(),
      handshakeTimeoutMs: this.#options.handshakeTimeoutMs ?? 5000,
      admission: {
        maxHalfOpen: admission.maxHalfOpen ?? DEFAULT_HALF_OPEN_LIMITS.maxHalfOpen,
        maxHalfOpenPerSource:
          admission.maxHalfOpenPerSource ?? DEFAULT_HALF_OPEN_LIMITS.maxHalfOpenPerSource,
      },
      gate: admission.silent === 'off' ? undefined : new KnockGate(() => this.#knocks()),
      counters: this.counters,
      keyLog: this.#options.keyLog,
      onSecure: (socket, setup, agreed) => this.#accept(socket, setup, options, agreed),
      onTlsError: (cause, remoteAddress) => {
        const error = cause instanceof MeshError ? cause : handshakeError(cause);
        // A peer that hung up was not refused.
        if (error.code === 'ConnectFailed') return;
        options.onRefused?.({ error, remoteAddress, transport: this.name });
      },
    });
    this.#listener = listener;
    try {
      await listener.listen();
    } catch (error) {
      this.#listener = undefined;
      throw toMeshError(error, 'InvalidArgument');
    }
    return {
      address: listener.address,
      close: async () => {
        await listener.close();
        if (this.#listener === listener) this.#listener = undefined;
      },
    };
  }

  async close(): Promise<void> {
    this.#shutdown.abort();
    await this.#listener?.close();
    await Promise.all([...this.#connections].map((connection) => connection.close()));
  }

  /** @returns whether the peer's certificate was accepted */
  #accept(socket: TLSSocket, setup: TlsSetup, options: ListenOptions, agreed: () => void): boolean {
    const connection = this.#adopt(socket, setup, options.onRefused, agreed);
    if (connection === undefined) return false;
    this.counters.accepted += 1;
    options.onConnection(connection);
    if (!connection.isHandshaking) agreed();
    return true;
  }

  #adopt(
    socket: TLSSocket,
    setup: TlsSetup,
    onRefused: ListenOptions['onRefused'],
    agreed: () => void,
  ): MuxConnection | undefined {
    try {
      const identity = identifyPeer(socket, setup.trust, 'dialer');
      return this.#connect(socket, 'acceptor', identity, agreed);
    } catch (thrown) {
      const error = toMeshError(thrown);
      const remoteAddress = addressOf(socket).remote;
      this.counters.refused += 1;
      refusePeer(socket, error);
      onRefused?.({ error, remoteAddress, transport: this.name });
      return undefined;
    }
  }

  #connect(
    socket: TLSSocket,
    role: Role,
    peerIdentity: PeerIdentity,
    onAgreed?: () => void,
  ): MuxConnection {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, this.#options.keepAliveMs ?? 10_000);
    const { local, remote } = addressOf(socket);
    const connection = new MuxConnection(socket, {
      transport: this.name,
      role,
      peerIdentity,
      localAddress: local,
      remoteAddress: remote,
      limits: this.#options.limits,
      writeMemory: this.#writeMemory,
      frameMemory: this.#frameMemory,
      turns: this.#turns,
      rates: this.#rates.of(readerOf(peerIdentity)),
      onAgreed,
    });
    this.#connections.add(connection);
    connection.closed.then(() => {
      this.#connections.delete(connection);
      this.counters.lateFrames += connection.counters.lateFrames;
    });
    return connection;
  }

  /** @throws MeshError InvalidOptions */
  #currentSetup(): TlsSetup {
    const material = this.#options.tls();
    if (this.#setup === undefined || !isSameMaterial(material, this.#setup.material)) {
      const { cluster = '', nodeId, admission: { secret = [] } = {} } = this.#options;
      this.#setup = createTlsSetup(material, { cluster, nodeId, secrets: [secret].flat() });
    }
    return this.#setup;
  }

  /** The knocks by the certificates in force, or by the last good ones: strangers' bytes must not make this throw. */
  #knocks(): Knocks {
    try {
      return this.#currentSetup().knocks;
    } catch (thrown) {
      if (this.#setup === undefined) throw thrown;
      return this.#setup.knocks;
    }
  }

  #assertOpen(): void {
    if (!this.#shutdown.signal.aborted) return;
    throw new MeshError('NodeClosed', 'transport is closed');
  }
}
