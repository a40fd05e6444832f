/**
 * How much bulk data may be under way at once, so that what is urgent finds no long queue before it: as much as keeps
 * the link busy, and a little more. Queues that nobody here can overtake, in the kernels of both sides and on the way,
 * show by the time that bytes take; this is LEDBAT's way of keeping them short (RFC 6817), with looks at the empty path
 * as BBR has them. Pure: totals and times in, a number of bytes out.
 *
 * Slower than that only a connection is which carries nothing else: who asks does so only while there is somebody to be
 * kept waiting.
 */

/** Under way at any rate; on links whose window is smaller nothing changes. */
export const MIN_WINDOW_BYTES = 128 * 1024;
const MAX_WINDOW_BYTES = 16 * 1024 * 1024;
/** The queue that is aimed at, in time: so much, or this part of the delay of the empty path. */
const TARGET_MS = 2;
const TARGET_SHARE = 0.25;
/** So often the window shrinks to the smallest until the queue must be gone, and the path's own delay is seen. */
const LOOK_EVERY_MS = 10_000;
const FRAME_BYTES = 64 * 1024;
const MAX_MARKS = 256;
/** Delays that the shortest is taken of: one that a busy process held up is no sign of a queue. */
const RECENT = 4;

interface Mark {
  readonly totalBytes: number;
  readonly sentMs: number;
}

/**
 * Bounds how much bulk data is under way at once: as much as keeps the link busy, and a little more, so that what is
 * urgent finds no long queue before it. LEDBAT (RFC 6817). Pure: totals and times in, a number of bytes out.
 */
export class DelayWindow {
  #windowBytes = MIN_WINDOW_BYTES;
  #sentBytes: number;
  #arrivedBytes: number;
  /** Oldest first. */
  #marks: Mark[] = [];
  #baseMs = Number.POSITIVE_INFINITY;
  /** Set while the window is small to look at the empty path: ends when so many bytes have arrived. */
  #look: { readonly untilBytes: number; readonly restoreBytes: number } | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #isLimiting = false;
  readonly #recentMs: number[] = new Array<number>(RECENT).fill(0);
  #recent = 0;

  /**
   * @param sentBytes total so far, of which nothing is known but that
   * @param arrivedBytes have arrived
   */
  constructor(sentBytes: number, arrivedBytes: number) {
    this.#sentBytes = sentBytes;
    this.#arrivedBytes = arrivedBytes;
  }

  /** Bytes that may be sent now. */
  roomBytes(nowMs: number): number {
    if (this.#look === undefined && nowMs - this.#lookedAtMs >= LOOK_EVERY_MS)
      this.#beginLook(nowMs);
    const windowBytes = this.#look === undefined ? this.#windowBytes : MIN_WINDOW_BYTES;
    const room = windowBytes - (this.#sentBytes - this.#arrivedBytes);
    // Who is given less than a frame of bulk data sends what there is, and asks no more.
    if (room < FRAME_BYTES) this.#isLimiting = true;
    return room;
  }

  /** So much was sent in all, the last of it now: its arrival is a measure. */
  sent(totalBytes: number, nowMs: number): void {
    this.#sentBytes = totalBytes;
    this.mark(nowMs);
  }

  /** So much was sent in all; {@link mark} tells when. */
  sentSoFar(totalBytes: number): void {
    this.#sentBytes = totalBytes;
  }

  /** What was sent so far had left by now. */
  mark(nowMs: number): void {
    // Without a mark there is no measure of these bytes; those of later ones cover them.
    if (this.#marks.length >= MAX_MARKS) return;
    this.#marks.push({ totalBytes: this.#sentBytes, sentMs: nowMs });
  }

  /** So much has arrived in all, of what was sent. */
  arrived(totalBytes: number, nowMs: number): void {
    const bytes = totalBytes - this.#arrivedBytes;
    this.#arrivedBytes = totalBytes;
    let passed = 0;
    while ((this.#marks[passed]?.totalBytes ?? Number.POSITIVE_INFINITY) <= totalBytes) passed += 1;
    if (passed === 0) return;
    const { sentMs } = this.#marks[passed - 1] as Mark;
    this.#marks.splice(0, passed);
    this.#learn(bytes, nowMs - sentMs);
  }

  #beginLook(nowMs: number): void {
    this.#lookedAtMs = nowMs;
    this.#baseMs = Number.POSITIVE_INFINITY;
    const untilBytes = this.#sentBytes + 2 * MIN_WINDOW_BYTES;
    this.#look = { untilBytes, restoreBytes: this.#windowBytes };
  }

  #learn(bytes: number, delayMs: number): void {
    this.#baseMs = Math.min(this.#baseMs, delayMs);
    if (this.#look !== undefined) {
      if (this.#arrivedBytes < this.#look.untilBytes) return;
      this.#windowBytes = this.#look.restoreBytes;
      this.#look = undefined;
      return;
    }
    const targetMs = Math.max(TARGET_MS, TARGET_SHARE * this.#baseMs);
    this.#recentMs[this.#recent] = delayMs;
    this.#recent = (this.#recent + 1) % RECENT;
    const queueMs = Math.min(...this.#recentMs) - this.#baseMs;
    // At most twice as much, or half as much, for each window that has arrived.
    const step = Math.max(-0.5, (targetMs - queueMs) / targetMs) * bytes;
    if (step > 0 && !this.#isLimiting) return;
    this.#isLimiting = false;
    const wanted = this.#windowBytes + step;
    this.#windowBytes = Math.min(MAX_WINDOW_BYTES, Math.max(MIN_WINDOW_BYTES, wanted));
  }
}
