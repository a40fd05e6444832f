/** A call that failed, as those see it who may make it again. */
import type { MeshError } from '../../errors.js';
import type { KeptMessage } from '../../protocol/kept-message.js';

/** A call that failed, and may be made again. */
export interface FailedCall {
  /** Its message, where anything of it is known. To be asked in the turn in which the call fails. */
  keepMessage(): KeptMessage | undefined;
}

/** What becomes of a call that failed, in place of its failure. */
export type Recover<T> = (error: MeshError, call: FailedCall) => Promise<T>;
