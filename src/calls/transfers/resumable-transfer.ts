/** A dataTransfer that this side opened, and that continues on the next connection when its own is lost. */

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
  /** Whether this side could dial. Where it cannot, the peer may still come back. */
  readonly canDial: boolean;
  /** Fires when the peer is released. */
  readonly released: AbortSignal;
  /** @throws MeshError DeadlineExceeded, Cancelled, Overloaded, or why there is no connection */
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
  /** Fires when the caller gives up or the reader stops. */
  readonly #ends: JoinedSignal;
  readonly #endMs: number;
  #maybeExecuted = false;
  /** Attempts in a row without progress. */
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
    if (options.lendChunks === true) this.progress.incoming.lend();
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
   * @returns whether the transfer is complete; if not, another attempt is due
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
      // While the connection is open, a failure is the peer's answer.
      if (!isLoss(error.code) || session?.isOpen === true) throw error;
      await this.#rest(error);
      return false;
    }
  }

  /** Pauses before the next attempt. @throws MeshError that error, where another attempt is pointless; Cancelled */
  async #rest(error: MeshError): Promise<void> {
    const { attempts, minDelayMs, maxDelayMs } = DEFAULT_RETRY;
    const longestMs = Math.min(minDelayMs * 2 ** this.#fruitless, maxDelayMs);
    // Random, so that transfers which were interrupted together do not all come back at once.
    const pauseMs = longestMs * (0.5 + Math.random() / 2);
    if (this.#fruitless >= attempts || pauseMs >= this.#leftMs) throw error;
    await pause(pauseMs, {
      signal: this.#ends.signal,
      released: this.#source.released,
      maybeExecuted: this.#maybeExecuted,
    });
    // Streams learn of a loss before the pool does, so only after the pause is the answer right.
    const { isOpen, mayConnect, canDial } = this.#source;
    if (canDial && !isOpen && !mayConnect) throw error;
  }

  get #leftMs(): number {
    return this.#endMs - performance.now();
  }

  /** Grows with every attempt that makes progress, in either direction. */
  get #reached(): number {
    const { received, resumedAt } = this.progress;
    return received.offset + resumedAt;
  }
}
