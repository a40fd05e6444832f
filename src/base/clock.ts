/** The clock and timers: the system's, or those of a test. */

/** Time and timers: those of the system, or of a test. */
export interface PoolClock {
  /** Milliseconds that only ever grow. */
  nowMs(): number;
  /** Calls back once. @returns what cancels it */
  after(delayMs: number, callback: () => void): () => void;
  /** Calls back again and again, and keeps no process alive. @returns what cancels it */
  every(intervalMs: number, callback: () => void): () => void;
}

/** The longest delay that Node's timers take, in milliseconds: about 25 days. A longer one is no limit in practice. */
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
