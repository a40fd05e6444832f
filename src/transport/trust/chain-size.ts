/** How many bytes of certificates a side may show: what comes before anything is proved is bounded. Pure. */
import { MeshError } from '../../errors.js';

/**
 * The most bytes that the certificates of one side may have together, in DER. With what else a handshake has to say that is
 * 16 KB. SPEC.md, "Identity".
 */
export const MAX_CHAIN_BYTES = 15 * 1024;

/** @throws MeshError CertificateInvalid when a peer's certificates have more than {@link MAX_CHAIN_BYTES} */
export function checkChainSize(chain: readonly Uint8Array[]): void {
  if (isChainTooLarge(chain)) {
    throw new MeshError('CertificateInvalid', `more than ${MAX_CHAIN_BYTES} bytes of certificates`);
  }
}

export function isChainTooLarge(chain: readonly Uint8Array[]): boolean {
  return chain.reduce((sum, { length }) => sum + length, 0) > MAX_CHAIN_BYTES;
}
