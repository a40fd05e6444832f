/** Calls of the peer that come twice: each is run once, and answered on both of its streams. SPEC.md, "Redundancy". */

import type { ByteBudget } from '../../base/byte-budget.js';
import type { PackedPayload } from '../../protocol/compression.js';
import { CopyWindow } from '../../protocol/copy-window.js';
import { isRepeated, KeptAnswers } from './kept-answers.js';

/** The stream of a second copy. Its methods do nothing once the stream is over. */
export interface ArrivedCopy {
  /** Sends the answer that the first copy has got. */
  repeat(answer: PackedPayload): void;
  /** Ends the stream without an answer: that comes on the other one, or has come. */
  endUnanswered(): void;
}

/** The copies that come on one connection. */
export class ArrivedCopies {
  readonly #window = new CopyWindow();
  /** Calls that run, and the stream of the second copy once that is there. Bounded by the calls that are handled at once. */
  readonly #running = new Map<number, ArrivedCopy | undefined>();
  readonly #kept = new KeptAnswers();

  /**
   * A copy has come. Of two of one call the first is run: {@link answered} or {@link ended} must follow. The second gets the
   * answer of the first, now or later.
   * @returns whether to run the call
   */
  begin(copyId: number, copy: ArrivedCopy): boolean {
    if (this.#window.add(copyId)) {
      this.#running.set(copyId, undefined);
      return true;
    }
    const answer = this.#kept.take(copyId);
    if (answer !== undefined) copy.repeat(answer);
    else if (this.#running.has(copyId) && this.#running.get(copyId) === undefined) {
      this.#running.set(copyId, copy);
    } else copy.endUnanswered();
    return false;
  }

  /** The first copy of a call is answered. Does nothing where it was answered or has ended before. */
  answered(copyId: number, answer: PackedPayload, budget: ByteBudget): void {
    if (!this.#running.has(copyId)) return;
    const copy = this.#running.get(copyId);
    this.#running.delete(copyId);
    if (copy === undefined) this.#kept.keep(copyId, answer, budget);
    else if (isRepeated(answer)) copy.repeat(answer);
    else copy.endUnanswered();
  }

  /** The first copy of a call is over. */
  ended(copyId: number): void {
    const copy = this.#running.get(copyId);
    this.#running.delete(copyId);
    copy?.endUnanswered();
  }

  /** The connection is over. */
  clear(): void {
    this.#kept.clear();
  }
}
