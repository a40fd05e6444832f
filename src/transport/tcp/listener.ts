/** Accepts TCP sockets and takes them through TLS, a bounded number at a time and for a bounded time. */
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
  /** Sockets above `maxHalfOpen` or their source's share of it, or gone before they were looked at. */
  halfOpenDropped: number;
  /** Sockets that took longer than `handshakeTimeoutMs`. */
  handshakeTimeouts: number;
  /** Sockets whose TLS handshake failed or was broken off. */
  tlsErrors: number;
  /** Times that certificates changed and could not be used. */
  reloadsFailed: number;
}

/** What a {@link TcpListener} is given. */
export interface TcpListenerOptions {
  readonly host: string;
  readonly port: number;
  /** Asked at every socket, so that new certificates hold from the next one on. Answers with the same object until then. */
  readonly setup: () => TlsSetup;
  readonly handshakeTimeoutMs: number;
  /** How many sockets at once may not be connections yet. */
  readonly admission: HalfOpenLimits;
  readonly counters: ListenerCounters;
  /** Gets the secrets of every connection. */
  readonly keyLog?: KeyLog | undefined;
  /** The TLS handshake is done. @returns whether the socket became a connection */
  readonly onSecure: (socket: TLSSocket, setup: TlsSetup) => boolean;
  /** The TLS handshake failed, over what the socket sent. */
  readonly onTlsError: (cause: Error, remoteAddress: SocketAddress) => void;
}

/** A socket that is not a connection yet, or is being turned away. */
interface HalfOpen {
  readonly key: string;
  readonly source: string;
  readonly socket: Socket;
  readonly timer: NodeJS.Timeout;
  /** Takes no place any more. */
  isOver: boolean;
}

/**
 * Accepts TCP sockets, takes each through TLS, and hands over those whose peer is trusted. Sockets that are not so far
 * are bounded, in number and in time.
 */
export class TcpListener implements Listener {
  readonly #options: TcpListenerOptions;
  /** In each turn one socket begins TLS, which costs about a millisecond. All wait that are half-open, if need be. */
  readonly #turns: HandshakeTurns;
  readonly #server: Server;
  readonly #tlsServer: TlsServer;
  /** By remote address: all that a TLS socket and the socket under it have in common. */
  readonly #halfOpen = new Map<string, HalfOpen>();
  readonly #count = new HalfOpenCount();
  #setup: TlsSetup;

  /** @throws MeshError what `setup` throws */
  constructor(options: TcpListenerOptions) {
    this.#options = options;
    this.#turns = new HandshakeTurns({ turnMs: 0, maxWaiting: options.admission.maxHalfOpen });
    this.#setup = options.setup();
    // Sockets come in through a server of ours and are passed on: so they can be counted, and dropped,
    // before any work is done for them.
    // Paused: TLS is to read all that arrives, also while a socket waits for its turn.
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

  /** @throws MeshError ConnectFailed when the address cannot be had, NodeClosed when it is closed meanwhile */
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
      // Exclusive: the workers of a node:cluster would share one handle, and each get peers of the others.
      this.#server.listen({ host, port, exclusive: true }, () => {
        this.#server.off('error', onError);
        this.#server.off('close', onClose);
        // From here on errors are those of single sockets that could not be accepted.
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
    // A socket that errs before TLS listens to it must not end the process.
    socket.on('error', () => {});
    const { handshakeTimeoutMs, counters } = this.#options;
    const source = sourceOf(socket.remoteAddress ?? '');
    if (socket.remoteAddress === undefined || !this.#hasRoomFor(source)) {
      counters.halfOpenDropped += 1;
      socket.destroy();
      return;
    }
    // Hard, unlike the server's own `handshakeTimeout`, which starts again with every byte.
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

  /** @returns whether what is in force could be used */
  #refreshSetup(): boolean {
    try {
      const setup = this.#options.setup();
      if (setup === this.#setup) return true;
      this.#tlsServer.setSecureContext(setup.options);
      this.#setup = setup;
      return true;
    } catch {
      // Certificates that cannot be used do not end what the old ones still can.
      return false;
    }
  }

  #handleSecure(socket: TLSSocket): void {
    const halfOpen = this.#halfOpen.get(keyOf(socket));
    if (halfOpen === undefined) {
      socket.destroy();
      return;
    }
    // The peer is judged by what is in force now, not by what was when its socket came.
    this.#refreshSetup();
    // One that is turned away stays half-open until its socket is gone.
    if (this.#options.onSecure(socket, this.#setup)) this.#release(halfOpen);
  }

  #handleTlsError(cause: Error, socket: TLSSocket): void {
    this.#options.counters.tlsErrors += 1;
    socket.destroy();
    this.#options.onTlsError(cause, addressOf(socket).remote);
  }

  /** When a socket has become a connection, and when it closes: whichever comes first. */
  #release(halfOpen: HalfOpen): void {
    if (halfOpen.isOver) return;
    const { key, source, timer } = halfOpen;
    halfOpen.isOver = true;
    clearTimeout(timer);
    this.#count.leave(source);
    // A peer that has reset its socket may be back from the same port before we hear of the reset.
    if (this.#halfOpen.get(key) === halfOpen) this.#halfOpen.delete(key);
  }
}

/** The addresses of a socket; empty ones when it is gone already. */
export function addressOf(socket: Socket): { local: SocketAddress; remote: SocketAddress } {
  return {
    local: { host: socket.localAddress ?? '', port: socket.localPort ?? 0 },
    remote: { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 },
  };
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}`;
}
