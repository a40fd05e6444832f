/** What a call of the peer needs from the session that it came by. */

import type { ByteBudget } from '../../base/byte-budget.js';
import type { MeshError } from '../../errors.js';
import type { DataTransfer, Message } from '../../protocol/message.js';
import type { PeerReader } from '../reading/peer-reader.js';
import type { TransferHost } from '../transfers/incoming-transfer.js';
import type { OpenTransfers } from '../transfers/open-transfers.js';
import type { ResumedTransfers } from '../transfers/resumed-transfers.js';
import type { Handler, HandlerKind, RequestMessage } from '../types.js';
import type { ArrivedCopies } from './arrived-copies.js';
import type { ContextHost } from './handler-context.js';
import type { HandlerSlots } from './handler-slots.js';

/** Handlers by kind, as a node holds them. */
export type Handlers = ReadonlyMap<HandlerKind, Handler<HandlerKind>>;

/** What a call of the peer asks of its session. */
export interface CallHost extends ContextHost, TransferHost {
  readonly handlers: Handlers;
  /** Bytes of messages that handlers work on, and of answers that wait to be sent. */
  readonly receiveBudget: ByteBudget;
  /** The same for calls that handlers of the peer make. */
  readonly nestedReceiveBudget: ByteBudget;
  /** Shared by all connections of the peer. */
  readonly slots: HandlerSlots;
  /** Shared likewise. */
  readonly reader: PeerReader;
  readonly transfers: ResumedTransfers;
  readonly openTransfers: OpenTransfers;
  /** Calls of the peer that come twice. */
  readonly arrivedCopies: ArrivedCopies;
  /** Calls back once TLS is done. Never calls back if the connection ends before that. */
  whenOpen(proceed: () => void): void;
  /** Why the two nodes do not exchange such messages; `undefined` if they do. */
  capabilityRefusal(type: Message['type']): MeshError | undefined;
  /** Why the peer may not make that call; `undefined` if it may. */
  authorizationRefusal(message: HandledMessage): MeshError | undefined;
  /** The peer broke the protocol in a way that no single call can answer for. */
  violated(error: MeshError): void;
  handlerFailed(kind: Message['type'], error: MeshError): void;
  /** The call is answered with an error that did not come from a handler. */
  callRefused(error: MeshError): void;
  /** The call had come before, and is not run again. */
  copyDropped(): void;
  /** The call was a ping. */
  pinged(): void;
  /** The call is over. Called once. */
  finished(): void;
}

/** A message that a handler is called with. */
export type HandledMessage = Exclude<RequestMessage, { type: 'ping' }> | DataTransfer;
