/** A dataTransfer that this side opened: bytes out from `body`, bytes in as an async iterable. */
import { MeshError, toMeshError } from '../errors.js';
import type { Frame } from '../protocol/frame.js';
import type { FrameCodec } from '../protocol/frame-codec.js';
import type { DataTransfer, Message } from '../protocol/message.js';
import { cancelledError } from '../transport/abortable.js';
import type { FrameStream } from '../transport/connection.js';
import { ByteQueue } from './byte-queue.js';
import { DrainGate, sendChunks } from './chunk-sender.js';
import { takeChunk } from './incoming-transfer.js';
import { Flow, type MessageSink, receiveFrame } from './message-sink.js';
import {
  type CallHandler,
  errorOfMessage,
  type StreamOpener,
  withExecution,
} from './outgoing-call.js';
import type { Bytes, StreamCallOptions } from './types.js';

/** Opens a transfer; see Peer.stream. `onSettled` is called once, with the failure if there is one. */
export function openTransfer(
  opener: StreamOpener,
  codec: FrameCodec,
  open: DataTransfer,
  options: StreamCallOptions,
  onSettled: (failure: MeshError | undefined) => void,
): AsyncIterable<Uint8Array> {
  const transfer = new OutgoingTransfer(codec, open, options, onSettled);
  transfer.start(opener);
  return transfer.incoming;
}

class OutgoingTransfer implements CallHandler, MessageSink {
  incoming: ByteQueue;
  readonly #codec: FrameCodec;
  readonly #open: DataTransfer;
  readonly #options: StreamCallOptions;
  readonly #onSettled: (failure: MeshError | undefined) => void;
  readonly #gate = new DrainGate();
  #stream: FrameStream | undefined;
  #flow: Flow | undefined;
  #timer: NodeJS.Timeout | undefined;
  #nextOffset: number;
  #settled = false;

  constructor(
    codec: FrameCodec,
    open: DataTransfer,
    options: StreamCallOptions,
    onSettled: (failure: MeshError | undefined) => void,
  ) {
    this.#codec = codec;
    this.#open = open;
    this.#options = options;
    this.#onSettled = onSettled;
    this.#nextOffset = open.offset;
    this.incoming = new ByteQueue(undefined, () => {});
  }

  start(opener: StreamOpener): void {
    const { signal, timeoutMs = Number.POSITIVE_INFINITY } = this.#options;
    try {
      if (signal?.aborted === true) throw cancelledError(signal);
      const timed =
        timeoutMs === Number.POSITIVE_INFINITY ? {} : { timeoutMs: Math.ceil(timeoutMs) };
      const { payload, tail } = this.#codec.encodePlain({ ...this.#open, ...timed });
      const stream = opener.openStream(this);
      this.#stream = stream;
      this.#flow = new Flow(stream);
      this.incoming = new ByteQueue(this.#flow, this.#abandoned);
      signal?.addEventListener('abort', this.#aborted, { once: true });
      if (timeoutMs !== Number.POSITIVE_INFINITY)
        this.#timer = setTimeout(this.#timedOut, timeoutMs);
      const { body } = this.#options;
      const taken = stream.send(payload, { tail, end: body === undefined });
      if (body !== undefined) void this.#upload(body, stream, taken);
    } catch (thrown) {
      this.#fail(toMeshError(thrown));
    }
  }

  get flow(): Flow {
    return this.#flow as Flow;
  }

  onFrame(frame: Frame): void {
    if (!this.#settled) receiveFrame(frame, this.#codec, this);
  }

  onMessage(message: Message): void {
    if (this.#settled) return;
    try {
      if (message.type === 'error') throw errorOfMessage(message);
      const data = takeChunk(message, this.#nextOffset);
      this.#nextOffset += data.length;
      this.incoming.push(data);
    } catch (thrown) {
      this.#giveUp(thrown as MeshError);
    }
  }

  onBadMessage(error: MeshError): void {
    if (!this.#settled) this.#giveUp(error);
  }

  onEnd(): void {
    if (this.#settled) return;
    this.#settle(undefined);
    this.incoming.end();
    // An upload that still waits for room has lost its reader.
    this.#gate.fail(new MeshError('Cancelled', 'the peer has answered without waiting for more'));
  }

  onReset(error: MeshError): void {
    this.#fail(withExecution(error, true));
  }

  onRefused(error: MeshError): void {
    this.#fail(error);
  }

  onDrain(): void {
    this.#gate.drained();
  }

  async #upload(body: Bytes, stream: FrameStream, taken: boolean): Promise<void> {
    try {
      if (!taken) await this.#gate.wait();
      await sendChunks(body, this.#open, stream, this.#gate, this.#codec);
      stream.end();
    } catch (thrown) {
      const error = toMeshError(thrown, 'Cancelled');
      // An acceptor that ended already is content with what it has; the stream must end all the same.
      if (this.#settled) stream.reset('Cancelled', error.message);
      else this.#giveUp(error);
    }
  }

  readonly #abandoned = (): void => {
    this.#giveUp(new MeshError('Cancelled', 'the reader stopped before the end'));
  };

  readonly #aborted = (): void => {
    this.#giveUp(cancelledError(this.#options.signal as AbortSignal));
  };

  readonly #timedOut = (): void => {
    this.#giveUp(
      new MeshError('DeadlineExceeded', `transfer took over ${this.#options.timeoutMs} ms`),
    );
  };

  #giveUp(error: MeshError): void {
    this.#stream?.reset(error.side === 'remote' ? 'Cancelled' : error.code, error.message);
    this.#fail(withExecution(error, true));
  }

  #fail(error: MeshError): void {
    this.#gate.fail(error);
    if (this.#settled) return;
    this.#settle(error);
    this.incoming.fail(error);
  }

  #settle(failure: MeshError | undefined): void {
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener('abort', this.#aborted);
    this.#onSettled(failure);
  }
}
