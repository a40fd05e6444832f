/**
 * The sockets of one listening address.
 *
 * A wildcard address has a socket for each address of the machine. Node does not tell which address a datagram was sent to,
 * and the system would answer from the address that it prefers, which is not always the one that was dialed. Datagrams to an
 * interface's address arrive at its socket, and are answered from there. All others, such as to 127.0.0.2 or to a new
 * address, arrive at the wildcard's socket. Sockets follow the machine's addresses as they come and go. A connection goes on
 * when its datagrams arrive at another of these sockets; see `paths.ts`.
 *
 * The system lets sockets share a port only if all of them ask for it, and then another process could share it, too. So the
 * port is bound exclusively first. That socket makes way for the shared one in the same turn of the event loop. Of two nodes
 * that want the same port, one finds it taken.
 */
import type { SocketAddress } from '../../connection.js';
import { addressesBehind, isWildcard } from '../../local-addresses.js';
import { UdpSocket, type UdpSocketHandler } from './udp-socket.js';

/** How often new addresses are looked for. */
const SCAN_INTERVAL_MS = 2000;
/** The least time between two looks, when a dialer used an address that has no socket. */
const MIN_SCAN_INTERVAL_MS = 100;
/** Further addresses are served from the wildcard's socket. */
const MAX_SOCKETS = 256;

/** Attempts to bind a port that the system picks: another process may take it before it is bound again. */
const PORT_ATTEMPTS = 4;

/**
 * The sockets of one listening address: one, or for a wildcard one for each address of the machine, so that answers
 * leave from the address that was dialed. It follows addresses that come and go.
 */
export class ListeningSockets {
  /** The socket that is bound to the listening address itself. */
  readonly main: UdpSocket;
  readonly #all: Set<UdpSocket>;
  readonly #isWildcard: boolean;
  /** The other sockets, by their host. */
  readonly #ofAddress = new Map<string, UdpSocket>();
  readonly #opening = new Set<string>();
  #handler: UdpSocketHandler | undefined;
  #isInUse: (socket: UdpSocket) => boolean = () => false;
  #timer: NodeJS.Timeout | undefined;
  #scannedAtMs = 0;
  #isClosed = false;

  /**
   * @param address a port of 0 lets the system pick
   * @param isShared whether further sockets are to be bound to the same port and address, see `peer-sockets.ts`; to a
   * wildcard's port they are in any case
   * @throws MeshError ConnectFailed when the address cannot be bound
   */
  static async listen(address: SocketAddress, isShared = false): Promise<ListeningSockets> {
    if (!isWildcard(address.host)) {
      const bound = await (isShared ? bindShared(address) : UdpSocket.bind(address));
      return new ListeningSockets(bound, false);
    }
    const sockets = new ListeningSockets(await bindShared(address), true);
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
   * Starts receiving. Call it in the turn of the event loop in which the sockets were opened: later, datagrams are lost.
   * @param isInUse whether a connection sends from this socket, which then stays open after its address is gone
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

  /** A dialer's datagram arrived at this socket. If it is the wildcard's, the machine may have a new address. */
  arrivedAt(socket: UdpSocket): void {
    if (!this.#isWildcard || socket !== this.main) return;
    if (performance.now() - this.#scannedAtMs >= MIN_SCAN_INTERVAL_MS) void this.#scan();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await Promise.all([...this.#all].map((socket) => socket.close()));
  }

  /** Fulfils once every address that can have a socket has one. Never rejects. */
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
      // The address is gone again, or not usable yet, like a new IPv6 address. The next scan tries again.
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

/** Binds a shared socket to an address that nobody has, not even with sockets that would share it. */
async function bindShared(address: SocketAddress): Promise<UdpSocket> {
  const attempts = address.port === 0 ? PORT_ATTEMPTS : 1;
  for (let attempt = 1; ; attempt += 1) {
    const alone = await UdpSocket.bind(address);
    // Closing takes effect at once, and the port is bound again in this turn.
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
