/**
 * Takes datagrams out of the native connection and hands them to the socket. Every datagram of a connection leaves here, so
 * that all limits hold for all of them: those of an unproved peer, of one flush, and of the path's size.
 */
import type { HalfOpenGuard } from '../admission/half-open-guard.js';
import type { NativeConnection } from '../binding/native.js';
import type { PeerGuards } from '../guards/peer-guards.js';
import type { UdpSocket } from '../io/udp-socket.js';
import type { DatagramSize } from '../paths/datagram-size.js';
import { BASE_DATAGRAM_BYTES } from '../paths/path-mtu.js';
import type { ConnectionPaths } from '../paths/paths.js';
import type { QuicStreams } from '../streams/streams.js';
import type { ConnectionHost } from './connection-host.js';
import { activePath } from './loss-timer.js';
import type { SendPacer } from './send-pacer.js';

/** A packet counts as lost when one that was sent three later is acknowledged (RFC 9002, section 6.1.1). */
const PROBE_PACKETS = 3;
/** Memory that no packet fits into. */
const NO_ROOM_BYTES = 1;
/** Memory for the longest header, and no packet: after the first byte, a connection ID of up to 20 (RFC 9000, section 17.3). */
const HEADER_ROOM_BYTES = 21;

export interface DatagramPumpOptions {
  readonly native: NativeConnection;
  readonly host: Pick<ConnectionHost, 'sendMemory' | 'sendDatagram' | 'flushSoon'>;
  readonly paths: ConnectionPaths;
  readonly streams: QuicStreams;
  readonly guards: PeerGuards;
  readonly size: DatagramSize;
  /** Spreads packets over the round trip. `undefined`: they leave at once. */
  readonly pacer: SendPacer | undefined;
  /** The native connection refused to write a datagram, and has failed. */
  readonly failed: (thrown: unknown) => void;
}

/** Sends what the native connection of one connection has to send. */
export class DatagramPump {
  /** Limits what comes in and goes out until the peer has proved itself; `undefined` from then on. */
  guard: HalfOpenGuard | undefined;
  readonly #options: DatagramPumpOptions;
  readonly #native: NativeConnection;
  readonly #pacer: SendPacer | undefined;
  #datagramsSent = 0;
  #isOpen = false;
  /** Runs while packets wait for their time. */
  #timer: NodeJS.Timeout | undefined;

  /** @param guard the limits for a peer that has yet to prove itself. It keeps keys, and is let go of when the handshake is done */
  constructor(options: DatagramPumpOptions, guard: HalfOpenGuard | undefined) {
    this.#options = options;
    this.#native = options.native;
    this.guard = guard;
    this.#pacer = options.pacer;
  }

  get datagramsSent(): number {
    return this.#datagramsSent;
  }

  /**
   * Lets TLS go on with what has arrived, and sends nothing. To be called after every datagram of a handshake.
   *
   * quiche 0.18.0 stops where TLS finds that the peer refused early data, and goes on when a datagram is due. So the handshake
   * would end while a datagram is written, which may carry early data that was lost: to a peer that nobody has looked at yet.
   * @throws what the binding throws when TLS fails
   */
  advanceTls(): void {
    this.#native.send(this.#options.host.sendMemory.room(NO_ROOM_BYTES));
  }

  /**
   * Sends what there is and may leave by now, up to the limit of one flush. Beyond, the host flushes again in a later turn.
   * @returns whether the native connection has nothing more to send now
   */
  flush(): boolean {
    const pacer = this.#isOpen ? this.#pacer : undefined;
    if (pacer?.begin(performance.now()) === true) this.#learnPace(pacer);
    return this.#send(pacer);
  }

  /** Sends what there is, whether it is due or not. @returns as {@link flush} */
  flushAll(): boolean {
    return this.#send(undefined);
  }

  #send(pacer: SendPacer | undefined): boolean {
    const { guards, size, host } = this.#options;
    const limitBytes = guards.sentBytes + guards.flushBytes;
    for (;;) {
      if (guards.sentBytes >= limitBytes) {
        host.flushSoon();
        return false;
      }
      const waitMs = pacer?.waitMs ?? 0;
      if (waitMs > 0) {
        this.#flushIn(waitMs);
        return false;
      }
      const bytes = this.sendNext(pacer?.sizeOf(size.bytes) ?? size.bytes);
      if (bytes === 0) return true;
      pacer?.sent(bytes);
      size.sent(bytes);
    }
  }

  /** The handshake is done. Until then a datagram of fewer than 1,200 bytes may be dropped, and nothing is paced. */
  established(): void {
    this.guard = undefined;
    this.#isOpen = true;
  }

  /** The native connection's path is another one. */
  pathChanged(): void {
    this.#pacer?.restart();
  }

  /** The connection is over: nothing leaves any more. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #learnPace(pacer: SendPacer): void {
    const path = activePath(this.#native);
    if (path !== undefined) pacer.learn(performance.now(), path.cwnd, path.rtt);
  }

  #flushIn(waitMs: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#options.host.flushSoon();
    }, waitMs);
  }

  /** Sends the next datagram, of up to `maxBytes`. @returns its size; 0 when there is none, or it must not leave now */
  sendNext(maxBytes: number): number {
    const { host, paths, guards, streams, failed } = this.#options;
    const room = this.#sendable(host.sendMemory.room(maxBytes));
    if (room.length === 0) return 0;
    let sent: ReturnType<NativeConnection['send']>;
    try {
      sent = this.#native.send(room);
    } catch (thrown) {
      failed(thrown);
      return 0;
    }
    if (sent === null) return 0;
    const [bytes, { from }] = sent;
    this.guard?.sent(bytes);
    guards.sentBytes += bytes;
    streams.writer.sent(bytes);
    this.#datagramsSent += 1;
    const remote = paths.sent(bytes);
    host.sendDatagram(host.sendMemory.take(bytes), remote, paths.socketOf(from));
    return bytes;
  }

  /**
   * Makes the native connection find that the congestion window is full, until the next packet leaves: acknowledgements up to
   * then let the window grow. quiche 0.18.0 takes it so where it has something to send and no room for a packet. What it has to
   * send is a PING frame, which goes with the next packet.
   */
  claimWindow(): void {
    this.#native.sendAckEliciting();
    this.#native.send(this.#options.host.sendMemory.room(HEADER_ROOM_BYTES));
  }

  /** Sends packets behind the last ones: their acknowledgement tells a loss among those from mere reordering. */
  probeTail(): void {
    for (let packet = 0; packet < PROBE_PACKETS; packet += 1) {
      this.#native.sendAckEliciting();
      this.flushAll();
    }
  }

  /** Sends what a closed native connection has to send. @returns a view of the datagram; `undefined` for none */
  sendClosing(): Buffer | undefined {
    const { sendMemory } = this.#options.host;
    const memory = this.#sendable(sendMemory.room(BASE_DATAGRAM_BYTES));
    if (memory.length === 0) return undefined;
    try {
      const sent = this.#native.send(memory);
      if (sent === null) return undefined;
      const [bytes, { from }] = sent;
      const datagram = sendMemory.take(bytes);
      this.#sendPacket(datagram, this.#options.paths.socketOf(from));
      return datagram;
    } catch {
      // A connection that cannot even write its close is forgotten like any other.
      return undefined;
    }
  }

  /** Sends a packet of ours once more, unless the peer's credit does not cover it. */
  repeat(packet: Buffer): void {
    if (this.#sendable(packet).length < packet.length) return;
    this.#sendPacket(packet, this.#options.paths.current.socket);
  }

  #sendPacket(datagram: Buffer, socket: UdpSocket): void {
    const { host, paths } = this.#options;
    this.guard?.sent(datagram.length);
    host.sendDatagram(datagram, paths.sent(datagram.length), socket);
  }

  /** The part of the memory that may be sent now to a peer that may have moved, or has yet to prove itself. */
  #sendable(memory: Buffer): Buffer {
    const sendable = this.#options.paths.sendable(memory);
    return this.guard?.sendable(sendable) ?? sendable;
  }
}
