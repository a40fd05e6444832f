/**
 * How much bulk data of a connection is in flight, and how much more may be. The binding does not tell what was
 * acknowledged, so this side sends requests for proof behind the data: the peer answers one once it has read all that was
 * sent before it. SPEC.md, "QUIC".
 */
import { Contention } from '../../priority/contention.js';
import { DelayWindow, MIN_WINDOW_BYTES } from '../../priority/delay-window.js';
import { PROOF_NONCE_BYTES } from './control-stream.js';

/** At least so many bytes go between two requests for proof. */
const MARK_EVERY_BYTES = MIN_WINDOW_BYTES / 2;
/** An answer is not waited for any longer: the peer may have dropped it. */
const PATIENCE_MS = 1000;

/**
 * Measures how much bulk data of a connection is under way, and bounds it while other calls could be kept waiting. It
 * asks for proofs behind the data; each comes back once the peer has read what was sent before. SPEC.md, "QUIC".
 */
export class ProofInFlight {
  readonly contention = new Contention();
  #sentBytes = 0;
  #markedBytes = 0;
  #arrivedBytes = 0;
  #markedMs = 0;
  #askedMs = Number.NEGATIVE_INFINITY;
  /** Only while other calls could be kept waiting. */
  #window: DelayWindow | undefined;

  /** Bytes that may be handed over now. */
  roomBytes(nowMs: number): number {
    this.#askedMs = nowMs;
    const isLost = this.#arrivedBytes < this.#markedBytes && nowMs - this.#markedMs > PATIENCE_MS;
    if (isLost || !this.contention.isAt(nowMs)) {
      this.#window = undefined;
      this.#arrivedBytes = this.#markedBytes;
      return Number.POSITIVE_INFINITY;
    }
    this.#window ??= this.#newWindow();
    return this.#window.roomBytes(nowMs);
  }

  /** Whether bulk data goes beside other calls: then neither may take long turns. */
  isShared(clock: () => number): boolean {
    // Most connections carry no bulk data, and need not look at the clock.
    return this.#window !== undefined && clock() - this.#askedMs < PATIENCE_MS;
  }

  handed(bytes: number): void {
    this.#sentBytes += bytes;
    this.#window?.sentSoFar(this.#sentBytes);
  }

  /** All that was handed over has left. @returns the nonce of the proof that is due now, if one is */
  takeMark(nowMs: number): Buffer | undefined {
    if (this.#window === undefined) return undefined;
    const unmarked = this.#sentBytes - this.#markedBytes;
    if (unmarked === 0) return undefined;
    if (unmarked < MARK_EVERY_BYTES && this.#window.roomBytes(nowMs) > 0) return undefined;
    this.#markedBytes = this.#sentBytes;
    this.#markedMs = nowMs;
    this.#window.mark(nowMs);
    const nonce = Buffer.alloc(PROOF_NONCE_BYTES);
    nonce.writeBigUInt64BE(BigInt(this.#markedBytes), PROOF_NONCE_BYTES - 8);
    return nonce;
  }

  /** A nonce came back. Nonces of these requests begin with zeros, those of others are random. */
  proofArrived(nonce: Uint8Array, nowMs: number): void {
    const view = new DataView(nonce.buffer, nonce.byteOffset, nonce.length);
    if (view.getBigUint64(0) !== 0n) return;
    const total = Number(view.getBigUint64(PROOF_NONCE_BYTES - 8));
    if (total <= this.#arrivedBytes || total > this.#markedBytes) return;
    this.#arrivedBytes = total;
    this.#window?.arrived(total, nowMs);
  }

  /** What is in flight already is not measured: it counts as arrived. */
  #newWindow(): DelayWindow {
    this.#markedBytes = this.#sentBytes;
    this.#arrivedBytes = this.#sentBytes;
    return new DelayWindow(this.#sentBytes, this.#sentBytes);
  }
}
