/** Moves the TLS secrets of QUIC connections to the key log. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KeyLog } from '../../trust/key-log.js';
import type { NativeConnection } from './native.js';

/**
 * Moves the secrets that the binding logs for one connection to the key log. The binding empties the file that it is
 * given, so each connection gets one of its own, which only this user can read.
 */
export class ConnectionKeys {
  readonly #log: KeyLog;
  #directory: string | undefined;
  #nextFile = 1;

  constructor(log: KeyLog) {
    this.#log = log;
  }

  /**
   * Has the binding log a connection's secrets. Call it before the connection's first packet.
   * @returns a function that moves them to the key log; call it once, when TLS is done or has failed
   */
  watch(native: NativeConnection): () => void {
    let file: string | undefined;
    this.#log.attempt(() => {
      this.#directory ??= mkdtempSync(join(tmpdir(), 'quicmesh-keys-'));
      file = join(this.#directory, `${this.#nextFile}`);
      this.#nextFile += 1;
      native.setKeylog(file);
    });
    return () => {
      if (file === undefined) return;
      const path = file;
      file = undefined;
      this.#log.attempt(() => {
        this.#log.append(readFileSync(path));
        rmSync(path);
      });
    };
  }

  close(): void {
    const directory = this.#directory;
    if (directory === undefined) return;
    this.#directory = undefined;
    this.#log.attempt(() => rmSync(directory, { recursive: true, force: true }));
  }
}
