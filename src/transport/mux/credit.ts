/**
 * Flow control: how much this side may still send, and how much the peer may. SPEC.md, "Credit".
 *
 * Every stream has both accounts, and so has the connection. Credit counts payload bytes. A whole frame may go while credit
 * is above zero, so an account may fall below zero by one frame at most.
 */
import { MeshError } from '../../errors.js';

/** What either side may send on a new stream before it is granted more: part of wire version 1. */
export const INITIAL_STREAM_WINDOW_BYTES = 1024 * 1024;
/** The same for all streams of a connection together. */
export const INITIAL_CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024;

/** A receiver grants again when so many bytes are consumed, at the latest: grants show the sender how bulk data gets on. */
export const STREAM_GRANT_BYTES = 128 * 1024;

/** The largest increment that one credit frame carries. */
const MAX_INCREMENT_BYTES = 0xffff_ffff;

/** Bytes that the peer lets this side send. */
export class SendCredit {
  #availableBytes: number;

  constructor(initialBytes: number) {
    this.#availableBytes = initialBytes;
  }

  get availableBytes(): number {
    return this.#availableBytes;
  }

  /** Whether the next frame has to wait, whatever its size. */
  get isExhausted(): boolean {
    return this.#availableBytes <= 0;
  }

  spend(bytes: number): void {
    this.#availableBytes -= bytes;
  }

  /** @throws MeshError FlowControlViolation when the sum passes 2^53 - 1 */
  grant(bytes: number): void {
    if (this.#availableBytes + bytes > Number.MAX_SAFE_INTEGER) {
      throw new MeshError('FlowControlViolation', 'peer granted credit above 2^53-1 bytes');
    }
    this.#availableBytes += bytes;
  }
}

/** Bytes that this side lets the peer send. */
export class ReceiveWindow {
  /** What the peer may still send. */
  #allowedBytes: number;
  /** Bytes that may be granted: they were read, or the window has them beyond what the peer counts on. */
  #owedBytes: number;
  readonly #grantBytes: number;

  /**
   * @param initialBytes what the peer counts on from the start
   * @param windowBytes the window wanted here, at least `initialBytes`
   * @param grantBytes how much is owed before it is granted; half a window at most
   */
  constructor(
    initialBytes: number,
    windowBytes: number,
    grantBytes: number = Number.POSITIVE_INFINITY,
  ) {
    const bytes = Math.max(initialBytes, windowBytes);
    this.#allowedBytes = initialBytes;
    this.#owedBytes = bytes - initialBytes;
    this.#grantBytes = Math.min(bytes / 2, grantBytes);
  }

  /** Takes note of a frame's arrival. @throws MeshError FlowControlViolation when the peer had no credit left */
  receive(bytes: number): void {
    if (bytes > 0 && this.#allowedBytes <= 0) {
      throw new MeshError('FlowControlViolation', `peer sent ${bytes} bytes without credit`);
    }
    this.#allowedBytes -= bytes;
  }

  /** Takes note that bytes were read, so that as many may come. */
  consume(bytes: number): void {
    this.#owedBytes += bytes;
  }

  /** The increment of the credit frame that opens the account; 0 for none. */
  takeOpeningGrant(): number {
    const grant = Math.min(this.#owedBytes, MAX_INCREMENT_BYTES);
    this.#owedBytes -= grant;
    this.#allowedBytes += grant;
    return grant;
  }

  /** The increment of the credit frame that is due now; 0 until enough is owed, so that grants stay rare. */
  takeGrant(): number {
    return this.#owedBytes < this.#grantBytes ? 0 : this.takeOpeningGrant();
  }
}
