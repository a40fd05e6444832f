/** QUIC as a {@link Transport}: dials and listens on one UDP port for each address family. */
import { AsyncResource } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { abortable } from '../../base/abortable.js';
import { Alarms } from '../../base/alarms.js';
import { handleRejection, isBytes, isPromised } from '../../base/realms.js';
import { MeshError, toMeshError } from '../../errors.js';
import { KNOCK_RANDOM_BYTES } from '../../protocol/knock.js';
import { KnockChoices } from '../admission/knock-choices.js';
import type { Knocks } from '../admission/knocks.js';
import {
  type Connection,
  DEFAULT_STREAM_LIMITS,
  type DialOptions,
  type DialTarget,
  type Listener,
  type ListenOptions,
  type SocketAddress,
  type StreamLimits,
  type TlsMaterial,
  type Transport,
} from '../connection.js';
import { canonicalAddress, checkDialTarget, checkLocalAddress } from '../dial-address.js';
import { isWildcard } from '../local-addresses.js';
import { PeerRates } from '../peer-rates.js';
import { addressKey, isIPv6, isLoopback } from '../socket-address.js';
import { checkNodeId } from '../trust/identity.js';
import type { KeyLog } from '../trust/key-log.js';
import { isSameMaterial } from '../trust/tls-material.js';
import { type AdmissionOptions, resolveAdmissionLimits } from './admission/admission-policy.js';
import { LOOPBACK_DATAGRAM_BYTES } from './binding/config.js';
import {
  type CongestionControl,
  DEFAULT_INITIAL_WINDOW_BYTES,
} from './binding/congestion-control.js';
import { ConnectionKeys } from './binding/connection-keys.js';
import { Credentials } from './binding/credentials.js';
import { loadBinding, type NativeQuic } from './binding/native.js';
import { QuicEndpoint } from './endpoint/endpoint.js';
import { reaches } from './endpoint/reachability.js';
import { type EndpointCounters, newEndpointCounters } from './io/counters.js';
import { ListeningSockets } from './io/listening-sockets.js';
import { ETHERNET_DATAGRAM_BYTES } from './io/packet.js';
import { PREFERS_CONNECTED } from './io/port-sharing.js';
import { interfacePayloadBytes } from './paths/interface-mtu.js';
import { BASE_DATAGRAM_BYTES, type PathMtuLimits } from './paths/path-mtu.js';
import { MemorySessionStore, type SessionStore } from './resumption/sessions.js';

/** How a {@link QuicTransport} works. Only `tls` is needed. */
export interface QuicTransportOptions {
  /** The certificates in force; asked again whenever a connection begins. */
  readonly tls: () => TlsMaterial;
  readonly limits?: Partial<StreamLimits> | undefined;
  /** How fast peers open and reset streams, where several transports share that. Default: by `limits`, and the transport's own. */
  readonly rates?: PeerRates | undefined;
  /** The time for the handshake, at either side. Default 5000. */
  readonly connectTimeoutMs?: number | undefined;
  /** A connection ends after so long without any datagram. Default 30,000. */
  readonly idleTimeoutMs?: number | undefined;
  /** After so long without a datagram, a dialer asks its peer for one; an acceptor after up to half as long again. Default 10,000. */
  readonly keepAliveMs?: number | undefined;
  /**
   * The largest datagram to send, in bytes of UDP payload, without probing the path for it. `'auto'`, the default: as large as
   * probes find the path to carry, from 1,200 bytes up to the interface's limit.
   */
  readonly maxDatagramBytes?: number | 'auto' | undefined;
  /**
   * The cluster, which knocks follow from. A node gives its own; both ends need the same. Default: the empty text.
   * SPEC.md, "Knocks".
   */
  readonly cluster?: string | undefined;
  /** The name by which this side is dialed. Default: every name of its certificate, up to eight. */
  readonly nodeId?: string | undefined;
  /** Who is answered, how many handshakes of dialers may be under way, and when a dialer has to prove its address. */
  readonly admission?: AdmissionOptions | undefined;
  /** Whether sessions are resumed, and early data (0-RTT) is sent and accepted. Default true. */
  readonly earlyData?: boolean | undefined;
  /** Where a dialer keeps sessions. Default: in memory. */
  readonly sessionStore?: SessionStore | undefined;
  /** How long one key encrypts this side's session tickets. Tickets of an earlier key resume nothing. Default 12 h. */
  readonly ticketKeyLifetimeMs?: number | undefined;
  /** Gets the secrets of every connection. Default: none. */
  readonly keyLog?: KeyLog | undefined;
  /** Whether connections may change their paths: follow their peer, and move to another address. Default true. */
  readonly migration?: boolean | undefined;
  /**
   * How many peers of the listening port may have a UDP socket of their own, which strangers' packets do not get into. Only on
   * Linux, and 0 for none: then the port is bound by nobody else. Default 128.
   */
  readonly peerSockets?: number | undefined;
  /** Default `'cubic'`. */
  readonly congestionControl?: CongestionControl | undefined;
  /**
   * The congestion window that a connection begins with, in bytes, 12,000 to 655,270. The smallest window is a fifth of it,
   * and the growth a tenth of it a round trip. Default 54,000.
   */
  readonly initialWindowBytes?: number | undefined;
  /** Told once, when the binding is loaded: the package that serves, `@matrixai/quic` or `@infisical/quic`. */
  readonly onBinding?: ((packageName: string) => void) | undefined;
}

const DEFAULTS = {
  connectTimeoutMs: 5000,
  idleTimeoutMs: 30_000,
  keepAliveMs: 10_000,
  ticketKeyLifetimeMs: 12 * 60 * 60 * 1000,
  migration: true,
  peerSockets: 128,
  congestionControl: 'cubic',
  initialWindowBytes: DEFAULT_INITIAL_WINDOW_BYTES,
} as const;

/** One attempt to connect. */
interface DialAttempt {
  readonly endpoint: QuicEndpoint;
  readonly native: NativeQuic;
  readonly remote: SocketAddress;
  readonly credentials: Credentials;
  readonly timeoutMs: number;
  readonly nodeId: string | undefined;
  readonly session?: Uint8Array | undefined;
}

/**
 * QUIC as a transport. It dials and listens on one UDP port for each address family, and loads the binding at its first
 * use. Where there is no binding for this platform, that use fails with TransportUnavailable.
 */
export class QuicTransport implements Transport {
  readonly name = 'quic';
  readonly #counters = newEndpointCounters();
  readonly #options: QuicTransportOptions;
  /** The async context that connections live in, whoever dials. */
  readonly #asyncScope = new AsyncResource('quicmesh.QuicTransport');
  readonly #limits: StreamLimits;
  readonly #rates: PeerRates;
  readonly #sessions: SessionStore;
  readonly #keys: ConnectionKeys | undefined;
  /** All connections share one timer. */
  readonly #alarms = new Alarms();
  readonly #knockChoices = new KnockChoices();
  #native: Promise<NativeQuic> | undefined;
  #listening: QuicEndpoint | undefined;
  /** Endpoints that no longer listen, but still have connections. */
  readonly #retired = new Set<QuicEndpoint>();
  /** Endpoints that only dial, by address family, for targets that the listening endpoint cannot reach. */
  readonly #dialing = new Map<4 | 6, Promise<QuicEndpoint>>();
  #closing: Promise<void> | undefined;
  #credentials: Credentials | undefined;

  constructor(options: QuicTransportOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_STREAM_LIMITS, ...options.limits };
    this.#rates = options.rates ?? new PeerRates(this.#limits);
    this.#sessions = options.sessionStore ?? new MemorySessionStore();
    this.#keys = options.keyLog === undefined ? undefined : new ConnectionKeys(options.keyLog);
  }

  get counters(): Readonly<EndpointCounters> {
    return this.#counters;
  }

  dial(target: DialTarget, options: DialOptions = {}): Promise<Connection> {
    return this.#asyncScope.runInAsyncScope(() => this.#dial(target, options));
  }

  async #dial(given: DialTarget, options: DialOptions): Promise<Connection> {
    const { signal } = options;
    const timeoutMs =
      options.connectTimeoutMs ?? this.#options.connectTimeoutMs ?? DEFAULTS.connectTimeoutMs;
    const target = checkDialTarget(given);
    const remote = await abortable(resolveTarget(target), signal);
    const native = await this.#loadedNative();
    let endpoint = await abortable(this.#endpointFor(remote), signal);
    // The endpoint was closed meanwhile: on it, nobody would settle the dial.
    while (endpoint.isClosed) endpoint = await abortable(this.#endpointFor(remote), signal);
    const credentials = this.#credentialsInForce(native);
    const attempt = { endpoint, remote, native, credentials, timeoutMs, nodeId: target.nodeId };
    const session = this.#takeSession(credentials, target.nodeId);
    try {
      return await this.#connect({ ...attempt, session }, options);
    } catch (thrown) {
      const error = toMeshError(thrown);
      if (session === undefined || error.code !== 'StreamLimitExceeded') throw error;
      return await this.#connect(attempt, options);
    }
  }

  /** @throws MeshError why there is no connection. With StreamLimitExceeded, an attempt without the session may succeed. */
  async #connect(attempt: DialAttempt, { signal, onEarly }: DialOptions): Promise<Connection> {
    const { endpoint, remote, native, credentials, timeoutMs, nodeId, session } = attempt;
    const { knocks } = credentials;
    const address = addressKey(remote);
    const choice = this.#knockChoices.at(address);
    const { connection, ready } = endpoint.dial(remote, {
      connectTimeoutMs: timeoutMs,
      knock: knocks.create(nodeId, choice, Date.now(), randomBytes(KNOCK_RANDOM_BYTES)),
      session,
      verifyPeer: (chain) => {
        // By the certificates in force now: they may have been reloaded since the dial began.
        const { trust } = this.#credentialsInForce(native);
        const identity = trust.verify(chain, 'acceptor', Date.now());
        if (nodeId !== undefined) checkNodeId(identity, nodeId);
        return identity;
      },
      onSession: (given) => this.#keepSession(credentials, nodeId, given),
    });
    try {
      if (connection.state.kind === 'early') onEarly?.(connection);
      await abortable(ready, signal);
      return connection;
    } catch (thrown) {
      const error = toMeshError(thrown);
      if (knocks.choices > 1 && !connection.hasReceived) {
        this.#knockChoices.unanswered(address, choice);
      }
      connection.fail(error);
      throw error;
    }
  }

  #takeSession(credentials: Credentials, nodeId: string | undefined): Uint8Array | undefined {
    if (nodeId === undefined || !this.#usesEarlyData) return undefined;
    try {
      const session: unknown = this.#sessions.take(credentials.sessionKey(nodeId));
      if (session === undefined || isBytes(session)) return session;
      isPromised(session);
    } catch (thrown) {
      handleRejection(thrown);
    }
    this.#counters.sessionsUnusable += 1;
    return undefined;
  }

  #keepSession(credentials: Credentials, nodeId: string | undefined, session: Uint8Array): void {
    if (nodeId === undefined || !this.#usesEarlyData) return;
    try {
      // The peer does not tell how long its ticket key lasts. Ours is as good a guess.
      const expiresAtMs = Date.now() + this.#ticketKeyLifetimeMs;
      const done: unknown = this.#sessions.put(
        credentials.sessionKey(nodeId),
        session,
        expiresAtMs,
      );
      // Nobody waits for an asynchronous store, so that its failure is handled here.
      if (done !== undefined) isPromised(done);
    } catch (thrown) {
      handleRejection(thrown);
      this.#counters.sessionsUnusable += 1;
    }
  }

  async listen(options: ListenOptions): Promise<Listener> {
    this.#checkOpen();
    if (this.#listening !== undefined) {
      throw new MeshError('InvalidArgument', 'this transport listens already');
    }
    checkLocalAddress(options);
    const { host, port } = canonicalAddress(options);
    const isShared = PREFERS_CONNECTED && this.#peerSockets > 0;
    const endpoint = await this.#open(() => ListeningSockets.listen({ host, port }, isShared));
    if (this.#closing !== undefined) {
      const error = new MeshError('NodeClosed', 'transport is closed');
      await endpoint.close(error);
      throw error;
    }
    endpoint.acceptor = { onConnection: options.onConnection, onRefused: options.onRefused };
    this.#listening = endpoint;
    return {
      address: endpoint.localAddress,
      close: async () => {
        if (this.#listening !== endpoint) return;
        this.#listening = undefined;
        this.#retired.add(endpoint);
        await endpoint.retire();
      },
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    const dialing = await Promise.allSettled(this.#dialing.values());
    const endpoints = dialing.flatMap((result) =>
      result.status === 'fulfilled' ? [result.value] : [],
    );
    endpoints.push(...this.#retired);
    if (this.#listening !== undefined) endpoints.push(this.#listening);
    const error = new MeshError('NoError', 'transport closed');
    await Promise.all(endpoints.map((endpoint) => endpoint.close(error)));
    this.#keys?.close();
  }

  /** The listening endpoint, unless it cannot reach the peer. @throws MeshError ConnectFailed, NodeClosed */
  async #endpointFor(remote: SocketAddress): Promise<QuicEndpoint> {
    this.#checkOpen();
    const family = isIPv6(remote.host) ? 6 : 4;
    const listening = this.#listening;
    if (listening !== undefined && isIPv6(listening.localAddress.host) === (family === 6)) {
      const { host } = listening.localAddress;
      const mayDial = isWildcard(host) || (await reaches(host, remote));
      // The transport may have been closed meanwhile.
      this.#checkOpen();
      if (mayDial && this.#listening === listening) return listening;
    }
    let endpoint = this.#dialing.get(family);
    if (endpoint === undefined) {
      endpoint = this.#open(() => ListeningSockets.toDial(family === 6 ? '::' : '0.0.0.0'));
      this.#dialing.set(family, endpoint);
      endpoint.catch(() => this.#dialing.delete(family));
    }
    return endpoint;
  }

  async #open(openSockets: () => Promise<ListeningSockets>): Promise<QuicEndpoint> {
    const native = await this.#loadedNative();
    // Unreadable certificates must be found now, not when the first datagram arrives.
    this.#credentialsInForce(native);
    return new QuicEndpoint(
      await openSockets(),
      {
        native,
        alarms: this.#alarms,
        limits: this.#limits,
        rates: this.#rates,
        connectTimeoutMs: this.#options.connectTimeoutMs ?? DEFAULTS.connectTimeoutMs,
        keepAliveMs: this.#options.keepAliveMs ?? DEFAULTS.keepAliveMs,
        idleTimeoutMs: this.#options.idleTimeoutMs ?? DEFAULTS.idleTimeoutMs,
        admission: resolveAdmissionLimits(this.#options.admission ?? {}),
        knocks: this.#options.admission?.silent === 'off' ? undefined : () => this.#knocks(native),
        resetKey: this.#options.tls().key,
        migration: this.#options.migration ?? DEFAULTS.migration,
        peerSockets: this.#peerSockets,
        configFor: (role, remote, local, takenBytes) => {
          const { maxBytes } = this.#datagramLimits(remote, local);
          const takesSmall = isSmall(takenBytes);
          return this.#credentialsInForce(native).configFor(
            role,
            takesSmall ? Math.min(maxBytes, ETHERNET_DATAGRAM_BYTES) : maxBytes,
            takesSmall,
            isStamped(remote, takenBytes),
          );
        },
        datagramLimits: (remote, local) => this.#datagramLimits(remote, local),
        // Round trips of loopback are shorter than timers are exact.
        isPaced: ({ host }) => !isLoopback(host),
        initialWindowBytes: this.#options.initialWindowBytes ?? DEFAULTS.initialWindowBytes,
        keys: this.#keys,
        verifyDialer: (chain) =>
          this.#credentialsInForce(native).trust.verify(chain, 'dialer', Date.now()),
      },
      this.#counters,
    );
  }

  get #peerSockets(): number {
    return this.#options.peerSockets ?? DEFAULTS.peerSockets;
  }

  #datagramLimits(remote: SocketAddress, local: SocketAddress): PathMtuLimits {
    const { maxDatagramBytes = 'auto' } = this.#options;
    if (maxDatagramBytes !== 'auto') return { maxBytes: maxDatagramBytes, isFixed: true };
    if (isLoopback(remote.host)) {
      return { maxBytes: LOOPBACK_DATAGRAM_BYTES, isFixed: false, isEager: true };
    }
    const wholeBytes = interfacePayloadBytes(local.host) ?? ETHERNET_DATAGRAM_BYTES;
    const maxBytes = Math.min(Math.max(wholeBytes, BASE_DATAGRAM_BYTES), LOOPBACK_DATAGRAM_BYTES);
    return { maxBytes, isFixed: false };
  }

  #credentialsInForce(native: NativeQuic): Credentials {
    const tls = this.#options.tls();
    if (this.#credentials === undefined || !isSameMaterial(this.#credentials.tls, tls)) {
      const { idleTimeoutMs, migration, congestionControl } = this.#options;
      const { cluster = '', nodeId, admission, initialWindowBytes } = this.#options;
      const tuning = {
        limits: this.#limits,
        idleTimeoutMs: idleTimeoutMs ?? DEFAULTS.idleTimeoutMs,
        migration: migration ?? DEFAULTS.migration,
        congestionControl: congestionControl ?? DEFAULTS.congestionControl,
        initialWindowBytes: initialWindowBytes ?? DEFAULTS.initialWindowBytes,
        logsKeys: this.#keys !== undefined,
        ticketKeyLifetimeMs: this.#usesEarlyData ? this.#ticketKeyLifetimeMs : undefined,
        knocking: {
          cluster,
          nodeId,
          secrets: admission?.secret === undefined ? [] : [admission.secret].flat(),
        },
      };
      this.#credentials = new Credentials(native, tls, tuning, this.#credentials);
    }
    return this.#credentials;
  }

  /** The knocks by the certificates in force, or by the last good ones: strangers' packets must not make this throw. */
  #knocks(native: NativeQuic): Knocks {
    try {
      return this.#credentialsInForce(native).knocks;
    } catch (thrown) {
      if (this.#credentials === undefined) throw thrown;
      return this.#credentials.knocks;
    }
  }

  #loadedNative(): Promise<NativeQuic> {
    this.#native ??= this.#loadNative();
    return this.#native;
  }

  async #loadNative(): Promise<NativeQuic> {
    const { packageName, quiche } = await loadBinding();
    this.#options.onBinding?.(packageName);
    return quiche;
  }

  get #usesEarlyData(): boolean {
    return this.#options.earlyData ?? true;
  }

  get #ticketKeyLifetimeMs(): number {
    return this.#options.ticketKeyLifetimeMs ?? DEFAULTS.ticketKeyLifetimeMs;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new MeshError('NodeClosed', 'transport is closed');
  }
}

/**
 * Whether the binding stamps packets with the time at which they are due. Nobody waits for that over loopback. A peer that takes no
 * larger datagrams than links carry counts as one across a link there, too: its window has few, small packets, and without
 * the pacer their stamps would stand still for long.
 */
function isStamped({ host }: SocketAddress, takenBytes: number | undefined): boolean {
  return isSmall(takenBytes) || !isLoopback(host);
}

/** Whether a peer takes no larger datagrams than links carry. */
function isSmall(takenBytes = LOOPBACK_DATAGRAM_BYTES): boolean {
  return takenBytes <= ETHERNET_DATAGRAM_BYTES;
}

/** The numeric address of a target. @throws MeshError ConnectFailed when its name does not resolve */
async function resolveTarget(target: DialTarget): Promise<SocketAddress> {
  const { host, port } = target;
  if (isIP(host) !== 0) return canonicalAddress({ host, port });
  try {
    const { address } = await lookup(host);
    return canonicalAddress({ host: address, port });
  } catch (cause) {
    throw new MeshError('ConnectFailed', `cannot resolve ${host}`, { cause });
  }
}
