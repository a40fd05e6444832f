/** Pauses and resumes a stream for several who hold it. */
import type { FrameStream } from '../transport/connection.js';

/** Lets several parties hold one stream. It is paused while anybody holds it. */
export class Flow {
  readonly #stream: FrameStream;
  #holds = 0;

  constructor(stream: FrameStream) {
    this.#stream = stream;
  }

  hold(): void {
    this.#holds += 1;
    if (this.#holds === 1) this.#stream.pause();
  }

  release(): void {
    this.#holds -= 1;
    if (this.#holds === 0) this.#stream.resume();
  }
}

/** A {@link Flow} for a reader that outlives its stream. If it holds one stream back, it holds the next one back, too. */
export class FlowSwitch {
  #flow: Flow | undefined;
  #isHeld = false;

  hold(): void {
    this.#isHeld = true;
    this.#flow?.hold();
  }

  release(): void {
    this.#isHeld = false;
    this.#flow?.release();
  }

  /** Reads from another stream from now on. */
  turnTo(flow: Flow): void {
    this.#flow = flow;
    if (this.#isHeld) flow.hold();
  }
}
