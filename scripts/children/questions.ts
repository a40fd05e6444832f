/** Questions to another process that wait for their answers: each settles once, at the latest when its time is up. */

interface Question {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

export class Questions<Key> {
  readonly #open = new Map<Key, Question>();

  /** What waits for an answer, in the order in which it was asked. */
  get keys(): Key[] {
    return [...this.#open.keys()];
  }

  /**
   * Waits for the answer to a question that is asked now. There is one of a key at a time.
   * @param late what it fails with when `limitMs` have passed
   */
  ask<T>(key: Key, limitMs: number, late: () => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.fail(key, late()), limitMs);
      // Who asks knows what is answered.
      this.#open.set(key, { resolve: resolve as (answer: unknown) => void, reject, timer });
    });
  }

  answer(key: Key, answer: unknown): void {
    this.#take(key)?.resolve(answer);
  }

  fail(key: Key, error: unknown): void {
    this.#take(key)?.reject(error);
  }

  failAll(error: unknown): void {
    for (const key of this.keys) this.fail(key, error);
  }

  /** Begins its time anew. */
  refresh(key: Key): void {
    this.#open.get(key)?.timer.refresh();
  }

  #take(key: Key): Question | undefined {
    const question = this.#open.get(key);
    this.#open.delete(key);
    clearTimeout(question?.timer);
    return question;
  }
}
