/**
 * A UDP socket and the native QUIC connections on it, driven by nothing but a loop: a datagram in, stream bytes
 * read, datagrams out. No frames, no limits of its own, no bookkeeping of streams besides what could not be sent.
 */
import { randomBytes } from 'node:crypto';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { textOf } from '../../../src/base/realms.js';
import { DEFAULT_STREAM_LIMITS, type SocketAddress } from '../../../src/transport/connection.js';
import { LOOPBACK_DATAGRAM_BYTES } from '../../../src/transport/quic/binding/config.js';
import {
  loadNative,
  type NativeConfig,
  type NativeConnection,
  type NativeQuic,
} from '../../../src/transport/quic/binding/native.js';
import { ETHERNET_DATAGRAM_BYTES } from '../../../src/transport/quic/io/packet.js';
import type { ContenderOptions } from './contender.js';

/** What is done with streams. Called synchronously. */
export interface StreamReader {
  /** Bytes of a stream; only valid during the call. */
  receive(connection: BareConnection, streamId: number, bytes: Buffer, fin: boolean): void;
  /** There may be room for more bytes. */
  progress?(connection: BareConnection): void;
}

/** When what QUIC has to send is sent: once a datagram was read, or once all that are there were read. */
export type Flushing = 'each datagram' | 'each turn';

export interface BareOptions extends ContenderOptions {
  readonly role: 'server' | 'client';
  readonly reader: StreamReader;
  readonly flushing: Flushing;
}

const ID_BYTES = 16;
const SLAB_BYTES = 512 * 1024;
const MAX_DATAGRAM_BYTES = 65_535;
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;
const UNI_STREAMS = 1024;
/** In place of a number of bytes: the peer has allowed no more streams so far. */
const NO_PLACE = -1;
const FORGET_AT_ONCE = 1024;
const IDLE_TIMEOUT_MS = 120_000;
const HANDSHAKE_LIMIT_MS = 10_000;
/** Long headers begin the handshake; everything after it has short ones (RFC 8999). */
const LONG_HEADER = 0x80;

export class BareSocket {
  readonly local: SocketAddress;
  readonly #socket: Socket;
  readonly #native: NativeQuic;
  readonly #config: NativeConfig;
  readonly #options: BareOptions;
  readonly #connections = new Map<string, BareConnection>();
  /** As long as there is but one connection, every short header is its own. */
  #only: BareConnection | undefined;
  #slab = new SendSlab();
  readonly #slabs = [this.#slab];

  static async bind(options: BareOptions): Promise<BareSocket> {
    const native = await loadNative();
    const socket = createSocket({
      type: 'udp4',
      lookup: (host, _options, done) => done(null, host, 4),
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(0, options.role === 'server' ? options.host : undefined, resolve);
    });
    socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
    socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
    return new BareSocket(socket, native, options);
  }

  private constructor(socket: Socket, native: NativeQuic, options: BareOptions) {
    this.#socket = socket;
    this.#native = native;
    this.#config = createConfig(native, options);
    this.#options = options;
    const { address, port } = socket.address();
    this.local = { host: address, port };
    socket.on('message', (datagram, remote) => this.#receive(datagram, remote));
  }

  /** Fulfils when the handshake is done. */
  async connect(remote: SocketAddress): Promise<BareConnection> {
    const id = randomBytes(ID_BYTES);
    const native = this.#native.Connection.connect(null, id, this.local, remote, this.#config);
    const connection = this.#add(native, remote, [id.toString('latin1')]);
    connection.flush();
    await connection.established(HANDSHAKE_LIMIT_MS);
    return connection;
  }

  close(): void {
    for (const connection of new Set(this.#connections.values())) connection.close();
    this.#connections.clear();
    this.#socket.close();
  }

  /** Room for the binding to write a datagram into. */
  room(): Buffer {
    if (!this.#slab.hasRoom) this.#slab = this.#nextSlab();
    return this.#slab.buffer.subarray(this.#slab.offset);
  }

  /** Sends what was written into the room. */
  send(length: number, to: SocketAddress): void {
    const slab = this.#slab;
    this.#socket.send(slab.buffer, slab.offset, length, to.port, to.host, slab.sent);
    slab.offset += length;
    slab.unsent += 1;
  }

  /** One that the system has taken all of, or a new one. */
  #nextSlab(): SendSlab {
    let slab = this.#slabs.find(({ unsent }) => unsent === 0);
    if (slab === undefined) {
      slab = new SendSlab();
      this.#slabs.push(slab);
    }
    slab.offset = 0;
    return slab;
  }

  #receive(datagram: Buffer, remote: RemoteInfo): void {
    const isLong = ((datagram[0] ?? 0) & LONG_HEADER) !== 0;
    const connection = (isLong ? undefined : this.#only) ?? this.#route(datagram, isLong, remote);
    connection?.receive(datagram);
  }

  #route(datagram: Buffer, isLong: boolean, remote: RemoteInfo): BareConnection | undefined {
    const id = isLong
      ? datagram.toString('latin1', 6, 6 + (datagram[5] ?? 0))
      : datagram.toString('latin1', 1, 1 + ID_BYTES);
    const known = this.#connections.get(id);
    if (known !== undefined || !isLong || this.#options.role === 'client') return known;
    const scid = randomBytes(ID_BYTES);
    const from = { host: remote.address, port: remote.port };
    const native = this.#native.Connection.accept(scid, null, this.local, from, this.#config);
    return this.#add(native, from, [scid.toString('latin1'), id]);
  }

  #add(native: NativeConnection, remote: SocketAddress, ids: readonly string[]): BareConnection {
    const connection = new BareConnection(native, this, remote, this.#options, () => {
      for (const id of ids) this.#connections.delete(id);
      if (this.#only === connection) this.#only = undefined;
    });
    this.#only = this.#connections.size === 0 ? connection : undefined;
    for (const id of ids) this.#connections.set(id, connection);
    return connection;
  }
}

/** Memory for datagrams, used again once the socket has passed on all that lies in it. */
class SendSlab {
  readonly buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
  offset = 0;
  unsent = 0;
  readonly sent = (): void => {
    this.unsent -= 1;
  };

  get hasRoom(): boolean {
    return SLAB_BYTES - this.offset >= MAX_DATAGRAM_BYTES;
  }
}

interface Unsent {
  readonly bytes: Buffer;
  readonly fin: boolean;
}

/** Stream bytes are read into this one by one, and looked at before the next. */
const scratch = Buffer.allocUnsafeSlow(64 * 1024);

export class BareConnection {
  readonly #native: NativeConnection;
  readonly #socket: BareSocket;
  readonly #info: { readonly from: SocketAddress; readonly to: SocketAddress };
  readonly #reader: StreamReader;
  readonly #flushing: Flushing;
  readonly #forget: () => void;
  readonly #unsent = new Map<number, Unsent[]>();
  /** Whole messages of streams that have no place on the wire yet, in the order of their ids; those before are gone. */
  readonly #waiting: (Unsent & { readonly id: number })[] = [];
  #nextWaiting = 0;
  #onEstablished: (() => void) | undefined;
  #flushDue = false;
  #timer: NodeJS.Timeout | undefined;
  #timerFiresMs = 0;
  #deadlineMs = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(
    native: NativeConnection,
    socket: BareSocket,
    remote: SocketAddress,
    { reader, flushing }: BareOptions,
    forget: () => void,
  ) {
    this.#native = native;
    this.#socket = socket;
    this.#info = { from: remote, to: socket.local };
    this.#reader = reader;
    this.#flushing = flushing;
    this.#forget = forget;
  }

  async established(limitMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no QUIC handshake in time')), limitMs);
      this.#onEstablished = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** The loop: a datagram in, everything that it brought out of its streams, and what there is to send. */
  receive(datagram: Buffer): void {
    const native = this.#native;
    try {
      native.recv(datagram, this.#info);
    } catch {
      // The connection has closed over it; whoever waits on it meets the limit.
    }
    if (this.#onEstablished !== undefined && native.isEstablished()) {
      this.#onEstablished();
      this.#onEstablished = undefined;
    }
    // To ask first is cheaper: the binding makes functions for every list of streams.
    if (native.isReadable()) for (const id of native.readable()) this.#read(id);
    this.#pump();
    if (this.#flushing === 'each turn') this.flushSoon();
    else this.flush();
  }

  /** Hands bytes to QUIC, and keeps a copy of those that it has no room for. */
  send(streamId: number, bytes: Uint8Array, fin: boolean): void {
    const queue = this.#unsent.get(streamId);
    if (queue !== undefined) {
      queue.push({ bytes: Buffer.from(bytes), fin });
      return;
    }
    // Streams get their places in the order of their ids.
    const isFirst = this.#waiting.length === 0;
    const took = isFirst ? this.#trySend(streamId, bytes, fin) : NO_PLACE;
    if (took === NO_PLACE) {
      this.#waiting.push({ id: streamId, bytes: Buffer.from(bytes), fin });
    } else if (took < bytes.length) {
      this.#unsent.set(streamId, [{ bytes: Buffer.from(bytes.subarray(took)), fin }]);
    }
  }

  /** Hands over as much as there is room for. @returns how many bytes that was */
  trySend(streamId: number, bytes: Uint8Array, fin: boolean): number {
    return Math.max(0, this.#trySend(streamId, bytes, fin));
  }

  #trySend(streamId: number, bytes: Uint8Array, fin: boolean): number {
    try {
      return this.#native.streamSend(streamId, bytes, fin) ?? 0;
    } catch (thrown) {
      if (textOf(thrown) === 'StreamLimit') return NO_PLACE;
      throw thrown;
    }
  }

  /** Flushes when this turn's input is read. */
  flushSoon(): void {
    if (this.#flushDue) return;
    this.#flushDue = true;
    setImmediate(() => {
      this.#flushDue = false;
      this.flush();
    });
  }

  flush(): void {
    if (this.#closed) return;
    const native = this.#native;
    for (let sent = native.send(this.#socket.room()); sent !== null; ) {
      this.#socket.send(sent[0], this.#info.from);
      sent = native.send(this.#socket.room());
    }
    if (native.isClosed()) this.#release();
    else this.#arm(native.timeout());
  }

  close(): void {
    if (this.#closed) return;
    try {
      this.#native.close(true, 0, Buffer.alloc(0));
    } catch {
      // It is closed already.
    }
    this.flush();
    this.#release();
  }

  #read(id: number): void {
    for (;;) {
      const read = this.#native.streamRecv(id, scratch);
      if (read === null) return;
      const [length, fin] = read;
      this.#reader.receive(this, id, scratch.subarray(0, length), fin);
      if (fin || length < scratch.length) return;
    }
  }

  #pump(): void {
    for (const [id, queue] of this.#unsent) {
      for (let first = queue[0]; first !== undefined; first = queue[0]) {
        const took = this.trySend(id, first.bytes, first.fin);
        if (took < first.bytes.length) {
          queue[0] = { bytes: first.bytes.subarray(took), fin: first.fin };
          break;
        }
        queue.shift();
      }
      if (queue.length === 0) this.#unsent.delete(id);
    }
    this.#openStreams();
    this.#reader.progress?.(this);
  }

  /** Asks first, since an attempt without a place throws, which is slow. */
  #openStreams(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0 || this.#native.peerStreamsLeftBidi() === 0) return;
    for (let first = waiting[this.#nextWaiting]; first; first = waiting[++this.#nextWaiting]) {
      const { id, bytes, fin } = first;
      const took = this.#trySend(id, bytes, fin);
      if (took === NO_PLACE) break;
      if (took < bytes.length) this.#unsent.set(id, [{ bytes: bytes.subarray(took), fin }]);
    }
    if (this.#nextWaiting < Math.min(waiting.length, FORGET_AT_ONCE)) return;
    waiting.splice(0, this.#nextWaiting);
    this.#nextWaiting = 0;
  }

  /** One timer, that is only set again when it fires too late or too early. */
  #arm(delayMs: number | null): void {
    this.#deadlineMs = delayMs === null ? Number.POSITIVE_INFINITY : performance.now() + delayMs;
    if (delayMs === null) return;
    if (this.#timer !== undefined && this.#timerFiresMs <= this.#deadlineMs) return;
    clearTimeout(this.#timer);
    this.#timerFiresMs = this.#deadlineMs;
    this.#timer = setTimeout(() => this.#fired(), Math.max(1, Math.ceil(delayMs) + 1));
  }

  #fired(): void {
    this.#timer = undefined;
    const leftMs = this.#deadlineMs - performance.now();
    if (leftMs > 0) {
      this.#arm(leftMs === Number.POSITIVE_INFINITY ? null : leftMs);
      return;
    }
    this.#native.onTimeout();
    this.#pump();
    this.flush();
  }

  #release(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#forget();
  }
}

/** The limits and windows that quicmesh has; quiche's own congestion control as it comes. */
function createConfig(native: NativeQuic, options: ContenderOptions): NativeConfig {
  const { host, tls } = options;
  const isLoopback = host.startsWith('127.');
  const { connectionWindowBytes, streamWindowBytes, maxIncomingStreams } = DEFAULT_STREAM_LIMITS;
  const config = native.Config.withBoringSslCtx(
    true,
    false,
    Buffer.from(tls.ca),
    [Buffer.from(tls.key)],
    [Buffer.from(tls.cert)],
  );
  config.setApplicationProtos(['bench']);
  config.setMaxIdleTimeout(IDLE_TIMEOUT_MS);
  config.setMaxRecvUdpPayloadSize(MAX_DATAGRAM_BYTES - 8);
  config.setMaxSendUdpPayloadSize(
    options.maxDatagramBytes ?? (isLoopback ? LOOPBACK_DATAGRAM_BYTES : ETHERNET_DATAGRAM_BYTES),
  );
  config.setInitialMaxData(connectionWindowBytes);
  config.setMaxConnectionWindow(connectionWindowBytes);
  config.setInitialMaxStreamDataBidiLocal(streamWindowBytes);
  config.setInitialMaxStreamDataBidiRemote(streamWindowBytes);
  config.setInitialMaxStreamDataUni(streamWindowBytes);
  config.setMaxStreamWindow(streamWindowBytes);
  config.setInitialMaxStreamsBidi(maxIncomingStreams);
  config.setInitialMaxStreamsUni(UNI_STREAMS);
  config.setActiveConnectionIdLimit(2);
  config.setCcAlgorithmName('cubic');
  config.enableHystart(true);
  config.enablePacing(false);
  return config;
}
