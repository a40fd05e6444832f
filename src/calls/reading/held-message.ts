/** A message that is decoded in a later turn, and holds its stream until then. */
import { AsyncResource } from 'node:async_hooks';
import type { Flow } from '../flow.js';
import type { UnreadMessage } from './unread-message.js';

/** One message that waits to be decoded. Its stream is held until `end`, which is to be called once. */
export class HeldMessage {
  readonly unread: UnreadMessage;
  readonly #flow: Flow;
  /** In which the frame arrived: the message may be read in a turn that belongs to another connection. */
  readonly #context = new AsyncResource('quicmesh.HeldMessage');

  constructor(unread: UnreadMessage) {
    this.unread = unread;
    this.#flow = unread.sink.flow;
    this.#flow.hold();
  }

  /** Calls it in the async context in which the frame arrived. */
  run(step: (held: HeldMessage) => unknown): void {
    this.#context.runInAsyncScope(step, undefined, this);
  }

  /** It is decoded, refused or given up: its stream goes on. */
  end(): void {
    this.unread.release();
    this.#flow.release();
  }
}
