/** A dataTransfer that this side opened and that goes on over the next connection when its own is lost. */

import { type JoinedSignal, joinSignals } from '../../base/abortable.js';
import { isLoss, MeshError, toMeshError } from '../../errors.js';
import type { AcquireOptions } from '../../pool/options.js';
import type { DataTransfer } from '../../protocol/message.js';
import { withExecution } from '../call-errors.js';
import { FlowSwitch } from '../flow.js';
import { pause } from '../outgoing/call-again.js';
import { DEFAULT_RETRY } from '../outgoing/retry-policy.js';
import { ByteQueue } from './byte-queue.js';
import type { TransferOptions, TransferProgress } from './outgoing-transfer.js';
import { TransferChecksum } from './transfer-checksum.js';

/** A connection, as far as a transfer is concerned. */
export interface TransferSession {
  readonly isOpen: boolean;
  /** See {@link carryTransfer}; rejects with the failure. */
  carry(open: DataTransfer, options: TransferOptions, progress: TransferProgress): Promise<void>;
}

/** Where a transfer gets its connections. */
export interface TransferSource {
  readonly isOpen: boolean;
  /** Whether this side dials, or means to. */
  readonly mayConnect: boolean;
  /** Whether it could: where it cannot, the peer may come back all the same. */
  readonly canDial: boolean;
  /** Fires when the peer is not wanted any more. */
  readonly released: AbortSignal;
  /** @throws MeshError DeadlineExceeded, Cancelled, Overloaded, or why there is none */
  acquire(options: AcquireOptions): Promise<TransferSession>;
}

/** Opens a transfer; see Peer.stream. */
export function openResumable(
  source: TransferSource,
  open: DataTransfer,
  options: TransferOptions,
): AsyncIterable<Uint8Array> {
  const transfer = new ResumableTransfer(source, open, options);
  void transfer.run();
  return transfer.progress.incoming;
}

class ResumableTransfer {
  readonly progress: TransferProgress;
  readonly #source: TransferSource;
  readonly #open: DataTransfer;
  readonly #options: TransferOptions;
  /** The caller's, and the reader's. */
  readonly #ends: JoinedSignal;
  readonly #endMs: number;
  #maybeExecuted = false;
  /** Attempts in a row that brought nothing. */
  #fruitless = 0;

  constructor(source: TransferSource, open: DataTransfer, options: TransferOptions) {
    const { signal, timeoutMs = Number.POSITIVE_INFINITY } = options;
    this.#source = source;
    this.#open = open;
    this.#options = options;
    this.#endMs = performance.now() + timeoutMs;
    const abandoned = new AbortController();
    this.#ends = joinSignals(abandoned.signal, signal);
    const flow = new FlowSwitch();
    this.progress = {
      incoming: new ByteQueue(flow, () => {
        abandoned.abort(new MeshError('Cancelled', 'the reader stopped before the end'));
      }),
      flow,
      received: new TransferChecksum(open.offset, open.priorChecksum),
      sent: new TransferChecksum(0, 0, true),
      resumedAt: 0,
    };
  }

  /** Never rejects. */
  async run(): Promise<void> {
    const { incoming } = this.progress;
    try {
      while (!(await this.#attempt()));
      incoming.end();
    } catch (thrown) {
      incoming.fail(withExecution(toMeshError(thrown), this.#maybeExecuted));
    } finally {
      this.#ends.release();
    }
  }

  /**
   * @returns whether the transfer is complete; else another attempt is due
   * @throws MeshError what ends it
   */
  async #attempt(): Promise<boolean> {
    let session: TransferSession | undefined;
    const before = this.#reached;
    try {
      session = await this.#source.acquire({ timeoutMs: this.#leftMs, signal: this.#ends.signal });
      const options = { ...this.#options, timeoutMs: this.#leftMs, signal: this.#ends.signal };
      await session.carry(this.#open, options, this.progress);
      return true;
    } catch (thrown) {
      const error = toMeshError(thrown);
      this.#maybeExecuted ||= error.maybeExecuted;
      this.#fruitless = this.#reached > before ? 0 : this.#fruitless + 1;
      // While its connection is there, a failure is the peer's answer.
      if (!isLoss(error.code) || session?.isOpen === true) throw error;
      await this.#rest(error);
      return false;
    }
  }

  /** @throws MeshError that error, where there is no use in another attempt; Cancelled */
  async #rest(error: MeshError): Promise<void> {
    const { attempts, minDelayMs, maxDelayMs } = DEFAULT_RETRY;
    const longestMs = Math.min(minDelayMs * 2 ** this.#fruitless, maxDelayMs);
    // Transfers that were interrupted together do not come back together.
    const pauseMs = longestMs * (0.5 + Math.random() / 2);
    if (this.#fruitless >= attempts || pauseMs >= this.#leftMs) throw error;
    await pause(pauseMs, {
      signal: this.#ends.signal,
      released: this.#source.released,
      maybeExecuted: this.#maybeExecuted,
    });
    // Streams hear of a loss before the pool does: asked only now, the answer is right.
    const { isOpen, mayConnect, canDial } = this.#source;
    if (canDial && !isOpen && !mayConnect) throw error;
  }

  get #leftMs(): number {
    return this.#endMs - performance.now();
  }

  /** Grows whenever an attempt brings something, in either direction. */
  get #reached(): number {
    const { received, resumedAt } = this.progress;
    return received.offset + resumedAt;
  }
}
