/** Who receives the messages of a stream. */
import type { MeshError } from '../../errors.js';
import type { Frame } from '../../protocol/frame.js';
import type { Message } from '../../protocol/message.js';
import type { Flow } from '../flow.js';

/** Receives the messages of a stream. Its methods do not throw. */
export interface MessageSink {
  readonly flow: Flow;
  /** Whether nobody waits for further messages. */
  readonly isOver: boolean;
  /**
   * @param frame the frame that carried the message
   * @param heldBytes what the message takes in memory, estimated
   */
  onMessage(message: Message, frame: Frame, heldBytes: number): void;
  onBadMessage(error: MeshError): void;
}
