/** What a call of the peer needs from the session that it came by. */
import type { MeshError } from '../../errors.js';
import type { DataTransfer, Message } from '../../protocol/message.js';
import type { ByteBudget } from '../byte-budget.js';
import type { TransferHost } from '../transfers/incoming-transfer.js';
import type { OpenTransfers } from '../transfers/open-transfers.js';
import type { ResumedTransfers } from '../transfers/resumed-transfers.js';
import type { Handler, HandlerKind, RequestMessage } from '../types.js';
import type { ContextHost } from './handler-context.js';
import type { HandlerSlots } from './handler-slots.js';

/** Handlers by kind, as a node holds them. */
export type Handlers = ReadonlyMap<HandlerKind, Handler<HandlerKind>>;

/** What a call asks of the session it belongs to. */
export interface CallHost extends ContextHost, TransferHost {
  readonly handlers: Handlers;
  /** Of messages that are handled, and of answers that wait to be sent. */
  readonly receiveBudget: ByteBudget;
  /** The same of calls that handlers of the peer make. */
  readonly nestedReceiveBudget: ByteBudget;
  /** Of the peer, over all of its connections. */
  readonly slots: HandlerSlots;
  readonly transfers: ResumedTransfers;
  readonly openTransfers: OpenTransfers;
  /** Calls back once TLS is done; never, if the connection ends before. */
  whenOpen(proceed: () => void): void;
  /** Why the two nodes do not exchange such messages, if they do not. */
  capabilityRefusal(type: Message['type']): MeshError | undefined;
  /** Why the peer may not make that call, if it may not. */
  authorizationRefusal(message: HandledMessage): MeshError | undefined;
  /** The peer broke the protocol in a way that no single call can answer for. */
  violated(error: MeshError): void;
  handlerFailed(kind: Message['type'], error: MeshError): void;
  /** The call is answered with an error that is no handler's. */
  callRefused(): void;
  /** The call was a sign of life that the peer asked for. */
  pinged(): void;
  /** The call is over. Called once. */
  finished(): void;
}

/** A message that a handler is called with. */
export type HandledMessage = Exclude<RequestMessage, { type: 'ping' }> | DataTransfer;
