/** A wire within one process: two streams of bytes, joined at their far sides. */
import { Duplex } from 'node:stream';

/**
 * The two ends. What is written to one arrives at the other in a later turn, as over any socket and unlike with
 * `duplexPair` of Node.js, so that nobody is called, and answers, while it writes. An end that is destroyed says nothing
 * to the other.
 */
export function memoryWire(): readonly [Duplex, Duplex] {
  const near = new WireEnd();
  const far = new WireEnd();
  near.join(far);
  far.join(near);
  return [near, far];
}

class WireEnd extends Duplex {
  #other: WireEnd | undefined;
  /** What the other end waits for before it sends more. */
  #onRead: (() => void) | undefined;

  join(other: WireEnd): void {
    this.#other = other;
  }

  /** @param done called when more may come */
  deliver(chunk: Buffer, done: () => void): void {
    if (this.destroyed || this.push(chunk)) done();
    else this.#onRead = done;
  }

  override _read(): void {
    const onRead = this.#onRead;
    this.#onRead = undefined;
    onRead?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    setImmediate(() => this.#other?.deliver(chunk, done));
  }

  override _final(done: () => void): void {
    setImmediate(() => {
      this.#other?.push(null);
      done();
    });
  }
}
