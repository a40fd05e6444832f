/**
 * Work for peers that have yet to prove themselves, a little of it in each turn of the event loop: whatever arrived for
 * connections meanwhile comes first. A handshake costs as much as hundreds of calls, and many dialers at once would be
 * a wait for everybody else.
 */
import { Fifo } from '../../base/fifo.js';

export interface NewcomerTurnsOptions {
  /** A turn begins no further step once its steps have taken so long; 0: one step in each turn. */
  readonly turnMs: number;
  /** Steps that wait at most. */
  readonly maxWaiting: number;
}

export class NewcomerTurns {
  readonly #options: NewcomerTurnsOptions;
  readonly #waiting = new Fifo<() => void>();
  /** What this turn may still spend; `undefined` outside of turns with any work of ours. */
  #leftMs: number | undefined;

  constructor(options: NewcomerTurnsOptions) {
    this.#options = options;
  }

  /**
   * Runs a step now, if this turn still has time for it and none waits, or in a later one. What a step throws is the
   * caller's, or an uncaught exception: steps are not to throw.
   * @returns whether it was taken; `false` when too many wait
   */
  take(step: () => void): boolean {
    if (this.#leftMs === undefined) {
      this.#leftMs = this.#options.turnMs;
      setImmediate(this.#nextTurn);
    } else if (this.#leftMs <= 0 || this.#waiting.length > 0) {
      if (this.#waiting.length >= this.#options.maxWaiting) return false;
      this.#waiting.push(step);
      return true;
    }
    this.#run(step);
    return true;
  }

  #run(step: () => void): void {
    const beganMs = performance.now();
    step();
    this.#leftMs = (this.#leftMs ?? 0) - (performance.now() - beganMs);
  }

  /** Immediates that are set while immediates run, run after the next look at the sockets. */
  readonly #nextTurn = (): void => {
    if (this.#waiting.length === 0) {
      this.#leftMs = undefined;
      return;
    }
    this.#leftMs = this.#options.turnMs;
    setImmediate(this.#nextTurn);
    do {
      const step = this.#waiting.shift();
      if (step === undefined) return;
      this.#run(step);
    } while (this.#leftMs > 0);
  };
}
