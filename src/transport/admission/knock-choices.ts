/**
 * Remembers with which of several keys to knock where. A dialer whose chain ends in several roots cannot know which of them a
 * listener trusts: one that does not trust it stays silent. SPEC.md, "Knocks". Pure.
 */

/** Of a node's peers only those are kept that did not answer the first key. */
const MAX_ADDRESSES = 1024;

/** The key to use next, for each address; see `Knocks`. */
export class KnockChoices {
  readonly #choices = new Map<string, number>();

  /** @param address host and port, as text */
  at(address: string): number {
    return this.#choices.get(address) ?? 0;
  }

  /** Nothing came back: the next dial tries another key. @param choice the one that was used */
  unanswered(address: string, choice: number): void {
    this.#choices.delete(address);
    this.#choices.set(address, choice + 1);
    if (this.#choices.size <= MAX_ADDRESSES) return;
    const [oldest = address] = this.#choices.keys();
    this.#choices.delete(oldest);
  }
}
