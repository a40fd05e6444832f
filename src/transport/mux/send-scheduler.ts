/**
 * Which stream sends its frame next, as far as the socket and the peer's credit allow: one of the most urgent class, and
 * within a class each in turn, frame by frame. SPEC.md, "Priorities".
 */
import { LazySet } from '../../base/lazy-collections.js';
import { Line, type Place } from '../../base/line.js';
import { FrameFlag } from '../../protocol/frame.js';
import { PRIORITIES, type Priority } from '../../protocol/priority.js';
import { ClassTurns, RANKS, type Rank } from '../priority/class-turns.js';
import { MAX_ASSEMBLIES } from './assembly.js';
import { INITIAL_CONNECTION_WINDOW_BYTES, SendCredit } from './credit.js';
import type { FrameWriter } from './frame-writer.js';
import type { MuxStream } from './stream.js';

/** What a {@link SendScheduler} is given. */
export interface SendSchedulerOptions {
  readonly writer: FrameWriter;
  /** Above so many unsent bytes, a stream has to wait for `onDrain`. */
  readonly sendHighWaterBytes: number;
  /** Called before a stream's first frame: it needs its id. */
  readonly onFirstFrame: (stream: MuxStream) => void;
  /** Called after a stream's first frame: the peer knows the stream. */
  readonly onPlaced: (stream: MuxStream) => void;
}

/**
 * Decides whose frame goes next, as far as the socket and the peer's credit allow: the most urgent class goes first,
 * and streams of one class take turns by frame. SPEC.md, "Priorities".
 */
export class SendScheduler {
  readonly #options: SendSchedulerOptions;
  readonly #credit = new SendCredit(INITIAL_CONNECTION_WINDOW_BYTES);
  /** By the rank of a class. */
  readonly #lines: readonly ClassLines[] = PRIORITIES.map(() => ({
    ready: new Line<Place<MuxStream>>(),
    draining: new Line<Place<MuxStream>>(),
  }));
  readonly #turns = new ClassTurns();
  /** Streams that have sent some pieces of a message, but not all. */
  readonly #cut = new LazySet<MuxStream>();
  #isFlushing = false;

  constructor(options: SendSchedulerOptions) {
    this.#options = options;
  }

  /** The stream may have something to send: sends it if nothing is in the way. */
  wake(stream: MuxStream): void {
    const next = stream.nextToSend;
    if (next === 'none') {
      if (stream.isDraining) this.flush();
      return;
    }
    // The usual case, a single frame and nobody before it, needs no ring.
    if (this.#isIdleFor(stream) && (next === 'bareEnd' || !this.#credit.isExhausted)) {
      this.#sendOne(stream);
      if (stream.nextToSend === 'none') return;
    }
    this.#linesOf(stream).ready.push(stream.readyPlace);
    this.flush();
  }

  /** Whether a stream may go on sending. If not, its `onDrain` is due later. */
  hasRoom(stream: MuxStream): boolean {
    if (this.#hasRoom(stream)) return true;
    this.#linesOf(stream).draining.push(stream.drainingPlace);
    return false;
  }

  /** The stream is of another class from now on. */
  reclass(stream: MuxStream, priority: Priority): void {
    const { isReady, isDraining } = stream;
    this.#leaveLines(stream);
    stream.priority = priority;
    if (isReady) this.#linesOf(stream).ready.push(stream.readyPlace);
    if (isDraining) this.#linesOf(stream).draining.push(stream.drainingPlace);
  }

  /** The peer's credit for the whole connection grew. @throws MeshError FlowControlViolation */
  grant(bytes: number): void {
    this.#credit.grant(bytes);
    this.flush();
  }

  /** Sends what can be sent, then tells the streams that have room again, until neither leads to more. */
  flush(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    try {
      while (this.#sendReady() + this.#tellDrained() > 0);
    } finally {
      this.#isFlushing = false;
    }
  }

  /** A stream was reset. One that ended in good order stays: its last `send` may have answered false, too. */
  forget(stream: MuxStream): void {
    this.#leaveLines(stream);
    this.#cut.delete(stream);
  }

  /** Forgets all streams. @returns those to which `onDrain` is still due */
  takeDraining(): MuxStream[] {
    const draining = this.#lines.flatMap((line) => [...line.draining].map(({ item }) => item));
    for (const line of this.#lines) {
      line.ready.clear();
      line.draining.clear();
    }
    this.#cut.clear();
    return draining;
  }

  #isIdleFor(stream: MuxStream): boolean {
    if (this.#isFlushing || this.#waiting !== 0 || !this.#mayBegin(stream)) return false;
    return this.#options.writer.hasRoom(RANKS[stream.priority]);
  }

  #leaveLines(stream: MuxStream): void {
    const { ready, draining } = this.#linesOf(stream);
    if (stream.isReady) ready.remove(stream.readyPlace);
    if (stream.isDraining) draining.remove(stream.drainingPlace);
  }

  #linesOf({ priority }: MuxStream): ClassLines {
    return this.#lines[RANKS[priority]] as ClassLines;
  }

  /** A bit for each class that has something to send, or whose application waits to hear that there is room. */
  get #waiting(): number {
    let waiting = 0;
    for (let rank = 0; rank < this.#lines.length; rank += 1) {
      const { ready, draining } = this.#lines[rank] as ClassLines;
      if (ready.size > 0 || draining.size > 0) waiting |= 1 << rank;
    }
    return waiting;
  }

  #sendReady(): number {
    let sent = 0;
    let stuck = 0;
    for (;;) {
      const waiting = this.#waiting;
      if ((waiting & ~stuck) === 0) return sent;
      const rank = this.#turns.next(waiting & ~stuck);
      const stream = this.#mayWrite(rank) ? this.#firstOf(rank) : undefined;
      if (stream === undefined) {
        stuck |= 1 << rank;
        continue;
      }
      this.#linesOf(stream).ready.remove(stream.readyPlace);
      const bytes = this.#sendOne(stream);
      if (stream.nextToSend !== 'none') this.#linesOf(stream).ready.push(stream.readyPlace);
      this.#turns.went(rank, bytes, waiting);
      sent += 1;
    }
  }

  /** A class that is due may fill the socket as far as the most urgent one. */
  #mayWrite(rank: Rank): boolean {
    return this.#options.writer.hasRoom(this.#turns.isDue(rank) ? 0 : rank);
  }

  /** The first stream of a class that need not wait for the connection's credit. Those that do keep their places. */
  #firstOf(rank: Rank): MuxStream | undefined {
    const isExhausted = this.#credit.isExhausted;
    const { ready } = this.#lines[rank] as ClassLines;
    let place = ready.first;
    while (place !== undefined) {
      const { item: stream, after } = place;
      const next = stream.nextToSend;
      // Its frames were unsent.
      if (next === 'none') ready.remove(place);
      else if (next === 'bareEnd' || (!isExhausted && this.#mayBegin(stream))) return stream;
      place = after;
    }
    return undefined;
  }

  /**
   * Large messages of a class go one after the other: taking turns would make all of them late. One that waits for credit
   * does not hold up the next, up to as many as the peer takes at once.
   */
  #mayBegin(stream: MuxStream): boolean {
    if (!stream.isCut || this.#cut.size === 0 || this.#cut.has(stream)) return true;
    if (this.#cut.size >= MAX_ASSEMBLIES) return false;
    for (const { priority, nextToSend } of this.#cut) {
      if (priority === stream.priority && nextToSend !== 'none') return false;
    }
    return true;
  }

  /** @returns the bytes of its payload */
  #sendOne(stream: MuxStream): number {
    const isFirst = stream.messageId === 0;
    if (isFirst) this.#options.onFirstFrame(stream);
    const frame = stream.takeFrame();
    if (frame === undefined) return 0;
    this.#credit.spend(frame.payloadBytes);
    this.#options.writer.write(frame);
    if (isFirst) {
      stream.handler.onSent?.();
      this.#options.onPlaced(stream);
    }
    if (frame.control === FrameFlag.more) this.#cut.add(stream);
    else if (this.#cut.size > 0) this.#cut.delete(stream);
    stream.onWritten(frame);
    return frame.payloadBytes;
  }

  #tellDrained(): number {
    let told = 0;
    for (let rank = 0; rank < this.#lines.length; rank += 1) {
      const { draining } = this.#lines[rank] as ClassLines;
      if (draining.size === 0) continue;
      let last: Place<MuxStream> | undefined;
      for (let left = draining.size; left > 0 && this.#mayWrite(rank); left -= 1) {
        const place = draining.following(last);
        if (place === undefined) break;
        const { item: stream } = place;
        if (stream.queuedBytes > this.#options.sendHighWaterBytes || !stream.mayGo) {
          last = place;
          continue;
        }
        draining.remove(place);
        stream.handler.onDrain?.();
        told += 1;
      }
    }
    return told;
  }

  #hasRoom(stream: MuxStream): boolean {
    const { writer, sendHighWaterBytes } = this.#options;
    if (stream.queuedBytes > sendHighWaterBytes || !stream.mayGo) return false;
    return writer.hasRoom(RANKS[stream.priority]);
  }
}

/** The streams of one class. */
interface ClassLines {
  /** With a frame to send. One that has sent a frame goes to the end. */
  readonly ready: Line<Place<MuxStream>>;
  /** Those whose `send` answered false: `onDrain` is due. */
  readonly draining: Line<Place<MuxStream>>;
}
