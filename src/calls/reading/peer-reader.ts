/**
 * Turns the frames of one peer's streams into messages, in the order of each stream.
 *
 * Small messages are decoded where they arrive: they cost no more than their bytes do. A message that could cost far more than
 * its bytes, compressed or of very many items, first takes a slot and room for what it says it will become. Then it waits
 * until it is its peer's turn: for a thread where it is decompressed in the pool, and for the peer's share of the event loop's
 * time. What takes long is decompressed and decoded in steps, with a turn of the event loop, or more, between them.
 */
import type { ByteAccount } from '../../base/byte-budget.js';
import { Fifo } from '../../base/fifo.js';
import { JobLane, type JobTurns } from '../../base/job-turns.js';
import { toMeshError } from '../../errors.js';
import { Compression, type Frame } from '../../protocol/frame.js';
import type { FrameCodec } from '../../protocol/frame-codec.js';
import type { Message } from '../../protocol/message.js';
import { DecodeShare } from './decode-share.js';
import { Decoding } from './decoding.js';
import { HeldMessage } from './held-message.js';
import type { MessageSink } from './message-sink.js';
import { type ReadingRoom, UnreadMessage } from './unread-message.js';

/** Up to this size a message without compression is decoded at once, whatever it is made of. */
const SMALL_BYTES = 4096;
/** Messages whose decompression has begun. More would only hold memory. */
const MAX_AT_ONCE = 2;
/** So long a message is decoded in one turn. */
const STEP_MS = 1;

/** Reads the messages of one peer, over all of its connections. */
export class PeerReader {
  /** The peer's part of the thread pool. */
  readonly lane: JobLane;
  readonly #answers: ByteAccount | undefined;
  readonly #share = new DecodeShare();
  readonly #waiting = new Fifo<HeldMessage>();
  #atOnce = 0;
  /** Messages of which a part is decoded. */
  #stepped = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param answers what answers of the peer are taken from while they wait, and are decoded */
  constructor(turns: JobTurns, answers?: ByteAccount) {
    this.lane = new JobLane(turns);
    this.#answers = answers;
  }

  /** Messages that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Decodes a frame and hands its message over: at once, or later with the stream held meanwhile.
   * @param room what the message counts against before it is decoded; none for answers, which are not refused
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
    const unread = new UnreadMessage(frame, codec, sink, room, this.#answers);
    try {
      unread.admit();
    } catch (thrown) {
      fail(unread, thrown);
      return;
    }
    const isFirst = this.#waiting.length === 0 && this.#stepped === 0;
    if (isFirst && !codec.unpacksInPool(frame) && this.#share.waitMs(performance.now()) === 0) {
      const decoding = this.#readNow(unread);
      if (decoding !== undefined) this.#goOn(new HeldMessage(unread), decoding);
      return;
    }
    this.#waiting.push(new HeldMessage(unread));
    if (isFirst) this.#readWaiting();
  }

  readonly #readWaiting = (): void => {
    this.#timer = undefined;
    for (let next = this.#waiting.first; next !== undefined; next = this.#waiting.first) {
      const { codec, frame, sink } = next.unread;
      const waitMs = sink.isOver ? 0 : this.#share.waitMs(performance.now());
      if (waitMs > 0) {
        this.#timer = setTimeout(this.#readWaiting, waitMs);
        this.#timer.unref();
        return;
      }
      const isLater = !sink.isOver && codec.unpacksInPool(frame);
      if (isLater ? this.#atOnce >= MAX_AT_ONCE : this.#stepped > 0) return;
      this.#waiting.shift();
      next.run(isLater ? this.#readLater : this.#readHeld);
    }
  };

  readonly #readHeld = (held: HeldMessage): void => {
    const { unread } = held;
    if (unread.sink.isOver) held.end();
    else this.#goOn(held, this.#readNow(unread));
  };

  readonly #readLater = async (held: HeldMessage): Promise<void> => {
    const { unread } = held;
    const { codec, frame, sink } = unread;
    let decoding: Decoding | undefined;
    this.#atOnce += 1;
    try {
      const raw = await this.lane.run(() => {
        if (sink.isOver) return undefined;
        this.#reserve(unread);
        return codec.unpack(frame);
      });
      if (raw !== undefined && !sink.isOver) {
        decoding = this.#step(new Decoding(unread, raw));
      }
    } catch (thrown) {
      fail(unread, thrown);
    }
    this.#atOnce -= 1;
    this.#goOn(held, decoding);
    if (this.#timer === undefined) this.#readWaiting();
  };

  /** @returns what is left to decode in later turns, if anything is */
  #readNow(unread: UnreadMessage): Decoding | undefined {
    try {
      this.#reserve(unread);
    } catch (thrown) {
      fail(unread, thrown);
      return undefined;
    }
    return this.#step(new Decoding(unread));
  }

  /** @throws MeshError Overloaded */
  #reserve(unread: UnreadMessage): void {
    unread.reserve();
    const { rawBytes, frame, codec } = unread;
    // What says that it becomes more than is allowed becomes nothing: it is refused next.
    if (rawBytes > codec.maxMessageBytes) return;
    this.#share.expand(performance.now(), rawBytes, frame.payload.length);
  }

  /**
   * Decodes for a moment, and hands the message over once it is whole.
   * @returns what is left to decode in later turns, if anything is
   */
  #step(decoding: Decoding): Decoding | undefined {
    const { unread } = decoding;
    const startMs = performance.now();
    const untilMs = startMs + STEP_MS;
    let message: Message | undefined;
    try {
      message = decoding.read(() => performance.now() < untilMs);
    } catch (thrown) {
      fail(unread, thrown);
      return undefined;
    } finally {
      const { unspentBytes } = decoding;
      decoding.unspentBytes = this.#share.spend(startMs, performance.now(), unspentBytes);
    }
    if (message === undefined) return decoding;
    unread.release();
    unread.sink.onMessage(message, unread.frame, decoding.heldBytes);
    return undefined;
  }

  /** Decodes the rest in later turns, or lets the stream go on where nothing is left. */
  #goOn(held: HeldMessage, decoding: Decoding | undefined): void {
    if (decoding === undefined) {
      held.end();
      return;
    }
    const next = (): void => {
      this.#stepped -= 1;
      const isOver = decoding.unread.sink.isOver;
      held.run(() => this.#goOn(held, isOver ? undefined : this.#step(decoding)));
      if (this.#timer === undefined) this.#readWaiting();
    };
    this.#stepped += 1;
    const waitMs = this.#share.waitMs(performance.now());
    if (waitMs > 0) setTimeout(next, waitMs).unref();
    else setImmediate(next);
  }
}

function fail(unread: UnreadMessage, thrown: unknown): void {
  unread.release();
  unread.sink.onBadMessage(toMeshError(thrown));
}
