/**
 * Turns the frames of one peer's streams into messages, in the order of each stream.
 *
 * Small messages are decoded where they arrive: they cost no more than their bytes do. A message that could cost far more than
 * its bytes, compressed or of very many items, first takes a slot and room for what it says it will become. Then it waits
 * until it is its peer's turn: for a thread where it is decompressed in the pool, and for the peer's share of the event loop's
 * time.
 */
import { AsyncResource } from 'node:async_hooks';
import { Fifo } from '../../base/fifo.js';
import { JobLane, type JobTurns } from '../../base/job-turns.js';
import { toMeshError } from '../../errors.js';
import { Compression, type Frame } from '../../protocol/frame.js';
import type { FrameCodec } from '../../protocol/frame-codec.js';
import type { Message } from '../../protocol/message.js';
import type { Flow } from '../flow.js';
import { DecodeShare } from './decode-share.js';
import type { MessageSink } from './message-sink.js';
import { type ReadingRoom, UnreadMessage } from './unread-message.js';

/** Up to this size a message without compression is decoded at once, whatever it is made of. */
const SMALL_BYTES = 4096;
/** Messages whose decompression has begun. More would only hold memory. */
const MAX_AT_ONCE = 2;

/** Reads the messages of one peer, over all of its connections. */
export class PeerReader {
  /** The peer's part of the thread pool. */
  readonly lane: JobLane;
  readonly #share = new DecodeShare();
  readonly #waiting = new Fifo<WaitingMessage>();
  #atOnce = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(turns: JobTurns) {
    this.lane = new JobLane(turns);
  }

  /** Messages that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Decodes a frame and hands its message over: at once, or later with the stream held meanwhile.
   * @param room what the message counts against before it is decoded; none for answers
   */
  receive(frame: Frame, codec: FrameCodec, sink: MessageSink, room?: ReadingRoom): void {
    if (frame.compression !== Compression.none) {
      this.#receiveLarge(frame, codec, sink, room);
      return;
    }
    const { payload } = frame;
    let message: Message | undefined;
    try {
      message = payload.length <= SMALL_BYTES ? codec.read(payload) : codec.readPlain(payload);
    } catch (thrown) {
      sink.onBadMessage(toMeshError(thrown));
      return;
    }
    if (message === undefined) this.#receiveLarge(frame, codec, sink, room);
    else sink.onMessage(message, frame, payload.length + codec.heapBytes);
  }

  #receiveLarge(
    frame: Frame,
    codec: FrameCodec,
    sink: MessageSink,
    room: ReadingRoom | undefined,
  ): void {
    const unread = new UnreadMessage(frame, codec, sink, room);
    try {
      unread.admit();
    } catch (thrown) {
      fail(unread, thrown);
      return;
    }
    const isFirst = this.#waiting.length === 0;
    if (isFirst && !codec.unpacksInPool(frame) && this.#share.waitMs(performance.now()) === 0) {
      this.#readNow(unread);
      return;
    }
    const { flow } = sink;
    flow.hold();
    // It may be read in a turn that belongs to another connection.
    const context = new AsyncResource('quicmesh.UnreadMessage');
    this.#waiting.push({ unread, flow, context });
    if (isFirst) this.#readWaiting();
  }

  readonly #readWaiting = (): void => {
    this.#timer = undefined;
    for (let next = this.#waiting.first; next !== undefined; next = this.#waiting.first) {
      const { unread, flow, context } = next;
      const { codec, frame, sink } = unread;
      const waitMs = sink.isOver ? 0 : this.#share.waitMs(performance.now());
      if (waitMs > 0) {
        this.#timer = setTimeout(this.#readWaiting, waitMs);
        this.#timer.unref();
        return;
      }
      const isLater = !sink.isOver && codec.unpacksInPool(frame);
      if (isLater && this.#atOnce >= MAX_AT_ONCE) return;
      this.#waiting.shift();
      context.runInAsyncScope(() => {
        if (isLater) {
          void this.#readLater(unread, flow);
          return;
        }
        if (sink.isOver) unread.release();
        else this.#readNow(unread);
        flow.release();
      });
    }
  };

  #readNow(unread: UnreadMessage): void {
    const startMs = performance.now();
    try {
      unread.reserve();
      const raw = unread.codec.unpack(unread.frame) as Uint8Array;
      this.#decode(unread, raw, startMs);
    } catch (thrown) {
      fail(unread, thrown);
    }
  }

  async #readLater(unread: UnreadMessage, flow: Flow): Promise<void> {
    const { codec, frame, sink } = unread;
    this.#atOnce += 1;
    try {
      const raw = await this.lane.run(() => {
        if (sink.isOver) return undefined;
        unread.reserve();
        return codec.unpack(frame);
      });
      if (raw === undefined || sink.isOver) unread.release();
      else this.#decode(unread, raw, performance.now());
    } catch (thrown) {
      fail(unread, thrown);
    }
    flow.release();
    this.#atOnce -= 1;
    if (this.#timer === undefined) this.#readWaiting();
  }

  /** @throws MeshError MalformedMessage, UnknownMessageType */
  #decode(unread: UnreadMessage, raw: Uint8Array, startMs: number): void {
    const { codec, frame, sink } = unread;
    let message: Message;
    try {
      message = codec.read(raw);
    } finally {
      this.#share.spend(startMs, performance.now(), frame.payload.length);
    }
    const heldBytes = raw.length + codec.heapBytes;
    unread.release();
    sink.onMessage(message, frame, heldBytes);
  }
}

interface WaitingMessage {
  readonly unread: UnreadMessage;
  /** Holds the stream. */
  readonly flow: Flow;
  /** In which the frame arrived. */
  readonly context: AsyncResource;
}

function fail(unread: UnreadMessage, thrown: unknown): void {
  unread.release();
  unread.sink.onBadMessage(toMeshError(thrown));
}
