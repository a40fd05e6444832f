/** The frames of one stream as messages, in order, although some take a thread of their own to decompress. */
import { type MeshError, toMeshError } from '../errors.js';
import type { Frame } from '../protocol/frame.js';
import type { FrameCodec } from '../protocol/frame-codec.js';
import type { Message } from '../protocol/message.js';
import type { FrameStream } from '../transport/connection.js';

/** Receives the messages of a stream. Its methods do not throw. */
export interface MessageSink {
  readonly flow: Flow;
  /** @param frame that it came in */
  onMessage(message: Message, frame: Frame): void;
  onBadMessage(error: MeshError): void;
}

/** Whether a stream delivers: it does as long as nobody holds it. */
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

/** The same of a reader that outlives the stream it reads from: what it wants holds for the next one too. */
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

  /** The stream that is read from now on. */
  turnTo(flow: Flow): void {
    this.#flow = flow;
    if (this.#isHeld) flow.hold();
  }
}

/** Decodes a frame and hands its message over: at once, or with the stream held until then. */
export function receiveFrame(frame: Frame, codec: FrameCodec, sink: MessageSink): void {
  let message: Message | Promise<Message>;
  try {
    message = codec.decode(frame);
  } catch (thrown) {
    sink.onBadMessage(toMeshError(thrown));
    return;
  }
  if (message instanceof Promise) void receiveLater(message, frame, sink);
  else sink.onMessage(message, frame);
}

async function receiveLater(
  message: Promise<Message>,
  frame: Frame,
  sink: MessageSink,
): Promise<void> {
  const { flow } = sink;
  flow.hold();
  try {
    sink.onMessage(await message, frame);
  } catch (thrown) {
    sink.onBadMessage(toMeshError(thrown));
  } finally {
    flow.release();
  }
}
