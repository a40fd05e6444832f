/**
 * What is known of certificate chains that led to a trusted CA: to parse one and check its signatures takes as long as the
 * rest of a handshake, and peers come back with the one they have. Holds for one set of CAs and revocations.
 */
import { createHash } from 'node:crypto';
import type { PeerIdentity, Role } from '../connection.js';

export interface VerifiedChain {
  readonly identity: PeerIdentity;
  /** In which role it was good, and until when: of each certificate from the leaf to its root. */
  readonly validities: { readonly [R in Role]?: readonly Validity[] };
}

/** From when until when a certificate is good. */
export interface Validity {
  /** Its subject, for people. */
  readonly who: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** Each takes a few kilobytes: the leaf, and 32 KiB behind it at most. */
const MAX_CHAINS = 128;

/**
 * A bounded cache of certificate chains that led to a trusted CA: to check one again takes as long as the rest of a
 * handshake. It belongs to one set of CAs and revocations.
 */
export class VerifiedChains {
  /** The one that was asked for last is last. */
  readonly #chains = new Map<string, VerifiedChain>();

  get(key: string): VerifiedChain | undefined {
    const chain = this.#chains.get(key);
    if (chain === undefined) return undefined;
    this.#chains.delete(key);
    this.#chains.set(key, chain);
    return chain;
  }

  put(key: string, chain: VerifiedChain): void {
    this.#chains.set(key, chain);
    if (this.#chains.size <= MAX_CHAINS) return;
    const [oldest] = this.#chains.keys();
    this.#chains.delete(oldest as string);
  }
}

/** Two chains have the same key only if they are the same, certificate by certificate. */
export function chainKey(chain: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const { length } of chain) hash.update(`${length} `);
  for (const certificate of chain) hash.update(certificate);
  return hash.digest('base64');
}
