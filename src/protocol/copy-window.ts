/**
 * Tells the first copy of a call that is sent twice from the second one, whenever that comes. SPEC.md, "Redundancy".
 *
 * The numbers of one connection ascend, so that no clock is needed: a bit for each of the latest ones, and everything below
 * them counts as seen. What is forgotten is never run.
 */

/** The largest message that may be sent twice, in bytes of its payload. */
export const MAX_COPY_BYTES = 1024;

/** So many numbers, up to the highest that came, are told apart. */
export const COPY_WINDOW = 4096;

/** The numbers that came on one connection, in one direction. Takes 512 bytes. Pure. */
export class CopyWindow {
  readonly #seen = new Uint8Array(COPY_WINDOW / 8);
  /** The first number that is above all that came. */
  #end = 0;

  /** Notes a number. @returns whether its call is to be run: it did not come before, and is not below the window */
  add(copyId: number): boolean {
    if (copyId >= this.#end) this.#moveTo(copyId + 1);
    else if (copyId < this.#end - COPY_WINDOW) return false;
    const at = (copyId % COPY_WINDOW) >> 3;
    const bit = 1 << (copyId & 7);
    const byte = this.#seen[at] as number;
    this.#seen[at] = byte | bit;
    return (byte & bit) === 0;
  }

  /** Forgets the numbers that leave the window. A leap costs no more than the window has bytes. */
  #moveTo(end: number): void {
    if (end - this.#end >= COPY_WINDOW) this.#seen.fill(0);
    else for (let id = this.#end; id < end; id += 1) this.#clear(id);
    this.#end = end;
  }

  #clear(copyId: number): void {
    const at = (copyId % COPY_WINDOW) >> 3;
    this.#seen[at] = (this.#seen[at] as number) & ~(1 << (copyId & 7));
  }
}
