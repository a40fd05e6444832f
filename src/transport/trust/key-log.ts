/**
 * Writes the secrets of TLS connections to one file, in the NSS format that Wireshark and tshark read. For debugging: whoever
 * has the file can read all that the connections carried.
 */
import { appendFileSync } from 'node:fs';
import { type MeshError, toMeshError } from '../../errors.js';

/**
 * Appends the secrets of TLS connections to a file, in the NSS format that Wireshark reads. For debugging only: whoever
 * has the file can read everything that was said.
 */
export class KeyLog {
  readonly #path: string;
  readonly #onFailure: (error: MeshError) => void;
  #failed = false;

  /** @param onFailure called once, with the first failure to write; connections go on */
  constructor(path: string, onFailure: (error: MeshError) => void) {
    this.#path = path;
    this.#onFailure = onFailure;
  }

  /** Appends whole lines. A new file is readable for this user only. */
  append(lines: Uint8Array): void {
    this.attempt(() => {
      // One write call for all of it: several processes may share the file.
      if (lines.length > 0) appendFileSync(this.#path, lines, { mode: 0o600 });
    });
  }

  /** Runs a step that writes the log. What it throws is reported, and ends nothing else. */
  attempt(step: () => void): void {
    try {
      step();
    } catch (thrown) {
      if (this.#failed) return;
      this.#failed = true;
      this.#onFailure(toMeshError(thrown));
    }
  }
}
