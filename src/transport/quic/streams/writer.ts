/**
 * Hands stream bytes to QUIC: how many now, whose first, and at which urgency. RFC 9000, section 4; SPEC.md, "Priorities"
 * and "Credit".
 */
import type { Priority } from '../../../protocol/priority.js';
import { RANKS, SLICE_BYTES } from '../../priority/class-turns.js';
import type { NativeConnection } from '../binding/native.js';
import { BlockedStreams, RAISED_URGENCY, URGENCIES } from './blocked-streams.js';
import type { ControlLink } from './control-link.js';
import { ControlReserve } from './control-reserve.js';
import { ProofInFlight } from './proof-in-flight.js';
import { StarvationGuard } from './starvation-guard.js';
import type { QuicStream } from './stream.js';
import type { StreamsHost } from './streams-host.js';

/** What a {@link StreamWriter} is given. */
export interface StreamWriterOptions {
  readonly native: NativeConnection;
  readonly host: StreamsHost;
  /** The binding refused to take bytes of a stream. */
  readonly onFailed: (stream: QuicStream, thrown: unknown) => void;
  readonly control: ControlLink;
}

/** Streams asked one by one for credit of their own; where more lack it, the binding is asked which are writable. */
const FEW_STALLED = 8;
/** A message of which no more is left keeps its place at the front of its line. */
const SMALL_REST_BYTES = 16 * 1024;
const nowMs = (): number => performance.now();

/** Hands bytes of streams to QUIC, and keeps those streams in order that it has no room for. */
export class StreamWriter {
  readonly #native: NativeConnection;
  readonly #host: StreamsHost;
  readonly #onFailed: StreamWriterOptions['onFailed'];
  readonly #control: ControlLink;
  readonly #blocked = new BlockedStreams();
  readonly #inFlight = new ProofInFlight();
  readonly #starvation = new StarvationGuard((stream, isRaised) => {
    this.#urge(stream, isRaised ? RAISED_URGENCY : URGENCIES.bulk);
  });
  #reserve: ControlReserve | undefined;
  #handedBytes = 0;
  #handLimitBytes = Number.POSITIVE_INFINITY;
  /** Whether more was to be handed over than {@link handUpTo} allowed. */
  #isHeld = false;

  constructor({ native, host, control, onFailed }: StreamWriterOptions) {
    this.#native = native;
    this.#host = host;
    this.#onFailed = onFailed;
    this.#control = control;
  }

  /** Stream bytes handed to QUIC so far, but for those of the control stream. */
  get handedBytes(): number {
    return this.#handedBytes;
  }

  /** Whether bulk data goes beside other calls. */
  get isShared(): boolean {
    return this.#inFlight.isShared(nowMs);
  }

  /**
   * Hands over as many of these bytes as QUIC takes now, and puts the stream in line for the rest.
   * @param fin whether the stream ends with them
   * @returns how many it took; 0 where it failed, and the stream was reset
   */
  write(stream: QuicStream, bytes: Uint8Array, fin: boolean): number {
    this.#control.pump();
    const allowed = this.#allowedBytes(stream, bytes.length);
    let took = 0;
    try {
      if (bytes.length <= allowed) {
        took = this.#native.streamSend(stream.id, bytes, fin) ?? 0;
      } else if (allowed > 0) {
        took = this.#native.streamSend(stream.id, bytes.subarray(0, allowed), false) ?? 0;
      }
    } catch (thrown) {
      stream.sendingFailed();
      this.#blocked.delete(stream);
      this.#onFailed(stream, thrown);
      return 0;
    }
    if (took < bytes.length) this.#blocked.add(stream);
    else if (this.#blocked.stalled > 0) this.#blocked.delete(stream);
    this.#blocked.took(stream, took);
    this.#handedBytes += took;
    if (stream.priority === 'bulk') this.#inFlight.handed(took);
    this.#host.flushSoon();
    return took;
  }

  /** Writes what waited for room, as far as there is room now. */
  pumpBlocked(): void {
    if (!this.#host.isReady()) return;
    this.#control.pump();
    if (this.#blocked.isEmpty) return;
    this.#reviveStalled();
    this.#pumpDue();
    for (let rank = 0; rank <= RANKS.bulk; rank += 1) {
      if (!this.#pumpLine(rank)) return;
    }
  }

  /** Writes what is urgent and has waited for room, ahead of answers to what is about to be read. */
  pumpUrgent(): void {
    if (!this.#host.isReady() || this.#blocked.isEmpty) return;
    this.#pumpDue();
    for (let rank = 0; rank < RANKS.normal; rank += 1) {
      if (!this.#pumpLine(rank)) return;
    }
  }

  /** The stream has its place: to be called before its first write. */
  begin(stream: QuicStream): void {
    if (!hasDefaultUrgency(stream)) this.#setUrgency(stream);
  }

  /**
   * To be called after a stream's first write. The binding counts a stream once it knows it, and would give the same place
   * away again until then: one that it took no byte of gets known by its urgency.
   */
  begun(stream: QuicStream): void {
    if (!stream.hasSent && hasDefaultUrgency(stream)) this.#urge(stream, URGENCIES.normal);
  }

  /** The stream, which has its place, is of another class from now on. */
  reclass(stream: QuicStream, priority: Priority): void {
    const isBlocked = this.#blocked.delete(stream);
    stream.priority = priority;
    if (isBlocked) this.#blocked.add(stream);
    this.#starvation.delete(stream);
    this.#setUrgency(stream);
  }

  /** The stream is over. Bytes of it may still wait for room. */
  forget(stream: QuicStream): void {
    if (stream.priority === 'bulk') this.#starvation.delete(stream);
  }

  /** A datagram of so many bytes has left. */
  sent(bytes: number): void {
    this.#starvation.sent(bytes);
  }

  /** All that was handed over has left, as far as it could. @returns whether there is more to send */
  markSent(): boolean {
    const nonce = this.#inFlight.takeMark(performance.now());
    if (nonce !== undefined) this.#control.askForProof(nonce);
    return nonce !== undefined;
  }

  /** The peer sent a nonce back, maybe that of such a mark. */
  proofArrived(nonce: Uint8Array): void {
    this.#inFlight.proofArrived(nonce, performance.now());
  }

  /**
   * Allows so many bytes to be handed over in all. Below that QUIC takes what its congestion window and the peer's credit
   * allow. Writes what was held back until now.
   */
  handUpTo(limitBytes: number): void {
    this.#handLimitBytes = limitBytes;
    if (!this.#isHeld || limitBytes <= this.#handedBytes) return;
    this.#isHeld = false;
    this.pumpBlocked();
  }

  /** The connection is over. */
  end(): void {
    this.#blocked.clear();
  }

  /** How many bytes of a stream may be handed over now, if it has so many. */
  #allowedBytes(stream: QuicStream, bytes: number): number {
    const limited = this.#handLimitBytes - this.#handedBytes;
    if (bytes > limited) this.#isHeld = true;
    const allowed = Math.min(limited, this.#unreserved(stream, bytes));
    if (stream.priority === 'bulk') {
      return Math.min(allowed, this.#inFlight.roomBytes(performance.now()));
    }
    this.#inFlight.contention.note();
    return allowed;
  }

  /** As many of these bytes as leave the control stream what it may need. */
  #unreserved(stream: QuicStream, bytes: number): number {
    // Transport parameters are those of the session before, until TLS is done.
    if (this.#host.isEarly()) return bytes;
    this.#reserve ??= new ControlReserve(this.#native.stats());
    const handedBytes = this.#handedBytes + this.#control.handedBytes;
    const known = this.#reserve.room(handedBytes, bytes);
    if (known === bytes) return bytes;
    // A peer that allows no control stream has no use for what is left to it.
    if (!this.#control.urge()) return bytes;
    const capacityBytes = Math.max(this.#capacityBytes(stream), this.#control.capacityBytes);
    this.#reserve.learn(handedBytes, capacityBytes);
    return this.#reserve.room(handedBytes, bytes);
  }

  /** What QUIC takes now on a stream. */
  #capacityBytes(stream: QuicStream): number {
    const known = this.#capacityIfKnown(stream.id);
    if (known !== undefined) return known;
    // The binding gets to know the stream by its urgency.
    this.#urge(stream, URGENCIES[stream.priority]);
    return this.#capacityIfKnown(stream.id) ?? 0;
  }

  /** `undefined` for a stream that the binding does not know, or that the peer has stopped. */
  #capacityIfKnown(id: number): number | undefined {
    try {
      return this.#native.streamCapacity(id);
    } catch {
      return undefined;
    }
  }

  /** Puts those back in line that have credit of their own again. */
  #reviveStalled(): void {
    if (this.#blocked.stalled === 0) return;
    const isFew = this.#blocked.stalled <= FEW_STALLED;
    for (const id of isFew ? [...this.#blocked.stalledIds()] : this.#native.writable()) {
      // A stream that the peer has stopped finds that out as it is written.
      if (!isFew || this.#capacityIfKnown(id) !== 0) this.#blocked.revive(id);
    }
  }

  /** Writes streams of a class from the front of its line. @returns whether there may be room for more, of any class */
  #pumpLine(rank: number): boolean {
    for (;;) {
      const stream = this.#blocked.takeFirst(rank);
      if (stream === undefined) return true;
      const before = this.#handedBytes;
      stream.pump();
      // `write` has put it at the end of the line where there was not room for all.
      if (!stream.isBlocked) continue;
      if (!this.#hasRoom) {
        // Streams of large messages take turns. The rest of a small one does not wait for all others.
        const isVain = this.#handedBytes === before;
        if (isVain || stream.unsentBytes <= SMALL_REST_BYTES) this.#blocked.putBack(stream);
        return false;
      }
      // Bulk data may wait for the sake of other calls, though there is room.
      if (stream.priority === 'bulk' && this.#inFlight.roomBytes(nowMs()) <= 0) return true;
      this.#blocked.stall(stream);
    }
  }

  /** Writes one slice of a class that has waited long for those above it. */
  #pumpDue(): void {
    const stream = this.#blocked.takeDue();
    if (stream === undefined) return;
    const limitBytes = this.#handLimitBytes;
    this.#handLimitBytes = Math.min(limitBytes, this.#handedBytes + SLICE_BYTES);
    stream.pump();
    this.#handLimitBytes = limitBytes;
  }

  /** Whether the connection takes more now, beyond what the control stream may need. What a stream may take, may be less. */
  get #hasRoom(): boolean {
    if (this.#handedBytes >= this.#handLimitBytes) return false;
    // The control stream is the measure: it hardly ever lacks credit of its own.
    if (this.#host.isEarly() || !this.#control.urge()) return false;
    return this.#control.capacityBytes > (this.#reserve?.bytes ?? 0);
  }

  #setUrgency(stream: QuicStream): void {
    if (stream.priority === 'bulk') this.#starvation.add(stream);
    else this.#urge(stream, URGENCIES[stream.priority]);
  }

  #urge(stream: QuicStream, urgency: number): void {
    try {
      this.#native.streamPriority(stream.id, urgency, true);
    } catch {
      // The binding has forgotten it: nothing of it is left to send.
    }
  }
}

/** The binding's own default is that of normal streams. */
function hasDefaultUrgency({ priority }: QuicStream): boolean {
  return URGENCIES[priority] === URGENCIES.normal;
}
