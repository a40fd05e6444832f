/**
 * Streams that the peer gave up, as their FIN shows, before the notice that says why. The notice is on the control stream
 * and may come later, if its datagram was overtaken or lost. So the end of the stream waits for it a while. SPEC.md, "QUIC".
 */
import { LazyMap } from '../../../base/lazy-collections.js';
import type { QuicStream } from './stream.js';

/** Enough for a lost notice to be sent again, which takes about two round trips. */
const PATIENCE_MS = 250;

/**
 * Streams that the peer gave up, and whose notice of why is not here yet. Each waits for it for a short while. SPEC.md,
 * "QUIC".
 */
export class UnexplainedEnds {
  readonly #guard: (step: () => void) => void;
  /** When the wait is over, by stream; in order. */
  readonly #untilMs = new LazyMap<QuicStream, number>();
  #timer: NodeJS.Timeout | undefined;

  /** @param guard runs a step outside of any input */
  constructor(guard: (step: () => void) => void) {
    this.#guard = guard;
  }

  /** Ends the stream unless a notice comes in time. Bounded by the connection's streams. */
  add(stream: QuicStream): void {
    if (this.#untilMs.has(stream)) return;
    this.#untilMs.set(stream, performance.now() + PATIENCE_MS);
    this.#arm();
  }

  /** The stream is over. */
  delete(stream: QuicStream): void {
    this.#untilMs.delete(stream);
  }

  /** The connection is over. */
  end(): void {
    clearTimeout(this.#timer);
    this.#untilMs.clear();
  }

  #arm(): void {
    const [untilMs] = this.#untilMs.values();
    if (untilMs === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#expire(), Math.max(1, untilMs - performance.now()));
  }

  #expire(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    this.#guard(() => {
      for (const [stream, untilMs] of this.#untilMs) {
        if (untilMs > nowMs) break;
        this.#untilMs.delete(stream);
        stream.endUnexplained();
      }
    });
    this.#arm();
  }
}
