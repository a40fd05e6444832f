/** Turns the frames of a stream into messages, in order, also where decompression runs on another thread. */
import { type MeshError, toMeshError } from '../errors.js';
import type { Frame } from '../protocol/frame.js';
import type { FrameCodec } from '../protocol/frame-codec.js';
import type { Message } from '../protocol/message.js';
import type { Flow } from './flow.js';

/** Receives the messages of a stream. Its methods do not throw. */
export interface MessageSink {
  readonly flow: Flow;
  /** @param frame the frame that carried the message */
  onMessage(message: Message, frame: Frame): void;
  onBadMessage(error: MeshError): void;
}

/** Decodes a frame and hands its message over: at once, or later with the stream held meanwhile. */
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
