/** Time, for what waits: the system's, or a test's own. */

/** Time and timers: those of the system, or of a test. */
export interface PoolClock {
  /** Milliseconds that only ever grow. */
  nowMs(): number;
  /** Calls back once. @returns what cancels it */
  after(delayMs: number, callback: () => void): () => void;
  /** Calls back again and again, and keeps no process alive. @returns what cancels it */
  every(intervalMs: number, callback: () => void): () => void;
}

/** Node's timers hold 31 bits; what is later, is later than anybody waits. */
export const MAX_TIMER_MS = 0x7fff_ffff;

/** The clock of `performance.now()`. */
export const SYSTEM_CLOCK: PoolClock = {
  nowMs: () => performance.now(),
  after(delayMs, callback) {
    if (delayMs > MAX_TIMER_MS) return () => {};
    const timer = setTimeout(callback, Math.max(0, delayMs));
    return () => clearTimeout(timer);
  },
  every(intervalMs, callback) {
    const timer = setInterval(callback, Math.min(intervalMs, MAX_TIMER_MS)).unref();
    return () => clearInterval(timer);
  },
};
