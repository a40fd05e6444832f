/** What a call of this side needs from the session that carries it. */

import type { ByteBudget } from '../../base/byte-budget.js';
import type { FrameCodec } from '../../protocol/frame-codec.js';
import type { PeerReader } from '../reading/peer-reader.js';
import type { StreamOpener } from '../stream-opener.js';
import type { MessageCopies } from './message-copies.js';

/** What a call of this side asks of its session. */
export interface CallerHost {
  readonly opener: StreamOpener;
  readonly codec: FrameCodec;
  readonly reader: PeerReader;
  /** Bytes of messages that were sent and not answered yet. */
  readonly sendBudget: ByteBudget;
  /** The same for calls that handlers make, which must not wait for other calls. See handling.ts. */
  readonly nestedBudget: ByteBudget;
  /** Copies of messages that wait. */
  readonly copies: MessageCopies;
  /** A second copy was handed to its stream. */
  copySent(): void;
  /** The call is over. Called once, before the call's promise settles. */
  callSettled(succeeded: boolean): void;
}
