/**
 * Whether a peer receives what it acknowledges: a guard against holes of quiche 0.18.0, which believes acknowledgements
 * of packets that nobody has received yet, or that it never sent (CVE-2025-4820, CVE-2025-4821). SECURITY.md.
 *
 * A peer that acknowledges ahead makes this side send as fast as it can, whatever the network bears. So now and then the
 * peer has to send back a nonce from the control stream, which it can only know from the bytes themselves. What was
 * acknowledged is never sent again: a peer that acknowledged the nonce without receiving it never gets it.
 *
 * Pure: totals and times in, decisions out.
 */

/** A proof is asked for after so many bytes since the last one. */
const ASK_EVERY_BYTES = 16 * 1024 * 1024;
/** So many more bytes may go out meanwhile: more than the flow control of quicmesh ever allows at once. */
const GRACE_BYTES = 64 * 1024 * 1024;
/** The peer has so long to answer. */
const GRACE_MS = 3000;

/** What is to be done about proofs now. */
export type ProofStep =
  | { readonly kind: 'ask'; readonly nonce: Buffer }
  | { readonly kind: 'wait' }
  /** The peer acknowledged what it did not receive: the connection is to end. */
  | { readonly kind: 'overdue' };

/**
 * Lets a peer prove now and then that it receives what it acknowledges, by a nonce that it has to send back. Pure:
 * totals and times in, decisions out. SECURITY.md.
 */
export class ReceiptProof {
  /** Once so many bytes were handed to QUIC, `next` is to be asked. */
  dueAtBytes = ASK_EVERY_BYTES;
  /** No more than that may be handed to QUIC before the peer has proved something. */
  limitBytes = Number.POSITIVE_INFINITY;
  #asked: { readonly nonce: Buffer; readonly atMs: number } | undefined;

  /** What is to be done now that so many bytes were handed to QUIC. */
  next(handedBytes: number, nowMs: number, makeNonce: () => Buffer): ProofStep {
    if (this.#asked === undefined) {
      const nonce = makeNonce();
      this.#asked = { nonce, atMs: nowMs };
      this.limitBytes = handedBytes + GRACE_BYTES;
      this.dueAtBytes = this.limitBytes;
      return { kind: 'ask', nonce };
    }
    return { kind: nowMs - this.#asked.atMs < GRACE_MS ? 'wait' : 'overdue' };
  }

  /** The peer sent a nonce back. @returns whether it is the one that was waited for */
  arrived(nonce: Uint8Array, handedBytes: number): boolean {
    if (this.#asked === undefined || !this.#asked.nonce.equals(nonce)) return false;
    this.#asked = undefined;
    this.limitBytes = Number.POSITIVE_INFINITY;
    this.dueAtBytes = handedBytes + ASK_EVERY_BYTES;
    return true;
  }
}
