/**
 * Streams of calls that leave before the handshake is answered. What comes back waits for the answer, which says what the
 * peer's frames may look like. SPEC.md, "Pipelining".
 */
import { MeshError, wasNeverAccepted } from '../../errors.js';
import type { Frame } from '../../protocol/frame.js';
import type { Priority } from '../../protocol/priority.js';
import {
  type Connection,
  type FrameStream,
  type FrameStreamHandler,
  MAX_PRE_HANDSHAKE_STREAMS,
} from '../../transport/connection.js';
import type { CallHandler, StreamOpener } from '../stream-opener.js';

/** Opens streams before the handshake is answered, up to a limit, and holds back what arrives on them. */
export class PreHandshakeStreams implements StreamOpener {
  readonly #connection: Connection;
  readonly #held = new Map<FrameStream, CallHandler>();
  #opened = 1;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Whether one more may be opened; the handshake's own stream counts. */
  get hasRoom(): boolean {
    return this.#opened < MAX_PRE_HANDSHAKE_STREAMS;
  }

  openStream(handler: CallHandler, priority: Priority): FrameStream {
    if (!this.hasRoom) throw new MeshError('Overloaded', 'too many calls before the handshake');
    // The session takes only replay-safe calls while the connection is early.
    const stream = this.#connection.openStream(new PreHandshakeCall(handler), {
      early: true,
      priority,
    });
    this.#opened += 1;
    stream.pause();
    this.#held.set(stream, handler);
    return stream;
  }

  /** The peer has accepted: answers are read. */
  release(): void {
    const held = [...this.#held];
    this.#held.clear();
    for (const [stream, handler] of held) {
      stream.handler = handler;
      stream.resume();
    }
  }

  /** Every call ends with this error. @param refused by the peer, which has run none of them */
  fail(error: MeshError, refused: boolean): void {
    const handlers = [...this.#held.values()];
    this.#held.clear();
    const unrun = refused || wasNeverAccepted(error);
    for (const handler of handlers) {
      if (unrun) handler.onRefused(error);
      else handler.onReset(error);
    }
  }
}

/** Stands before a call until the handshake is answered. */
class PreHandshakeCall implements FrameStreamHandler {
  readonly #call: CallHandler;

  constructor(call: CallHandler) {
    this.#call = call;
  }

  onFrame(frame: Frame): void {
    this.#call.onFrame(frame);
  }

  onEnd(): void {
    this.#call.onEnd();
  }

  onReset(error: MeshError): void {
    if (wasNeverAccepted(error)) this.#call.onRefused(error);
    else this.#call.onReset(error);
  }

  onDrain(): void {
    this.#call.onDrain?.();
  }

  onSent(): void {
    this.#call.onSent?.();
  }
}
