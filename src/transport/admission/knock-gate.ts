/** Lets knocks in: checks them by the keys in force, and remembers those that were answered. SPEC.md, "Knocks". */
import { KnockMemory, type KnockVerdict } from './knock-memory.js';
import type { Knocks } from './knocks.js';

/** What a listener answers, and by which keys it and its dialers knock. */
export interface SilenceOptions {
  /**
   * `'required'`, the default: only who knocks is answered, and to all others the port looks closed. `'off'`: everybody is
   * answered, for dialers that cannot knock.
   */
  readonly silent?: 'required' | 'off' | undefined;
  /**
   * What knocks follow from, in place of the certificates of CAs: at least 16 characters that nobody can guess. Of several, the
   * first is for knocks of this node, and all are for those of others, so that a secret can be replaced. Every node needs the
   * same.
   */
  readonly secret?: string | readonly string[] | undefined;
}

/** A gate for the knocks of dialers. */
export class KnockGate {
  readonly #knocks: () => Knocks;
  readonly #memory = new KnockMemory();

  /** @param knocks by the certificates in force now */
  constructor(knocks: () => Knocks) {
    this.#knocks = knocks;
  }

  /**
   * Judges a knock before anything is answered. A stranger's leaves nothing behind.
   * @param address host and port of its sender, as text
   * @param nowMs since 1970
   */
  judge(knock: Uint8Array, address: string, nowMs: number): KnockVerdict | 'stranger' {
    const slot = this.#knocks().verify(knock, nowMs);
    return slot === undefined
      ? 'stranger'
      : this.#memory.claim(textOf(knock), slot, address, nowMs);
  }

  /** A knock has led to a connection. */
  spend(knock: Uint8Array): void {
    this.#memory.spend(textOf(knock));
  }
}

function textOf(knock: Uint8Array): string {
  return Buffer.from(knock.buffer, knock.byteOffset, knock.byteLength).toString('latin1');
}
