/** One attempt of the peer at a transfer: waits for its turn, and makes way for the next. SPEC.md, "Transfers". */
import { MeshError, toMeshError } from '../../errors.js';
import type { Frame } from '../../protocol/frame.js';
import type { DataTransfer, Message } from '../../protocol/message.js';
import type { FrameStream } from '../../transport/connection.js';
import type { Flow } from '../flow.js';
import { type Handling, runHandling } from '../handling.js';
import { closeBytes } from '../transfers/chunk-source.js';
import { IncomingTransfer, type TransferMemory } from '../transfers/incoming-transfer.js';
import type { OpenTransfer } from '../transfers/open-transfers.js';
import type { TransferTurn } from '../transfers/resumed-transfers.js';
import type { Bytes } from '../types.js';
import type { CallHost } from './call-host.js';

/** What an attempt asks of the call that it is made by. None of these throws. */
export interface TransferCall {
  readonly flow: Flow;
  isOver(): boolean;
  /** It is this attempt's turn: calls the handler. */
  run(): void;
  /** The attempt cannot begin as the peer wants. */
  refuse(error: MeshError): void;
  /** Ends the call at once, without an answer. */
  supersede(error: MeshError): void;
}

/** Owns the bytes of one attempt, and its turn among the attempts at the same transfer. */
export class TransferAttempt implements TransferTurn, OpenTransfer {
  readonly transfer: IncomingTransfer;
  readonly isUnread = false;
  readonly #host: CallHost;
  readonly #call: TransferCall;
  /** The peer's name for the transfer; `undefined` for one that cannot be resumed. */
  readonly #id: string | undefined;
  #hasBegun = false;
  /** The stream is held until the attempt's turn. */
  #isHeld = false;
  #isHandlerDone = false;

  /** @param open the first message */
  constructor(open: DataTransfer, stream: FrameStream, host: CallHost, call: TransferCall) {
    this.transfer = new IncomingTransfer(open, stream, host, call.flow);
    this.#host = host;
    this.#call = call;
    this.#id = open.resume === true ? open.transferId : undefined;
  }

  /**
   * Runs the handler: at once, or with the stream held until no other handler is at the same transfer.
   * @throws MeshError UnexpectedMessage, ChecksumMismatch for a first message that is wrong
   */
  begin(open: DataTransfer, frame: Frame): void {
    if (this.#id === undefined) {
      this.transfer.begin(undefined);
      if (open.data !== undefined || open.checksum !== undefined) this.receive(open, frame);
      this.#call.run();
      return;
    }
    this.#host.transfers.enter(this.#host.peer.nodeId, this.#id, this);
    if (this.#hasBegun || this.#call.isOver()) return;
    this.#isHeld = true;
    this.#call.flow.hold();
  }

  /** @throws MeshError UnexpectedMessage, ChecksumMismatch */
  receive(message: Message, frame: Frame): void {
    this.transfer.receive(message, frame);
  }

  /**
   * Sends the handler's bytes, or lets go of them where the call is over.
   * @throws MeshError as IncomingTransfer.answer
   */
  async answer(bytes: Bytes | undefined, handling: Handling): Promise<void> {
    const { openTransfers } = this.#host;
    openTransfers.add(this);
    try {
      if (this.#call.isOver()) await closeBytes(bytes);
      else await runHandling(handling, () => this.transfer.answer(bytes));
    } finally {
      openTransfers.delete(this);
    }
  }

  /** The stream has room again. */
  drained(): void {
    this.transfer.drained();
  }

  /** The call is over. */
  fail(error: MeshError): void {
    this.transfer.fail(error);
    this.#leave();
  }

  /** The handler will do no more. */
  handlerDone(): void {
    this.#isHandlerDone = true;
    this.#leave();
  }

  #leave(): void {
    if (this.#id === undefined) return;
    // The call is over, but its handler is not done yet: the next attempt still waits for it.
    if (this.#hasBegun && !this.#isHandlerDone) return;
    const memory = this.#hasBegun ? this.transfer.memory : undefined;
    this.#host.transfers.leave(this.#host.peer.nodeId, this.#id, this, memory);
  }

  // ---- TransferTurn -------------------------------------------------------------------------------------

  start(memory: TransferMemory | undefined): void {
    try {
      this.transfer.begin(memory);
      this.#hasBegun = true;
      this.#call.run();
    } catch (thrown) {
      this.#call.refuse(toMeshError(thrown));
    }
    if (this.#isHeld) this.#call.flow.release();
  }

  cancel(error: MeshError): void {
    this.#call.supersede(error);
  }

  // ---- OpenTransfer -------------------------------------------------------------------------------------

  get isHeldUp(): boolean {
    return this.transfer.isHeldUp;
  }

  get progress(): number {
    return this.transfer.sentBytes;
  }

  giveUp(): void {
    this.#call.supersede(UNTAKEN);
  }
}

/** The node closes, and the peer does not read. */
const UNTAKEN = new MeshError('GoingAway', 'nobody takes the bytes of the transfer');
