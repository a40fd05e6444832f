/**
 * A bad network between a client and a server on this machine, for UDP and TCP on one port number: delay, loss,
 * reordering, duplicates, flipped bits, black holes, a rate, a largest datagram, new source ports, half-closed and reset
 * connections. Each fault may be set for one protocol, one direction, or both.
 *
 *     await using proxy = await ChaosProxy.start({ target, faults: { delayMs: 25, udp: { loss: 0.01 } } });
 *     await node.connect({ nodeId: 'n2', ...proxy.address });
 *     proxy.change({ udp: { blackHole: true } });
 *     proxy.change({ toClient: { maxDatagramBytes: 1280 } });
 *
 * Chances are seeded (mulberry32): see {@link Fate} for their order. Delays are never shorter than asked, and on an
 * idle machine up to 1 ms longer. All queues are bounded, and nothing is left running after {@link close}.
 */
import { randomInt } from 'node:crypto';
import type { SocketAddress } from '../../../src/transport/connection.js';
import { newProxyCounters, type ProxyCounters } from './counters.js';
import type { DatagramVerdict } from './datagram-path.js';
import { DelayLine } from './delay-line.js';
import {
  type ChaosSettings,
  type Direction,
  FAULTLESS,
  type FaultTable,
  PROTOCOLS,
  type Protocol,
  withSettings,
} from './faults.js';
import { TcpSide } from './tcp-side.js';
import { type UdpClient, UdpSide } from './udp-side.js';

export interface ChaosProxyOptions {
  /** The server: a numeric address. */
  readonly target: SocketAddress;
  /** Where clients find the proxy. Default 127.0.0.1, and a port of the system's choice. */
  readonly host?: string;
  readonly port?: number;
  readonly protocols?: readonly Protocol[];
  /** Default at random; see {@link ChaosProxy.seed}. */
  readonly seed?: number;
  /** Faults from the start; none by default. */
  readonly faults?: ChaosSettings;
  /** Gives every UDP client a new source port so often. */
  readonly rebindEveryMs?: number;
  /** Whether former source ports stay open for what comes late. Default true; the last 16 of each client do. */
  readonly keepOldPorts?: boolean;
  readonly onDatagram?: DatagramHook;
  /** UDP clients at once, and likewise TCP connections. Default 256. */
  readonly maxClients?: number;
  /** What may wait, of each client in each direction. Beyond it UDP drops, and TCP reads no more. Default 8 MiB. */
  readonly maxQueuedBytes?: number;
}

/**
 * Sees every UDP datagram before chance does, and may drop, replace or delay it. What it is given is its own to keep,
 * but not to change.
 */
export type DatagramHook = (
  direction: Direction,
  datagram: Buffer,
  client: SocketAddress,
) => DatagramVerdict;

/** Ports that the system picks for one protocol may be taken in the other. */
const PORT_ATTEMPTS = 8;

export class ChaosProxy implements AsyncDisposable {
  /** Of this run's chances: print it where a test fails. */
  readonly seed: number;
  readonly counters: ProxyCounters = newProxyCounters();
  onDatagram: DatagramHook | undefined;
  readonly #options: ChaosProxyOptions;
  readonly #line = new DelayLine();
  #faults: FaultTable;
  #address: SocketAddress;
  #udp: UdpSide | undefined;
  #tcp: TcpSide | undefined;
  #rebindTimer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  /** @throws the system's error when the port is taken; RangeError for faults that cannot be */
  static async start(options: ChaosProxyOptions): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(options);
    await proxy.#listen();
    return proxy;
  }

  private constructor(options: ChaosProxyOptions) {
    const { faults = {}, host = '127.0.0.1', port = 0, onDatagram } = options;
    this.#options = options;
    this.seed = options.seed ?? randomInt(2 ** 32);
    this.#faults = withSettings(FAULTLESS, faults);
    this.#address = { host, port };
    this.onDatagram = onDatagram;
  }

  /** Where clients connect to instead of the target. */
  get address(): SocketAddress {
    return this.#address;
  }

  get udpClients(): readonly UdpClient[] {
    return this.#udp?.clients ?? [];
  }

  /** Changes the faults that are named, from now on, for connections that exist as well. */
  change(settings: ChaosSettings): void {
    this.#faults = withSettings(this.#faults, settings);
    this.#tcp?.settingsChanged();
  }

  /** Gives every UDP client a new source port towards the server; fulfils when they are in use. */
  async rebind(): Promise<void> {
    await this.#udp?.rebind(this.#options.keepOldPorts ?? true);
  }

  /** Ends one direction of every TCP connection; the other goes on. What still comes that way is thrown away. */
  halfClose(direction: Direction): void {
    this.#tcp?.halfClose(direction);
  }

  /** Resets every TCP connection, both ways, at once. */
  reset(): void {
    this.#tcp?.reset();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    clearInterval(this.#rebindTimer);
    this.#line.clear();
    await Promise.all([this.#udp?.close(), this.#tcp?.close()]);
    this.#line.clear();
  }

  async #listen(): Promise<void> {
    const { protocols = PROTOCOLS, rebindEveryMs } = this.#options;
    const { host, port } = this.#address;
    for (let attempt = 1; ; attempt += 1) {
      try {
        if (protocols.includes('tcp')) await this.#bindTcp();
        if (protocols.includes('udp')) await this.#bindUdp();
        break;
      } catch (thrown) {
        await this.#tcp?.close();
        if (port !== 0 || attempt === PORT_ATTEMPTS) throw thrown;
        this.#address = { host, port };
      }
    }
    if (rebindEveryMs === undefined) return;
    this.#rebindTimer = setInterval(() => void this.rebind(), rebindEveryMs);
  }

  async #bindTcp(): Promise<void> {
    const tcp = await TcpSide.bind(this.#address, {
      ...this.#sideOptions(),
      counters: this.counters.tcp,
      faults: () => this.#faults.tcp,
    });
    this.#tcp = tcp;
    this.#address = { ...this.#address, port: tcp.port };
  }

  async #bindUdp(): Promise<void> {
    const udp = await UdpSide.bind(this.#address, {
      ...this.#sideOptions(),
      counters: this.counters.udp,
      faults: () => this.#faults.udp,
      onDatagram: (...parameters) => this.onDatagram?.(...parameters),
    });
    this.#udp = udp;
    this.#address = { ...this.#address, port: udp.port };
  }

  #sideOptions() {
    const { target, maxClients = 256, maxQueuedBytes = 8 * 1024 * 1024 } = this.#options;
    return { seed: this.seed, target, line: this.#line, maxClients, maxQueuedBytes };
  }
}
