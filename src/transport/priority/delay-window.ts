/**
 * How much bulk data may be in flight at once, so that urgent calls find no long queue before them: as much as keeps the
 * link busy, and a little more. Nothing here can overtake what is queued in the kernels of both sides and on the path; such
 * queues show in the time that bytes take. LEDBAT keeps them short that way (RFC 6817); from BBR comes the habit of
 * emptying the path now and then to measure its own delay. Pure: totals and times in, a number of bytes out.
 *
 * Callers ask only while other calls could be kept waiting: bulk data that has a connection to itself is not slowed down.
 */

/** Always allowed in flight. Links that need less are left as they are. */
export const MIN_WINDOW_BYTES = 128 * 1024;
const MAX_WINDOW_BYTES = 16 * 1024 * 1024;
/** The queueing delay aimed at: so much, or this share of the empty path's delay if that is more. */
const TARGET_MS = 2;
const TARGET_SHARE = 0.25;
/** How often the window shrinks to the smallest until the queue must be gone, to measure the path's own delay. */
const LOOK_EVERY_MS = 10_000;
const FRAME_BYTES = 64 * 1024;
const MAX_MARKS = 256;
/** The shortest of so many delays counts: a single long one may come from a busy process, not from a queue. */
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
  /** Set while the window is small to measure the empty path. Ends when so many bytes have arrived. */
  #look: { readonly untilBytes: number; readonly restoreBytes: number } | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #isLimiting = false;
  readonly #recentMs: number[] = new Array<number>(RECENT).fill(0);
  #recent = 0;

  /**
   * @param sentBytes sent so far in all
   * @param arrivedBytes of them, have arrived
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
    // With room for less than a frame of bulk data the sender stops: the window is what limits it.
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
    // Without a mark these bytes are not measured by themselves; later marks cover them.
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
