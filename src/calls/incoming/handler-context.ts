/** What a handler knows of its call, and how it learns that the call has ended. */
import { MAX_TIMER_MS } from '../../base/clock.js';
import { MeshError } from '../../errors.js';
import type { TransportName } from '../../transport/connection.js';
import { ByteQueue } from '../transfers/byte-queue.js';
import type { IncomingTransfer } from '../transfers/incoming-transfer.js';
import type { CallContext } from '../types.js';

/** What a context takes from the session of its call. */
export interface ContextHost {
  readonly peer: { readonly nodeId: string };
  readonly transport: TransportName;
  /** Whether TLS is not done yet: what arrives now could be a replay. */
  readonly isEarly: boolean;
}

/** The `context` of one call. Every call has one, so parts that few handlers use are made on first use. */
export class HandlerContext implements CallContext {
  readonly early: boolean;
  readonly deadline: number | undefined;
  readonly #host: ContextHost;
  readonly #transfer: IncomingTransfer | undefined;
  #abort: AbortController | undefined;
  #cancelled: MeshError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #body: ByteQueue | undefined;
  #isBodyEnded = false;

  constructor(
    host: ContextHost,
    { timeoutMs }: { readonly timeoutMs?: number },
    transfer?: IncomingTransfer,
  ) {
    this.#host = host;
    this.#transfer = transfer;
    this.#body = transfer?.body;
    this.early = host.isEarly;
    this.deadline = timeoutMs === undefined ? undefined : Date.now() + timeoutMs;
  }

  get peer(): { readonly nodeId: string } {
    return this.#host.peer;
  }

  get transport(): TransportName {
    return this.#host.transport;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#cancelled !== undefined) this.#abort.abort(this.#cancelled);
      else if (this.deadline !== undefined) this.#armDeadline(this.deadline);
    }
    return this.#abort.signal;
  }

  get body(): ByteQueue {
    if (this.#body === undefined) {
      this.#body = new ByteQueue(undefined, () => {});
      if (this.#isBodyEnded) this.#body.end();
    }
    return this.#body;
  }

  resumeAt(offset: number, checksum?: number): void {
    if (this.#transfer === undefined) {
      throw new MeshError('InvalidArgument', 'only a dataTransfer is resumed');
    }
    this.#transfer.resumeAt(offset, checksum);
  }

  lendChunks(): void {
    this.body.lend();
  }

  /** The caller sends no more bytes. */
  endBody(): void {
    this.#isBodyEnded = true;
    this.#body?.end();
  }

  cancel(error: MeshError): void {
    this.#cancelled ??= error;
    this.#abort?.abort(error);
    this.#body?.fail(error);
    this.close();
  }

  close(): void {
    clearTimeout(this.#timer);
    // This is a failure and not the end: a reader must not take the bytes it has for all of them.
    this.#body?.fail(new MeshError('Cancelled', 'the call was answered'));
    this.#body?.discard();
  }

  #armDeadline(deadline: number): void {
    const delayMs = Math.min(Math.max(0, deadline - Date.now()), MAX_TIMER_MS);
    this.#timer = setTimeout(() => {
      this.cancel(new MeshError('DeadlineExceeded', 'the caller does not wait any longer'));
    }, delayMs);
    this.#timer.unref();
  }
}
