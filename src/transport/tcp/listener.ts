/** Accepts TCP sockets and runs their TLS handshakes, with limits for their number and time. */
import { createServer, type Server, type Socket } from 'node:net';
import {
  createServer as createTlsServer,
  type TLSSocket,
  type Server as TlsServer,
} from 'node:tls';
import { MeshError } from '../../errors.js';
import { HalfOpenCount, type HalfOpenLimits, sourceOf } from '../admission/half-open.js';
import { HandshakeTurns } from '../admission/handshake-turns.js';
import { ALPN_PROTOCOL, type Listener, type SocketAddress } from '../connection.js';
import type { KeyLog } from '../trust/key-log.js';
import type { TlsSetup } from './tls-context.js';

/** What was dropped on the way to a connection. */
export interface ListenerCounters {
  /** Sockets beyond `maxHalfOpen` or their source's limit, or closed before they were looked at. */
  halfOpenDropped: number;
  /** Sockets that took longer than `handshakeTimeoutMs`. */
  handshakeTimeouts: number;
  /** Sockets whose TLS handshake failed or was aborted. */
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
  readonly counters: ListenerCounters;
  /** Gets the secrets of every connection. */
  readonly keyLog?: KeyLog | undefined;
  /** The TLS handshake is done. @returns whether the socket became a connection */
  readonly onSecure: (socket: TLSSocket, setup: TlsSetup) => boolean;
  /** The TLS handshake failed, over what the socket sent. */
  readonly onTlsError: (cause: Error, remoteAddress: SocketAddress) => void;
}

/** A socket whose handshake is under way, or whose peer is being refused. */
interface HalfOpen {
  readonly key: string;
  readonly source: string;
  readonly socket: Socket;
  readonly timer: NodeJS.Timeout;
  /** Whether it has given its place back. */
  isOver: boolean;
}

/**
 * Accepts TCP sockets, runs TLS on each, and hands over those whose peer is trusted. Sockets in their handshake are bounded in
 * number and in time.
 */
export class TcpListener implements Listener {
  readonly #options: TcpListenerOptions;
  /** One socket begins TLS in each turn of the event loop, which costs about a millisecond. All half-open ones may wait. */
  readonly #turns: HandshakeTurns;
  readonly #server: Server;
  readonly #tlsServer: TlsServer;
  /** Half-open sockets by remote address, which a TLS socket and the socket under it have in common. */
  readonly #halfOpen = new Map<string, HalfOpen>();
  readonly #count = new HalfOpenCount();
  #setup: TlsSetup;

  /** @throws MeshError what `setup` throws */
  constructor(options: TcpListenerOptions) {
    this.#options = options;
    this.#turns = new HandshakeTurns({ turnMs: 0, maxWaiting: options.admission.maxHalfOpen });
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
      socket.destroy();
    }, handshakeTimeoutMs).unref();
    if (!this.#refreshSetup()) counters.reloadsFailed += 1;
    const key = keyOf(socket);
    const halfOpen: HalfOpen = { key, source, socket, timer, isOver: false };
    this.#halfOpen.set(halfOpen.key, halfOpen);
    this.#count.enter(source);
    socket.once('close', () => this.#release(halfOpen));
    this.#turns.take(() => {
      if (!socket.destroyed) this.#tlsServer.emit('connection', socket);
    });
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
    // A refused peer stays half-open until its socket is closed.
    if (this.#options.onSecure(socket, this.#setup)) this.#release(halfOpen);
  }

  #handleTlsError(cause: Error, socket: TLSSocket): void {
    this.#options.counters.tlsErrors += 1;
    socket.destroy();
    this.#options.onTlsError(cause, addressOf(socket).remote);
  }

  /** Gives a place back when a socket becomes a connection or closes, whichever comes first. */
  #release(halfOpen: HalfOpen): void {
    if (halfOpen.isOver) return;
    const { key, source, timer } = halfOpen;
    halfOpen.isOver = true;
    clearTimeout(timer);
    this.#count.leave(source);
    // A peer that has reset its socket may connect from the same port again before the reset is seen here.
    if (this.#halfOpen.get(key) === halfOpen) this.#halfOpen.delete(key);
  }
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
