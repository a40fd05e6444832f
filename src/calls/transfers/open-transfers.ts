/**
 * The transfers of one connection that are under way. An orderly close waits for them, but not for those whose bytes nobody
 * takes.
 */
import { LazySet } from '../../base/lazy-collections.js';

/** A transfer under way, in either direction. */
export interface OpenTransfer {
  /** Whether bytes wait for their reader, here or at the peer, and hold up those behind them. */
  readonly isHeldUp: boolean;
  /** Whether it is held up here, and nobody has begun to read. */
  readonly isUnread: boolean;
  /** Bytes that have passed so far. */
  readonly progress: number;
  /** Ends the transfer for both sides, and takes it off the list. */
  giveUp(): void;
}

const LOOK_INTERVAL_MS = 50;

/** The transfers under way on one connection, and the end of those that stand still. */
export class OpenTransfers {
  readonly #open = new LazySet<OpenTransfer>();
  /** The last progress of each transfer, and since when it stands there. */
  #seen: WeakMap<OpenTransfer, { progress: number; sinceMs: number }> | undefined;

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
   * From now on gives up held-up transfers: at once where nobody has begun to read, else after `patienceMs` without
   * progress.
   * @returns a function that stops this
   */
  giveUpStalled(patienceMs: number): () => void {
    this.look(patienceMs, performance.now());
    const look = () => this.look(patienceMs, performance.now());
    const timer = setInterval(look, LOOK_INTERVAL_MS).unref();
    return () => clearInterval(timer);
  }

  /** Looks at all transfers once, and compares with what earlier looks saw. */
  look(patienceMs: number, nowMs: number): void {
    this.#seen ??= new WeakMap();
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
