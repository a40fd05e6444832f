/**
 * How many further attempts the calls to one peer may take together: a token bucket that first attempts fill, so that a
 * peer in trouble is not asked many times as much as one that is well. Pure, and without a clock: what fills it is load.
 */

export interface RetryBudgetLimits {
  /** Tokens that it holds, and starts with. */
  readonly budget: number;
  /** Part of a token that each first attempt adds. Counted in thousandths. */
  readonly budgetRatio: number;
}

/** Whole numbers add up exactly. */
const PARTS = 1000;

/** After n deposits, at most `budget + n * budgetRatio` tokens were ever taken. */
export class RetryBudget {
  readonly #capacity: number;
  readonly #deposit: number;
  #parts: number;

  constructor({ budget, budgetRatio }: RetryBudgetLimits) {
    this.#capacity = Math.round(budget * PARTS);
    this.#deposit = Math.round(budgetRatio * PARTS);
    this.#parts = this.#capacity;
  }

  /** Whether {@link take} would give a token. */
  get hasToken(): boolean {
    return this.#parts >= PARTS;
  }

  /** A call makes its first attempt. */
  deposit(): void {
    this.#parts = Math.min(this.#capacity, this.#parts + this.#deposit);
  }

  /** For one further attempt. @returns whether there was a token */
  take(): boolean {
    if (!this.hasToken) return false;
    this.#parts -= PARTS;
    return true;
  }
}
