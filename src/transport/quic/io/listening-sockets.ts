/**
 * The sockets of one listening address. A wildcard has one for each address of the machine: Node does not say which
 * address a datagram was sent to, and the system would answer from the one that it prefers, which a dialer that dialed
 * another one does not know. Datagrams to what an interface has arrive at its socket, and leave from there; all others,
 * as to 127.0.0.2 and to an address that is new, at the wildcard.
 *
 * Addresses that come and go are followed. A connection stays what it is when its datagrams arrive at another of these
 * sockets: see `paths.ts`.
 *
 * The system lets sockets share a port only if all of them say so, and then those of another process could as well. So
 * the port is had alone first, and given up for the shared socket in the same turn of the event loop: another node that
 * wants the port finds it taken, or has it and we find it taken.
 */
import type { SocketAddress } from '../../connection.js';
import { addressesBehind, isWildcard } from '../../local-addresses.js';
import { UdpSocket, type UdpSocketHandler } from './udp-socket.js';

/** How soon a new address is seen by itself. */
const SCAN_INTERVAL_MS = 2000;
/** How soon again when a dialer came by an address that has no socket. */
const MIN_SCAN_INTERVAL_MS = 100;
/** Addresses beyond are served from the wildcard. */
const MAX_SOCKETS = 256;

/** Between giving the port up and having it again somebody may have taken it, if the system picked it. */
const PORT_ATTEMPTS = 4;

/**
 * The sockets of one listening address: one, or for a wildcard one for each address of the machine, so that answers
 * leave from the address that was dialed. It follows addresses that come and go.
 */
export class ListeningSockets {
  /** Bound to the address that was asked for. */
  readonly main: UdpSocket;
  readonly #all: Set<UdpSocket>;
  readonly #isWildcard: boolean;
  /** By host. */
  readonly #ofAddress = new Map<string, UdpSocket>();
  readonly #opening = new Set<string>();
  #handler: UdpSocketHandler | undefined;
  #isInUse: (socket: UdpSocket) => boolean = () => false;
  #timer: NodeJS.Timeout | undefined;
  #scannedAtMs = 0;
  #isClosed = false;

  /**
   * @param address a port of 0 lets the system pick
   * @throws MeshError ConnectFailed when the address cannot be bound
   */
  static async listen(address: SocketAddress): Promise<ListeningSockets> {
    if (!isWildcard(address.host))
      return new ListeningSockets(await UdpSocket.bind(address), false);
    const sockets = new ListeningSockets(await bindWildcard(address), true);
    await sockets.#scan();
    return sockets;
  }

  /** One socket that only dials. @throws MeshError ConnectFailed */
  static async toDial(host: string): Promise<ListeningSockets> {
    return new ListeningSockets(await UdpSocket.bind({ host, port: 0 }), false);
  }

  private constructor(main: UdpSocket, hasWildcard: boolean) {
    this.main = main;
    this.#all = new Set([main]);
    this.#isWildcard = hasWildcard;
  }

  /**
   * To be called in the turn in which the sockets were opened.
   * @param isInUse whether a connection sends by this socket: then it stays, though its address is gone
   */
  begin(handler: UdpSocketHandler, isInUse: (socket: UdpSocket) => boolean): void {
    this.#handler = handler;
    this.#isInUse = isInUse;
    for (const socket of this.#all) socket.handler = handler;
    if (!this.#isWildcard) return;
    this.#timer = setInterval(() => void this.#scan(), SCAN_INTERVAL_MS).unref();
  }

  has(socket: UdpSocket): boolean {
    return this.#all.has(socket);
  }

  /** A dialer came by this socket: if by the wildcard, there may be an address that is not known yet. */
  arrivedAt(socket: UdpSocket): void {
    if (!this.#isWildcard || socket !== this.main) return;
    if (performance.now() - this.#scannedAtMs >= MIN_SCAN_INTERVAL_MS) void this.#scan();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await Promise.all([...this.#all].map((socket) => socket.close()));
  }

  /** Fulfils once every address has its socket that can have one. Never rejects. */
  async #scan(): Promise<void> {
    this.#scannedAtMs = performance.now();
    const hosts = new Set(addressesBehind(this.main.address.host).map(({ host }) => host));
    for (const [host, socket] of this.#ofAddress) {
      if (!hosts.has(host) && !this.#isInUse(socket)) this.#leave(host, socket);
    }
    await Promise.all([...hosts].map((host) => this.#open(host)));
  }

  async #open(host: string): Promise<void> {
    if (this.#isClosed || this.#ofAddress.has(host) || this.#opening.has(host)) return;
    if (this.#ofAddress.size + this.#opening.size >= MAX_SOCKETS) return;
    this.#opening.add(host);
    try {
      const socket = await UdpSocket.bind({ host, port: this.main.address.port }, true);
      this.#take(host, socket);
    } catch {
      // Gone again, or not usable yet, as IPv6 addresses are for a second: the next scan tries again.
    } finally {
      this.#opening.delete(host);
    }
  }

  #take(host: string, socket: UdpSocket): void {
    if (this.#isClosed) {
      void socket.close();
      return;
    }
    socket.handler = this.#handler;
    this.#ofAddress.set(host, socket);
    this.#all.add(socket);
  }

  #leave(host: string, socket: UdpSocket): void {
    this.#ofAddress.delete(host);
    this.#all.delete(socket);
    void socket.close();
  }
}

async function bindWildcard(address: SocketAddress): Promise<UdpSocket> {
  const attempts = address.port === 0 ? PORT_ATTEMPTS : 1;
  for (let attempt = 1; ; attempt += 1) {
    const alone = await UdpSocket.bind(address);
    // Closes now, and binds again in this turn.
    const closed = alone.close();
    try {
      return await UdpSocket.bind(alone.address, true);
    } catch (thrown) {
      if (attempt === attempts) throw thrown;
    } finally {
      await closed;
    }
  }
}
