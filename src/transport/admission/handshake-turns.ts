/**
 * Spreads the work of handshakes over turns of the event loop, so that whatever arrives for open connections comes first. A
 * handshake costs as much as hundreds of calls: many dialers at once would hold up everybody else.
 */
import { Fifo } from '../../base/fifo.js';

export interface HandshakeTurnsOptions {
  /** A turn begins no further step once its steps have taken this long. 0 means one step in each turn. */
  readonly turnMs: number;
  /** How many steps may wait. */
  readonly maxWaiting: number;
}

/** Runs steps of handshakes within a time budget for each turn, in the order in which they came. */
export class HandshakeTurns {
  readonly #options: HandshakeTurnsOptions;
  readonly #waiting = new Fifo<() => void>();
  /** What this turn may still spend; `undefined` while no turn has such work. */
  #leftMs: number | undefined;

  constructor(options: HandshakeTurnsOptions) {
    this.#options = options;
  }

  /**
   * Runs a step now if this turn has time left and no other step waits, else in a later turn. A step must not throw: in a
   * later turn that would be an uncaught exception.
   * @returns `false` when too many steps wait, and the step will not run
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

  /** An immediate that is set while immediates run is called only after the sockets were polled again. */
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
