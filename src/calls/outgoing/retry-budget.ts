/**
 * Limits the retries of all calls to one peer: a token bucket that first attempts fill. Retries so remain a part of the
 * load, and a peer in trouble does not get many times the load of a healthy one. Pure, and without a clock.
 */

export interface RetryBudgetLimits {
  /** Tokens that the bucket holds when full. It starts full. */
  readonly budget: number;
  /** Part of a token that each first attempt adds, to three decimal places. */
  readonly budgetRatio: number;
}

/** Tokens are counted in thousandths: whole numbers add up exactly. */
const PARTS = 1000;

/** A token bucket. After n deposits, at most `budget + n * budgetRatio` tokens were ever taken. */
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

  /** Takes a token for one retry. @returns false where there is none */
  take(): boolean {
    if (!this.hasToken) return false;
    this.#parts -= PARTS;
    return true;
  }
}
