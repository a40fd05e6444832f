/**
 * The transfers of one connection that are under way. Who closes a connection in good order waits for them, but not for those
 * whose bytes nobody takes.
 */

/** A transfer under way, in either direction. */
export interface OpenTransfer {
  /** Bytes wait for their reader, here or at the peer, and hold up those behind them. */
  readonly isHeldUp: boolean;
  /** Of those that are held up here: nobody has begun to read. */
  readonly isUnread: boolean;
  /** Bytes that have passed so far. */
  readonly progress: number;
  /** Ends it, for both sides. Takes it off the list. */
  giveUp(): void;
}

const LOOK_INTERVAL_MS = 50;

export class OpenTransfers {
  readonly #open = new Set<OpenTransfer>();
  /** How far each was, and since when. */
  readonly #seen = new WeakMap<OpenTransfer, { progress: number; sinceMs: number }>();

  get size(): number {
    return this.#open.size;
  }

  add(transfer: OpenTransfer): void {
    this.#open.add(transfer);
  }

  delete(transfer: OpenTransfer): void {
    this.#open.delete(transfer);
  }

  /**
   * Gives up those that nobody has begun to read as soon as they are held up, and others when they have been so for
   * `patienceMs` without a byte that passed.
   * @returns what ends that
   */
  giveUpStalled(patienceMs: number): () => void {
    this.look(patienceMs, performance.now());
    const look = () => this.look(patienceMs, performance.now());
    const timer = setInterval(look, LOOK_INTERVAL_MS).unref();
    return () => clearInterval(timer);
  }

  /** The same once: by what was seen the times before. */
  look(patienceMs: number, nowMs: number): void {
    for (const transfer of [...this.#open]) {
      const { isHeldUp, isUnread, progress } = transfer;
      const before = this.#seen.get(transfer);
      if (!isHeldUp || before?.progress !== progress) {
        this.#seen.set(transfer, { progress, sinceMs: nowMs });
      }
      const { sinceMs } = this.#seen.get(transfer) ?? { sinceMs: nowMs };
      if (isHeldUp && (isUnread || nowMs - sinceMs >= patienceMs)) transfer.giveUp();
    }
  }
}
