/**
 * A client as another implementation would have it: a bare loop around the binding, with the streams, resets and limits
 * of its own choice. It answers proofs, and asks for a sign of life when it has heard nothing for a while.
 */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { MessageCodec } from '../../../src/protocol/codec.js';
import { encodeFrame, type Frame, FrameDecoder, FrameFlag } from '../../../src/protocol/frame.js';
import { createHandshakeRequest } from '../../../src/protocol/handshake.js';
import type { Message } from '../../../src/protocol/message.js';
import {
  DEFAULT_STREAM_LIMITS,
  type SocketAddress,
  type TlsMaterial,
} from '../../../src/transport/connection.js';
import { createNativeConfig } from '../../../src/transport/quic/binding/config.js';
import {
  loadNative,
  type NativeConfig,
  type NativeConnection,
} from '../../../src/transport/quic/binding/native.js';
import { CONTROL_STREAM_ID } from '../../../src/transport/quic/streams/control-stream.js';
import { messageIdOf } from '../../../src/transport/quic/streams/stream.js';
import { handshakeConfig } from '../shake-hands.js';
import { until } from '../until.js';
import type { Teardown } from './hostile-client.js';
import { newKnock } from './knocking.js';

const MAX_DATAGRAM_BYTES = 65_535;
const PROOF_REQUEST_ID = 1;
const PROOF_ANSWER_ID = 2;
const codec = new MessageCodec();

/** One stream, as the client sees it. */
export interface PlainStream {
  readonly id: number;
  readonly messageId: number;
  readonly frames: Frame[];
  /** Payload bytes that came. */
  bytes: number;
  /** The node's FIN is here, or what the binding said in its place. */
  ended: boolean;
  error: string | undefined;
}

export interface PlainClientOptions {
  /** In the handshake; default 100. */
  readonly maxStreams?: number;
  readonly configure?: (config: NativeConfig) => void;
  /** Silence after which it asks for a sign of life. Default 1 s; SPEC.md, "QUIC". */
  readonly askAfterMs?: number;
}

export class PlainClient {
  readonly native: NativeConnection;
  /** The reset frames on the node's control stream. */
  readonly notices: Frame[] = [];
  /** How many proofs were asked for. */
  proofs = 0;
  readonly streams = new Map<number, PlainStream>();
  /** Whether bidirectional streams are left unread. */
  isPaused = false;
  /** By port, the first one among them. */
  readonly #sockets = new Map<number, Socket>();
  readonly #target: SocketAddress;
  readonly #room = Buffer.alloc(MAX_DATAGRAM_BYTES);
  readonly #decoders = new Map<number, FrameDecoder>();
  readonly #unsent = new Map<number, { bytes: Buffer; fin: boolean }>();
  #nextId = 0;
  #heardMs = performance.now();

  /** Fulfils when the node has accepted the handshake. */
  static async connect(
    t: Teardown,
    target: SocketAddress,
    tls: TlsMaterial,
    options: PlainClientOptions = {},
  ): Promise<PlainClient> {
    const native = await loadNative();
    const config = createNativeConfig(native, tls, {
      limits: DEFAULT_STREAM_LIMITS,
      idleTimeoutMs: 30_000,
      maxDatagramBytes: 1350,
    });
    options.configure?.(config);
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const local = { host: '127.0.0.1', port: socket.address().port };
    const connection = native.Connection.connect(null, newKnock(tls), local, target, config);
    const client = new PlainClient(connection, socket, local, target, options.askAfterMs ?? 1000);
    t.teardown(() => client.close());
    await until(() => connection.isEstablished());
    await client.#shakeHands(options.maxStreams ?? 100);
    return client;
  }

  private constructor(
    native: NativeConnection,
    socket: Socket,
    local: SocketAddress,
    target: SocketAddress,
    askAfterMs: number,
  ) {
    this.native = native;
    this.#target = target;
    this.#listen(socket, local);
    const timer = setInterval(() => {
      const timeoutMs = native.timeout();
      if (timeoutMs !== null && timeoutMs <= 0) native.onTimeout();
      if (performance.now() - this.#heardMs >= askAfterMs) {
        this.#heardMs = performance.now();
        native.sendAckEliciting();
      }
      this.turn();
    }, 10);
    this.#close = () => {
      clearInterval(timer);
      for (const each of this.#sockets.values()) each.close();
    };
    this.turn();
  }

  readonly #close: () => void;

  close(): void {
    this.#close();
  }

  get isOver(): boolean {
    return this.native.isDraining() || this.native.isClosed();
  }

  /** Probes a path from another port. Fulfils when it is validated. */
  async probe(): Promise<void> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const local = { host: '127.0.0.1', port: socket.address().port };
    this.#listen(socket, local);
    this.native.probePath(local, this.#target);
    this.turn();
    await until(() => this.native.isPathValidated(local, this.#target));
  }

  /** Takes the next stream, and writes nothing on it yet. */
  reserve(): PlainStream {
    const id = this.#nextId;
    this.#nextId += 4;
    return this.#stream(id);
  }

  /** Opens a stream with a message. */
  call(message: Message, { end = true } = {}): PlainStream {
    const stream = this.reserve();
    const { id } = stream;
    this.write(id, frameOf(id, codec.encode(message), end ? FrameFlag.end : 0), end);
    return stream;
  }

  /** Another message on a stream. */
  send({ id }: PlainStream, message: Message, { end = false } = {}): void {
    this.write(id, frameOf(id, codec.encode(message), end ? FrameFlag.end : 0), end);
  }

  /** What the node has said on a stream. */
  messages({ frames }: PlainStream): Message[] {
    return frames
      .filter(({ payload }) => payload.length > 0)
      .map(({ payload }) => codec.decode(payload));
  }

  write(id: number, bytes: Uint8Array, fin = false): void {
    const before = this.#unsent.get(id)?.bytes ?? Buffer.alloc(0);
    this.#unsent.set(id, { bytes: Buffer.concat([before, bytes]), fin });
    this.turn();
  }

  /** STOP_SENDING for `receiving`, RESET_STREAM for `sending`. */
  shut({ id }: PlainStream, side: 'sending' | 'receiving', code: number): void {
    this.native.streamShutdown(id, side === 'sending' ? 1 : 0, code);
    this.#unsent.delete(id);
    this.turn();
  }

  /** A frame on the client's control stream. */
  tell(messageId: number, control: number, payload: Uint8Array): void {
    const frame = encodeFrame({ control, messageId, payload, checksum: true });
    this.write(CONTROL_STREAM_ID.dialer, frame);
  }

  turn(): void {
    this.#pump();
    this.#flush();
    this.#read();
    this.#pump();
    this.#flush();
    if (this.isOver) this.#endStreams();
  }

  #listen(socket: Socket, local: SocketAddress): void {
    this.#sockets.set(local.port, socket);
    socket.on('message', (datagram, from) => {
      this.#heardMs = performance.now();
      try {
        this.native.recv(datagram, { from: { host: from.address, port: from.port }, to: local });
      } catch {
        // The connection has closed over it.
      }
      this.turn();
    });
  }

  /** Whoever waits for a stream learns that nothing more comes, and why. */
  #endStreams(): void {
    const { native } = this;
    const error = native.localError() ?? native.peerError();
    const who = native.localError() === null ? 'the node' : 'this client';
    const what = error === null ? 'in silence' : `by ${who}, code ${error.errorCode}`;
    for (const stream of this.streams.values()) {
      if (stream.ended) continue;
      stream.ended = true;
      stream.error = `connection is over ${what}`;
    }
  }

  async #shakeHands(maxStreams: number): Promise<void> {
    const config = handshakeConfig('n1');
    const request = createHandshakeRequest(
      { ...config, capabilities: { ...config.capabilities, maxStreams } },
      Date.now(),
      randomBytes(16),
    );
    const stream = this.call(request);
    await until(() => stream.frames.length > 0 || this.isOver);
    const [answer] = this.messages(stream);
    if (answer?.type !== 'handshakeResponse' || !answer.accepted) {
      throw new Error(`not accepted: ${JSON.stringify(answer)}`);
    }
  }

  #stream(id: number): PlainStream {
    let stream = this.streams.get(id);
    if (stream === undefined) {
      const messageId = messageIdOf(id);
      stream = { id, messageId, frames: [], bytes: 0, ended: false, error: undefined };
      this.streams.set(id, stream);
    }
    return stream;
  }

  #pump(): void {
    for (const [id, { bytes, fin }] of this.#unsent) {
      let took = 0;
      try {
        took = this.native.streamSend(id, bytes, fin) ?? 0;
      } catch {
        // Beyond the limit of streams, or the node has stopped it.
        continue;
      }
      if (took < bytes.length) this.#unsent.set(id, { bytes: bytes.subarray(took), fin });
      else this.#unsent.delete(id);
    }
  }

  #flush(): void {
    for (let sent = this.native.send(this.#room); sent !== null; ) {
      const datagram = Buffer.from(this.#room.subarray(0, sent[0]));
      this.#sockets.get(sent[1].from.port)?.send(datagram, this.#target.port, this.#target.host);
      sent = this.native.send(this.#room);
    }
  }

  #read(): void {
    if (!this.native.isEstablished() || !this.native.isReadable()) return;
    for (const id of this.native.readable()) {
      if (this.isPaused && (id & 2) === 0) continue;
      const stream = this.#stream(id);
      try {
        for (;;) {
          const read = this.native.streamRecv(id, this.#room);
          if (read === null) break;
          stream.ended = read[1];
          this.#decode(stream, Buffer.from(this.#room.subarray(0, read[0])));
          if (read[1]) break;
        }
      } catch (thrown) {
        stream.ended = true;
        stream.error = String(thrown);
      }
    }
  }

  #decode(stream: PlainStream, bytes: Buffer): void {
    let decoder = this.#decoders.get(stream.id);
    if (decoder === undefined) {
      decoder = new FrameDecoder({ maxPayloadBytes: 2 ** 24 });
      this.#decoders.set(stream.id, decoder);
    }
    decoder.push(bytes);
    for (let frame = nextOf(decoder); frame !== undefined; frame = nextOf(decoder)) {
      if (stream.id === CONTROL_STREAM_ID.acceptor) this.#hearControl(frame);
      else stream.frames.push(frame);
      stream.bytes += frame.payload.length;
    }
  }

  #hearControl(frame: Frame): void {
    if ((frame.flags & FrameFlag.reset) !== 0) this.notices.push(frame);
    else if (frame.messageId === PROOF_REQUEST_ID && frame.payload.length === 16) {
      this.proofs += 1;
      this.tell(PROOF_ANSWER_ID, 0, frame.payload);
    }
  }
}

function frameOf(id: number, payload: Uint8Array, control: number): Buffer {
  return encodeFrame({ control, messageId: messageIdOf(id), payload, checksum: true });
}

/** The byte with which a stream is given up is no frame. */
function nextOf(decoder: FrameDecoder): Frame | undefined {
  try {
    return decoder.next();
  } catch {
    return undefined;
  }
}
