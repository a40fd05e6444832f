/**
 * Reads streams: which of them, in which order, and what becomes of bytes that nobody takes. RFC 9000, section 2.2.
 */

import { AsyncResource } from 'node:async_hooks';
import { LazySet } from '../../../base/lazy-collections.js';
import { MeshError } from '../../../errors.js';
import type { ReadingShare } from '../../reading-turns.js';
import { type NativeConnection, readNativeFailure } from '../binding/native.js';
import type { BumpBuffer } from '../io/bump-buffer.js';
import { AwaitedStreams, MAX_LIKELY } from './awaited-streams.js';
import type { ControlLink } from './control-link.js';
import { PartialFrames } from './partial-frames.js';
import type { StreamRegistry } from './registry.js';
import type { QuicStream } from './stream.js';
import type { StreamsHost } from './streams-host.js';

/** What a {@link StreamReader} is given. */
export interface StreamReaderOptions {
  readonly native: NativeConnection;
  readonly host: StreamsHost;
  /** The peer opened a stream. Answers `undefined` where it is over already. */
  readonly accept: (id: number) => QuicStream | undefined;
  /** What such a stream brought first is read. */
  readonly onAccepted: (stream: QuicStream) => void;
  /** The binding refused to read a stream. */
  readonly onFailed: (stream: QuicStream, thrown: unknown) => void;
  readonly registry: StreamRegistry;
  readonly control: ControlLink;
  /** Memory for stream bytes. */
  readonly readBuffer: BumpBuffer;
  /** What the peer may have read in one turn; asked for once streams are ready. */
  readonly share: () => ReadingShare;
  /** The peer's next turn: calls {@link StreamReader.readAll} again. */
  readonly onTurn: () => void;
  /** Bytes of unfinished frames beyond which one stream at a time is read. */
  readonly maxPartialBytes: number;
}

/** Notices are small, and each may end a call: so many at once leave the clock out of sight for no longer than calls do. */
const CONTROL_READ_BYTES = 2048;

/** Messages read in part that are looked at ahead of new ones, in one turn. Who leaves more of them in part is served in order. */
const MAX_BEGUN = 64;

/** So much of a large frame tells its size. The rest is read into memory of its own. */
const HEAD_BYTES = 4096;

const ALWAYS = (): boolean => true;

/** Takes bytes from QUIC and gives them to their streams. */
export class StreamReader {
  /** Bytes read so far, whatever became of them. */
  readBytes = 0;
  /** Somebody takes streams that the peer opens. Until then they wait unread. */
  isAccepting = false;
  readonly #native: NativeConnection;
  readonly #host: StreamsHost;
  readonly #options: StreamReaderOptions;
  readonly #registry: StreamRegistry;
  readonly #control: ControlLink;
  readonly #buffer: BumpBuffer;
  #share: ReadingShare | undefined;
  /** Until when streams are read, on the clock of `performance.now()`. */
  #untilMs = 0;
  #nowMs = 0;
  /** The peer has had its share of this turn. */
  #isWaiting = false;
  /** Its last turn was over before all was read: messages that were read in part go first. */
  #isBehind = false;
  /** They took all of a turn, so that the next one is for new streams. */
  #hasBegunTaken = false;
  readonly #awaited = new AwaitedStreams();
  /** The stream read last, if it goes on. */
  #last: QuicStream | undefined;
  /** Streams whose readers are slow, those that have been so for the longest first. */
  readonly #paused = new LazySet<QuicStream>();
  readonly #partials: PartialFrames;
  /** Streams that the peer reset and QUIC still holds: see {@link reap}. */
  readonly #unreaped = new LazySet<number>();
  /** The async context that the connection lives in. */
  readonly #home = new AsyncResource('quicmesh.StreamReader');

  constructor(options: StreamReaderOptions) {
    this.#native = options.native;
    this.#host = options.host;
    this.#options = options;
    this.#registry = options.registry;
    this.#control = options.control;
    this.#buffer = options.readBuffer;
    this.#partials = new PartialFrames(options.maxPartialBytes);
  }

  /** Whether bytes may have arrived that are not read because nobody takes them now. */
  get isHeldBack(): boolean {
    return (
      this.#isWaiting || !this.isAccepting || this.#partials.isHolding || this.#paused.size > 0
    );
  }

  /** Reads all that there is to read, for as long as the peer's share of this turn lasts. */
  readAll(): void {
    if (this.#isWaiting) return;
    const startMs = this.#beginReading();
    this.#readInOrder();
    this.#endReading(startMs);
  }

  #beginReading(): number {
    this.#share ??= this.#options.share();
    const startMs = performance.now();
    this.#nowMs = startMs;
    this.#untilMs = this.#share.untilMs(startMs);
    return startMs;
  }

  /** What is left is read in a later turn. */
  #endReading(startMs: number): void {
    const share = this.#share;
    // The connection may have ended over what was read.
    if (share === undefined) return;
    share.spend(this.#nowMs - startMs);
    if (this.#hasTime || this.#isWaiting) return;
    if (!this.#host.isReady() || !this.#native.isReadable()) return;
    this.#isWaiting = true;
    share.wait(this.#readLater);
  }

  readonly #readLater = (): void => {
    this.#isWaiting = false;
    this.#isBehind = !this.#hasBegunTaken;
    this.#hasBegunTaken = false;
    if (this.#host.isReady()) this.#host.guard(this.#options.onTurn);
  };

  readonly #mayGoOn = (): boolean => this.#hasTime;

  get #hasTime(): boolean {
    return this.#nowMs < this.#untilMs;
  }

  /** First where bytes most likely are. */
  #readInOrder(): void {
    if (this.#isBehind) this.#readBegun();
    if (!this.#hasTime || !this.#readLikely() || !this.#host.isReady()) return;
    this.#awaited.passOver();
    for (const id of this.#native.readable()) {
      if (!this.#hasTime || !this.#host.isReady()) return;
      const stream = this.#registry.get(id);
      if (stream !== undefined) this.#read(stream);
      else this.#readUnknown(id);
    }
  }

  /**
   * The connection is about to end. Answers that have arrived, and only waited for the peer's turn, are read: their peer may
   * have closed because it had sent them. There are no more of them than this side has asked for.
   */
  readAnswers(): void {
    if (!this.#isWaiting) return;
    this.#untilMs = Number.POSITIVE_INFINITY;
    for (const stream of this.#awaited.values()) this.#readIfReadable(stream);
  }

  /** The stream, this side's, has its place: an answer is to come. */
  expectAnswer(stream: QuicStream): void {
    this.#awaited.add(stream);
  }

  /** The stream is not read from now on, until {@link readSoon}. */
  paused(stream: QuicStream): void {
    this.#paused.add(stream);
  }

  /** Reads what was left while the stream was not read, in a turn of its own. */
  readSoon(stream: QuicStream): void {
    this.#paused.delete(stream);
    const read = (): void => {
      if (!this.#host.isReady() || !this.#registry.has(stream)) return;
      this.#host.guard(() => {
        stream.progress();
        const startMs = this.#beginReading();
        this.#read(stream);
        this.#endReading(startMs);
      });
    };
    // Maybe another stream's reader made room for this one: what it brings must not run in that reader's async context.
    this.#home.runInAsyncScope(queueMicrotask, undefined, read);
  }

  /** Reads the control stream ahead of its turn: a notice may say why a stream ended. */
  hearNotices(): void {
    const { peerId } = this.#control;
    this.#host.guard(() => {
      if (this.#host.isReady() && this.#native.streamReadable(peerId)) this.#readControl(peerId);
    });
  }

  /** Bytes kept of frames that are not whole. */
  get partialBytes(): number {
    return this.#partials.totalBytes;
  }

  /**
   * Makes room for the connection: much of it waits in the binding. A slow reader is given up, as in {@link giveUpSlowest}. Where
   * none is slow, one more of the frames that are not whole is read on. They count for the account of the peer, too.
   */
  relieve(): void {
    if (this.#giveUpSlow()) return;
    if (this.#partials.readOneMore()) this.#readSkipped();
    else this.giveUpSlowest();
  }

  /**
   * Gives up the stream whose reader has been slow for the longest, for the sake of all others. Where none is slow, the one
   * whose frame began to arrive last.
   * @returns whether there was one
   */
  giveUpSlowest(): boolean {
    if (this.#giveUpSlow()) return true;
    const latest = this.#partials.latest;
    latest?.fail(new MeshError('Overloaded', 'too much of this peer waits to be read'));
    return latest !== undefined;
  }

  #giveUpSlow(): boolean {
    for (const stream of this.#paused) {
      if (stream.id < 0 || !this.#native.streamReadable(stream.id)) continue;
      stream.fail(new MeshError('Overloaded', 'too much waits for readers that are slow'));
      return true;
    }
    return false;
  }

  /** Takes the end of a stream that is paused: to be called once all before it was read. */
  readEnd(stream: QuicStream): void {
    const read = this.#receive(stream, this.#buffer.room());
    if (read !== undefined) stream.receive(this.#buffer.take(read[0]), read[1]);
  }

  /** The peer reset the stream. */
  wasReset(stream: QuicStream): void {
    this.#unreaped.add(stream.id);
  }

  /** The stream is over. */
  forget(stream: QuicStream): void {
    this.#paused.delete(stream);
    if (stream.id < 0) return;
    this.#awaited.delete(stream);
    if (this.#partials.forget(stream)) this.#readSkipped();
    if (this.#last === stream) this.#last = undefined;
  }

  /** Reads and drops what arrives on a stream that is over. */
  drop(id: number): void {
    try {
      for (;;) {
        const read = this.#native.streamRecv(id, this.#buffer.room());
        if (read === null) return;
        this.readBytes += read[0];
      }
    } catch (thrown) {
      if (readNativeFailure(thrown).name === 'StreamReset') this.#unreaped.add(id);
    }
  }

  /**
   * Reads again the streams that the peer reset. quiche 0.18.0 releases such a stream only when it is read once more after
   * this side's own end was acknowledged; until then it holds the peer's stream credit.
   */
  reap(): void {
    if (this.#unreaped.size === 0) return;
    const ids = [...this.#unreaped];
    this.#unreaped.clear();
    for (const id of ids) this.drop(id);
  }

  /** The connection is over. */
  end(): void {
    this.#awaited.clear();
    this.#paused.clear();
    this.#last = undefined;
    this.#share?.leave();
    this.#share = undefined;
  }

  /**
   * Reads the rest of messages of which a part was read in an earlier turn, the oldest first. While a peer sends more than a turn
   * reads, its new streams would always go before them. New ones still have half of the time. Bulk data is in no hurry.
   */
  #readBegun(): void {
    this.#isBehind = false;
    const untilMs = this.#untilMs;
    this.#untilMs = (this.#nowMs + untilMs) / 2;
    let left = MAX_BEGUN;
    for (const stream of this.#partials.streams()) {
      if (left === 0 || !this.#hasTime || !this.#host.isReady()) break;
      left -= 1;
      if (stream.priority !== 'bulk') this.#readIfReadable(stream);
    }
    this.#untilMs = untilMs;
    this.#hasBegunTaken = !this.#hasTime;
  }

  /**
   * Reads the stream read last, the peer's next one, and the oldest of this side's that wait for an answer.
   * @returns whether there is more to read elsewhere
   */
  #readLikely(): boolean {
    const last = this.#last;
    if (last !== undefined && this.#readIfReadable(last) && !this.#hasMore()) return false;
    while (this.isAccepting && this.#native.streamReadable(this.#registry.nextPeerId)) {
      this.#readUnknown(this.#registry.nextPeerId);
      if (!this.#hasMore()) return false;
    }
    return this.#readAwaited() && this.#hasMore();
  }

  /** Reads the oldest streams that wait for an answer. @returns whether there may be more to read elsewhere */
  #readAwaited(): boolean {
    let last: QuicStream | undefined;
    for (let missed = 0; missed < MAX_LIKELY; ) {
      const stream = this.#awaited.following(last);
      if (stream === undefined) return true;
      if (!this.#readIfReadable(stream)) missed += 1;
      else if (!this.#hasMore()) return false;
      // One whose answer has ended has left, and the walk goes on behind the one before it.
      if (this.#awaited.has(stream)) last = stream;
    }
    return true;
  }

  #hasMore(): boolean {
    return this.#hasTime && this.#host.isReady() && this.#native.isReadable();
  }

  /** @returns whether there was something to read */
  #readIfReadable(stream: QuicStream): boolean {
    if (stream.isPaused || !this.#native.streamReadable(stream.id)) return false;
    return this.#read(stream);
  }

  /** A stream that the peer just opened; a unidirectional one; or the rest of one that is over. */
  #readUnknown(id: number): void {
    if ((id & 2) !== 0) {
      this.#readControl(id, this.#mayGoOn);
    } else if (!this.#registry.isNew(id)) {
      this.drop(id);
    } else if (this.isAccepting) {
      const stream = this.#options.accept(id);
      if (stream === undefined) return;
      this.#read(stream);
      this.#options.onAccepted(stream);
    }
  }

  /** @returns whether there was something to read */
  #read(stream: QuicStream): boolean {
    let hasRead = false;
    while (this.#isDue(stream)) {
      const frameRoom = this.#partials.hasPlenty ? stream.room() : undefined;
      const room = frameRoom ?? this.#buffer.room(stream.expectsLarge ? HEAD_BYTES : undefined);
      const read = this.#receive(stream, room);
      if (read === undefined) break;
      const [length, fin] = read;
      hasRead = true;
      if (fin) this.#awaited.delete(stream);
      this.#last = fin ? undefined : stream;
      if (frameRoom === undefined) stream.receive(this.#buffer.take(length), fin);
      else stream.filled(length, fin);
      this.#nowMs = performance.now();
      if (this.#partials.note(stream, stream.partialBytes)) this.#readSkipped();
      // What does not fill the room is all that there is.
      if (fin || length < room.length || !this.#hasTime) break;
    }
    return hasRead;
  }

  #isDue(stream: QuicStream): boolean {
    if (stream.isPaused || !this.#registry.has(stream)) return false;
    // The binding knows a stream of this side once it has taken a byte of it.
    if (stream.initiator === 'local' && !stream.hasSent) return false;
    return this.#partials.mayRead(stream);
  }

  #readSkipped(): void {
    for (const stream of this.#partials.takeSkipped()) this.readSoon(stream);
  }

  /** @returns how many bytes are in `room` now, and whether the stream ends with them */
  #receive(stream: QuicStream, room: Buffer): [number, boolean] | undefined {
    try {
      const read = this.#native.streamRecv(stream.id, room);
      if (read === null) return undefined;
      this.readBytes += read[0];
      return read;
    } catch (thrown) {
      this.#options.onFailed(stream, thrown);
      return undefined;
    }
  }

  #readControl(id: number, mayGoOn = ALWAYS): void {
    do {
      let read: [number, boolean] | null;
      try {
        read = this.#native.streamRecv(id, this.#buffer.room(CONTROL_READ_BYTES));
      } catch {
        read = [0, true];
      }
      if (read === null) return;
      this.readBytes += read[0];
      this.#control.receive(id, this.#buffer.take(read[0]), read[1]);
      this.#nowMs = performance.now();
    } while (mayGoOn());
  }
}
