/** Accepts TCP sockets and runs their TLS handshakes, with limits for their number, time, bytes and work. */
import { AsyncResource } from 'node:async_hooks';
import { createServer, type Server, type Socket } from 'node:net';
import {
  createServer as createTlsServer,
  type TLSSocket,
  type Server as TlsServer,
} from 'node:tls';
import { MeshError } from '../../errors.js';
import { HalfOpenCount, type HalfOpenLimits, sourceOf } from '../admission/half-open.js';
import { HandshakeTurns } from '../admission/handshake-turns.js';
import type { KnockGate } from '../admission/knock-gate.js';
import { createSourceBudget, type SourceBudget } from '../admission/source-budget.js';
import { ALPN_PROTOCOL, type Listener, type SocketAddress } from '../connection.js';
import { addressKey } from '../socket-address.js';
import type { KeyLog } from '../trust/key-log.js';
import { knockIn } from './knock-protocol.js';
import { readHello } from './read-hello.js';
import type { TlsSetup } from './tls-context.js';

/**
 * What an answer to a ClientHello costs at most: a key exchange over P-384 and a signature. Milliseconds of work, as is the next.
 */
export const HELLO_MS = 3;
/** What a byte of the dialer's certificates costs at most: OpenSSL checks whatever signatures they have, with their own keys. */
const CERTIFICATE_BYTE_MS = 0.005;
/** What a dialer may send after its ClientHello, before TLS is done: certificates and a signature. */
const MAX_CERTIFICATE_BYTES = 16 * 1024;
/** OpenSSL reads without asking, and takes 100 KB of certificates: this is how soon it is seen. */
const EXCESS_CHECK_MS = 10;

/** What was dropped on the way to a connection. */
export interface ListenerCounters {
  /** Sockets beyond `maxHalfOpen` or their source's limit, or closed before they were looked at. */
  halfOpenDropped: number;
  /** Sockets whose source had cost as much by failed handshakes as one source may. */
  sourceBudgetDropped: number;
  /** Sockets of dialers that did not knock, or had no good knock, and of whoever spoke no TLS: see `knock-gate.ts`. */
  droppedWithoutKnock: number;
  /** Sockets with a knock that was used before. */
  droppedReplayedKnock: number;
  /** Sockets that sent more than a handshake takes. */
  handshakeExcess: number;
  /** Sockets that took longer than `handshakeTimeoutMs`. */
  handshakeTimeouts: number;
  /** Sockets whose TLS handshake failed or was aborted, and those that sent no ClientHello. */
  tlsErrors: number;
  /** How often certificates changed and could not be used. */
  reloadsFailed: number;
}

/** What a {@link TcpListener} is given. */
export interface TcpListenerOptions {
  readonly host: string;
  readonly port: number;
  /** Called for every socket, so that new certificates hold from the next one on. Returns the same object while none changed. */
  readonly setup: () => TlsSetup;
  readonly handshakeTimeoutMs: number;
  /** How many sockets may be in their handshake at once. */
  readonly admission: HalfOpenLimits;
  /** Judges knocks; `undefined` where everybody is answered. */
  readonly gate: KnockGate | undefined;
  readonly counters: ListenerCounters;
  /** Gets the secrets of every connection. */
  readonly keyLog?: KeyLog | undefined;
  /**
   * The TLS handshake is done. A socket that becomes a connection stays half-open until `agreed` is called, or it is closed.
   * @returns whether it became one
   */
  readonly onSecure: (socket: TLSSocket, setup: TlsSetup, agreed: () => void) => boolean;
  /** The TLS handshake failed, over what the socket sent. */
  readonly onTlsError: (cause: Error, remoteAddress: SocketAddress) => void;
}

/** A socket whose handshake is under way, or whose peer is being refused. */
interface HalfOpen {
  readonly key: string;
  readonly source: string;
  readonly socket: Socket;
  /** Ends it when its time is over. */
  readonly timer: NodeJS.Timeout;
  stage: Stage;
}

/** How far a half-open socket has come. */
type Stage =
  /** Its ClientHello has not come yet. */
  | { readonly kind: 'hello' }
  /** It waits until its source may cause more work. */
  | { readonly kind: 'waiting'; readonly timer: NodeJS.Timeout }
  /** TLS has it, or will in one of the next turns. */
  | { readonly kind: 'tls'; readonly helloBytes: number }
  /** It is a connection whose handshake above TLS is under way, which has a timeout of its own. */
  | { readonly kind: 'secured' }
  /** It is being closed, and why was counted. */
  | { readonly kind: 'refused' }
  /** It has given its place back. */
  | { readonly kind: 'over' };

/**
 * Accepts TCP sockets, runs TLS on each, and hands over those whose peer is trusted. Sockets in their handshake are bounded in
 * number and in time.
 */
export class TcpListener implements Listener {
  readonly #options: TcpListenerOptions;
  /** What an accepted socket reads runs in no async context; a TLS socket stays in that of its creation. */
  readonly #home = new AsyncResource('quicmesh.TcpListener');
  /** One socket begins TLS in each turn of the event loop, which costs about a millisecond. All half-open ones may wait. */
  readonly #turns: HandshakeTurns;
  readonly #server: Server;
  readonly #tlsServer: TlsServer;
  /** Half-open sockets by remote address, which a TLS socket and the socket under it have in common. */
  readonly #halfOpen = new Map<string, HalfOpen>();
  readonly #count = new HalfOpenCount();
  readonly #budget: SourceBudget;
  #setup: TlsSetup;
  /** Runs while there are half-open sockets. */
  #excessTimer: NodeJS.Timeout | undefined;

  /** @throws MeshError what `setup` throws */
  constructor(options: TcpListenerOptions) {
    this.#options = options;
    this.#turns = new HandshakeTurns({ turnMs: 0, maxWaiting: options.admission.maxHalfOpen });
    this.#budget = createSourceBudget(options.admission, HELLO_MS);
    this.#setup = options.setup();
    // A plain server accepts the sockets and passes them on to the TLS server. So they can be counted, and dropped, before
    // TLS does any work for them. They are paused, so that TLS reads all that arrives while a socket waits for its turn.
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket));
    this.#tlsServer = createTlsServer({
      ...this.#setup.options,
      ALPNProtocols: [ALPN_PROTOCOL],
      requestCert: true,
      rejectUnauthorized: false,
    });
    const { keyLog } = options;
    if (keyLog !== undefined) this.#tlsServer.on('keylog', (line) => keyLog.append(line));
    this.#tlsServer.on('secureConnection', (socket) => this.#handleSecure(socket));
    this.#tlsServer.on('tlsClientError', (cause, socket) => this.#handleTlsError(cause, socket));
  }

  get address(): SocketAddress {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') return { host: '', port: 0 };
    return { host: address.address, port: address.port };
  }

  /** Binds the address. @throws MeshError ConnectFailed when that fails, NodeClosed when the listener is closed meanwhile */
  listen(): Promise<void> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      const onClose = () => reject(new MeshError('NodeClosed', 'listener is closed'));
      this.#server.once('close', onClose);
      const onError = (cause: Error) => {
        const message = `cannot listen on ${host}:${port}: ${cause.message}`;
        reject(new MeshError('ConnectFailed', message, { cause }));
      };
      this.#server.once('error', onError);
      // Exclusive: else the workers of a node:cluster share one handle, and get each other's peers.
      this.#server.listen({ host, port, exclusive: true }, () => {
        this.#server.off('error', onError);
        this.#server.off('close', onClose);
        // Later errors concern single sockets that could not be accepted.
        this.#server.on('error', () => {});
        resolve();
      });
    });
  }

  /** Stops accepting. Connections stay. */
  async close(): Promise<void> {
    this.#server.close();
    for (const { socket } of this.#halfOpen.values()) socket.destroy();
  }

  #accept(socket: Socket): void {
    // An error before TLS listens to the socket must not end the process.
    socket.on('error', () => {});
    const { handshakeTimeoutMs, counters } = this.#options;
    const source = sourceOf(socket.remoteAddress ?? '');
    if (socket.remoteAddress === undefined || !this.#hasRoomFor(source)) {
      counters.halfOpenDropped += 1;
      socket.destroy();
      return;
    }
    // The server's own `handshakeTimeout` starts again with every byte; this one does not.
    const timer = setTimeout(() => {
      counters.handshakeTimeouts += 1;
      this.#drop(halfOpen);
    }, handshakeTimeoutMs).unref();
    if (!this.#refreshSetup()) counters.reloadsFailed += 1;
    const key = keyOf(socket);
    const halfOpen: HalfOpen = { key, source, socket, timer, stage: { kind: 'hello' } };
    this.#halfOpen.set(halfOpen.key, halfOpen);
    this.#count.enter(source);
    this.#excessTimer ??= setInterval(() => this.#dropExcess(), EXCESS_CHECK_MS).unref();
    socket.once('close', () => this.#handleClose(halfOpen));
    readHello(socket, (hello) => {
      if (this.#knock(halfOpen, hello) === 'none') this.#drop(halfOpen);
      else if (hello === undefined) this.#home.runInAsyncScope(() => this.#refuseGarbage(halfOpen));
      else this.#home.runInAsyncScope(() => this.#admit(halfOpen));
    });
  }

  /** Whether the dialer may be answered. A knock is good for one socket: who wants another makes a new one. */
  #knock({ socket }: HalfOpen, hello: Buffer | undefined): 'good' | 'none' {
    const { gate, counters } = this.#options;
    if (gate === undefined) return 'good';
    const knock = hello === undefined ? undefined : knockIn(hello);
    const from = addressKey(addressOf(socket).remote);
    const verdict = knock === undefined ? 'stranger' : gate.judge(knock, from, Date.now());
    if (verdict === 'stranger') counters.droppedWithoutKnock += 1;
    else if (verdict === 'replayed') counters.droppedReplayedKnock += 1;
    // A full memory does not matter here: that the dialer is at its address TCP has shown.
    if (knock === undefined || verdict === 'stranger' || verdict === 'replayed') return 'none';
    gate.spend(knock);
    return 'good';
  }

  /** Lets TLS begin as soon as the source may cause the work for it. */
  #admit(halfOpen: HalfOpen): void {
    const { source } = halfOpen;
    const { counters, handshakeTimeoutMs } = this.#options;
    const nowMs = performance.now();
    const waitMs = this.#budget.waitMs(source, nowMs);
    // Whoever waited longer would have no time left for TLS.
    if (waitMs > handshakeTimeoutMs / 2) {
      counters.sourceBudgetDropped += 1;
      this.#drop(halfOpen);
      return;
    }
    // Charged now, and not when it begins: so those who wait come one after the other.
    this.#budget.charge(source, HELLO_MS, nowMs);
    if (waitMs === 0) {
      this.#begin(halfOpen);
      return;
    }
    const timer = setTimeout(() => this.#begin(halfOpen), waitMs).unref();
    halfOpen.stage = { kind: 'waiting', timer };
  }

  #begin(halfOpen: HalfOpen): void {
    const { socket } = halfOpen;
    halfOpen.stage = { kind: 'tls', helloBytes: socket.bytesRead };
    this.#turns.take(() => {
      if (!socket.destroyed) this.#tlsServer.emit('connection', socket);
    });
  }

  #refuseGarbage(halfOpen: HalfOpen): void {
    const { socket } = halfOpen;
    const { remote } = addressOf(socket);
    this.#options.counters.tlsErrors += 1;
    this.#drop(halfOpen);
    this.#options.onTlsError(new MeshError('TlsFailure', 'what came is no ClientHello'), remote);
  }

  /** Ends a socket without a word. */
  #drop(halfOpen: HalfOpen): void {
    this.#settle(halfOpen);
    halfOpen.stage = { kind: 'refused' };
    halfOpen.socket.destroy();
  }

  /** Ends the sockets that have sent more than a handshake takes. */
  #dropExcess(): void {
    for (const halfOpen of this.#halfOpen.values()) {
      const { stage, socket } = halfOpen;
      if (stage.kind !== 'tls' || bytesSince(stage, socket) <= MAX_CERTIFICATE_BYTES) continue;
      this.#options.counters.handshakeExcess += 1;
      this.#drop(halfOpen);
    }
  }

  #hasRoomFor(source: string): boolean {
    const { maxHalfOpen, maxHalfOpenPerSource } = this.#options.admission;
    return this.#count.total < maxHalfOpen && this.#count.of(source) < maxHalfOpenPerSource;
  }

  /** Takes over new certificates. @returns whether they could be used */
  #refreshSetup(): boolean {
    try {
      const setup = this.#options.setup();
      if (setup === this.#setup) return true;
      this.#tlsServer.setSecureContext(setup.options);
      this.#setup = setup;
      return true;
    } catch {
      // The old certificates still work.
      return false;
    }
  }

  #handleSecure(socket: TLSSocket): void {
    const halfOpen = this.#halfOpen.get(keyOf(socket));
    if (halfOpen === undefined) {
      socket.destroy();
      return;
    }
    // The peer is checked by the certificates in force now, not by those of when its socket was accepted.
    this.#refreshSetup();
    if (this.#options.onSecure(socket, this.#setup, () => this.#release(halfOpen))) {
      this.#budget.refund(halfOpen.source, HELLO_MS, performance.now());
      if (halfOpen.stage.kind === 'over') return;
      halfOpen.stage = { kind: 'secured' };
      this.#forget(halfOpen);
    } else {
      // It stays half-open until its socket is closed.
      this.#settle(halfOpen);
      halfOpen.stage = { kind: 'refused' };
    }
  }

  /** It is counted when the socket closes. */
  #handleTlsError(cause: Error, socket: TLSSocket): void {
    socket.destroy();
    this.#options.onTlsError(cause, addressOf(socket).remote);
  }

  #handleClose(halfOpen: HalfOpen): void {
    const { kind } = halfOpen.stage;
    if (kind === 'over') return;
    if (kind !== 'refused' && kind !== 'secured') this.#options.counters.tlsErrors += 1;
    this.#settle(halfOpen);
    this.#release(halfOpen);
  }

  /** Squares what a failed handshake was charged with what it has cost. */
  #settle({ stage, source, socket }: HalfOpen): void {
    const nowMs = performance.now();
    if (stage.kind === 'tls') {
      const certificateMs = CERTIFICATE_BYTE_MS * bytesSince(stage, socket);
      this.#budget.charge(source, certificateMs, nowMs);
    } else if (stage.kind === 'waiting') {
      clearTimeout(stage.timer);
      this.#budget.refund(source, HELLO_MS, nowMs);
    }
  }

  /** Gives a place back when a connection's handshake is done or its socket closes, whichever comes first. */
  #release(halfOpen: HalfOpen): void {
    if (halfOpen.stage.kind === 'over') return;
    halfOpen.stage = { kind: 'over' };
    this.#count.leave(halfOpen.source);
    this.#forget(halfOpen);
  }

  /** The listener does nothing more with the socket itself. */
  #forget(halfOpen: HalfOpen): void {
    const { key, timer } = halfOpen;
    clearTimeout(timer);
    // A peer that has reset its socket may connect from the same port again before the reset is seen here.
    if (this.#halfOpen.get(key) === halfOpen) this.#halfOpen.delete(key);
    if (this.#halfOpen.size > 0) return;
    clearInterval(this.#excessTimer);
    this.#excessTimer = undefined;
  }
}

/** What a socket has sent since its ClientHello. */
function bytesSince({ helloBytes }: Extract<Stage, { kind: 'tls' }>, socket: Socket): number {
  return socket.bytesRead - helloBytes;
}

/** The addresses of a socket; empty ones when it is closed already. */
export function addressOf(socket: Socket): { local: SocketAddress; remote: SocketAddress } {
  return {
    local: { host: socket.localAddress ?? '', port: socket.localPort ?? 0 },
    remote: { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 },
  };
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}`;
}
