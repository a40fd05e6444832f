/** What a call of this side needs from the session that carries it. */
import type { FrameCodec } from '../../protocol/frame-codec.js';
import type { ByteBudget } from '../byte-budget.js';
import type { StreamOpener } from '../stream-opener.js';
import type { MessageCopies } from './message-copies.js';

/** What a call asks of the session that it goes by. */
export interface CallerHost {
  readonly opener: StreamOpener;
  readonly codec: FrameCodec;
  /** Of messages that were sent and not answered yet. */
  readonly sendBudget: ByteBudget;
  /** The same of calls that handlers make: those do not wait for calls whose answers may wait for them. See handling.ts. */
  readonly nestedBudget: ByteBudget;
  /** Of messages that wait. */
  readonly copies: MessageCopies;
  /** The call is over. Called once, ahead of whoever waits for it. */
  callSettled(succeeded: boolean): void;
}
