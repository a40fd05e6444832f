/** Answers to calls that are sent twice, for the copies that are still to come. SPEC.md, "Redundancy". */

import { compact } from '../../base/buffers.js';
import type { ByteBudget } from '../../base/byte-budget.js';
import type { PackedPayload } from '../../protocol/compression.js';
import { MAX_COPY_BYTES } from '../../protocol/copy-window.js';

/**
 * The second copy of a call comes right behind the first, or after a round trip if it was lost. By then the caller mostly has
 * its answer.
 */
const KEEP_MS = 1000;
/** Answers of one connection that are kept. Copies come one behind the other, so that one is nearly always enough. */
const MAX_ANSWERS = 64;

interface KeptAnswer {
  readonly answer: PackedPayload;
  readonly budget: ByteBudget;
}

/** Whether an answer goes out on both streams of a call. A large one goes once: that it comes late matters less. */
export function isRepeated({ payload, tail }: PackedPayload): boolean {
  return tail === undefined && payload.length <= MAX_COPY_BYTES;
}

/** Keeps small answers of one connection for a second or two. Their bytes are taken from the budget of their calls. */
export class KeptAnswers {
  #current = new Map<number, KeptAnswer>();
  #previous = new Map<number, KeptAnswer>();
  readonly #keepMs: number;
  #timer: NodeJS.Timeout | undefined;

  /** @param keepMs each is kept for so long at least, and for twice as long at most. Default 1000 */
  constructor(keepMs = KEEP_MS) {
    this.#keepMs = keepMs;
  }

  get size(): number {
    return this.#current.size + this.#previous.size;
  }

  /** Keeps an answer, unless there is no room for it. The oldest makes room for it in number. */
  keep(copyId: number, answer: PackedPayload, budget: ByteBudget): void {
    if (!isRepeated(answer) || !budget.hasRoom) return;
    if (this.size >= MAX_ANSWERS) this.#dropOldest();
    // A payload is cut from a block that many share, and must not keep it alive.
    const own = { ...answer, payload: compact(answer.payload) };
    budget.take(own.payload.length);
    this.#current.set(copyId, { answer: own, budget });
    this.#timer ??= this.#start();
  }

  /** Gives an answer away, if it is still there. */
  take(copyId: number): PackedPayload | undefined {
    const kept = this.#current.get(copyId) ?? this.#previous.get(copyId);
    if (kept === undefined) return undefined;
    if (!this.#current.delete(copyId)) this.#previous.delete(copyId);
    giveBack(kept);
    return kept.answer;
  }

  /** The connection is over. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#turn();
    this.#turn();
  }

  /** One timer serves all, and none runs while nothing is kept. */
  #start(): NodeJS.Timeout {
    return setTimeout(() => {
      this.#turn();
      this.#timer = this.size > 0 ? this.#start() : undefined;
    }, this.#keepMs).unref();
  }

  /** Drops what was there a turn ago. */
  #turn(): void {
    for (const kept of this.#previous.values()) giveBack(kept);
    const empty = this.#previous;
    empty.clear();
    this.#previous = this.#current;
    this.#current = empty;
  }

  #dropOldest(): void {
    const [oldest] = this.#previous.size > 0 ? this.#previous.keys() : this.#current.keys();
    if (oldest !== undefined) this.take(oldest);
  }
}

function giveBack({ answer, budget }: KeptAnswer): void {
  budget.give(answer.payload.length);
}
