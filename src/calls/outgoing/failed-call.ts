/** What a failed call offers to whoever may make it again. */
import type { MeshError } from '../../errors.js';
import type { KeptMessage } from '../../protocol/kept-message.js';

/** A call that failed, and may be made again. */
export interface FailedCall {
  /** The call's message, if it got as far as being encoded. To be called in the turn in which the call fails. */
  keepMessage(): KeptMessage | undefined;
}

/** Whoever may make a call again that fails. */
export interface Recovery<T> {
  /** Called when the call fails. The call settles as the returned promise does. */
  recover(error: MeshError, call: FailedCall): Promise<T>;
}
