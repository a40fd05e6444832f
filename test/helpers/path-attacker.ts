/** Somebody between a dialer and a node, who sees all datagrams, forges some, and has no key. TCP is passed on as it is. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import type { SocketAddress } from '../../src/transport/connection.js';
import type { Direction } from './chaos-proxy/faults.js';
import { relaySockets } from './relay-sockets.js';

/** Sees a datagram. @returns what goes on in its place, in order */
export type Tamper = (direction: Direction, datagram: Buffer) => readonly Buffer[];

const PORT_ATTEMPTS = 8;

export class PathAttacker {
  tamper: Tamper;
  readonly #target: SocketAddress;
  readonly #front: UdpSocket;
  readonly #back: UdpSocket;
  readonly #tcp: Server;
  readonly #sockets = new Set<Socket>();
  #dialer: SocketAddress | undefined;

  /** Closed when the test ends. */
  static async start(
    t: ExecutionContext,
    target: SocketAddress,
    tamper: Tamper = (_direction, datagram) => [datagram],
  ): Promise<PathAttacker> {
    for (let attempt = 1; ; attempt += 1) {
      const attacker = new PathAttacker(target, tamper);
      try {
        await attacker.#listen();
        t.teardown(() => attacker.#close());
        return attacker;
      } catch (thrown) {
        attacker.#close();
        // A port that is free for TCP may be taken for UDP.
        if (attempt === PORT_ATTEMPTS) throw thrown;
      }
    }
  }

  private constructor(target: SocketAddress, tamper: Tamper) {
    this.#target = target;
    this.tamper = tamper;
    this.#tcp = createServer((socket) => this.#passOn(socket));
    this.#front = createSocket('udp4', (datagram, from) => {
      this.#dialer = { host: from.address, port: from.port };
      for (const one of this.tamper('toServer', datagram)) this.#toServer(one);
    });
    this.#back = createSocket('udp4', (datagram) => {
      for (const one of this.tamper('toClient', datagram)) this.inject(one);
    });
  }

  /** Where the dialer finds the node, by either transport. */
  get address(): SocketAddress {
    const { port } = this.#tcp.address() as { port: number };
    return { host: '127.0.0.1', port };
  }

  /** Sends a datagram to the dialer. */
  inject(datagram: Buffer): void {
    if (this.#dialer !== undefined) {
      this.#front.send(datagram, this.#dialer.port, this.#dialer.host);
    }
  }

  async #listen(): Promise<void> {
    this.#tcp.listen(0, '127.0.0.1');
    await once(this.#tcp, 'listening');
    this.#front.bind(this.address.port, '127.0.0.1');
    this.#back.bind(0, '127.0.0.1');
    await Promise.all([once(this.#front, 'listening'), once(this.#back, 'listening')]);
  }

  #toServer(datagram: Buffer): void {
    this.#back.send(datagram, this.#target.port, this.#target.host);
  }

  #passOn(dialer: Socket): void {
    const node = connect(this.#target.port, this.#target.host);
    relaySockets(dialer, node, this.#sockets);
  }

  #close(): void {
    this.#front.close();
    this.#back.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#tcp.close();
  }
}
