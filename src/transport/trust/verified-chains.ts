/**
 * Remembers certificate chains that led to a trusted CA. To parse a chain and check its signatures takes as long as the rest of
 * a handshake, and peers come back with the same chain.
 */
import { createHash } from 'node:crypto';
import type { PeerIdentity, Role } from '../connection.js';

export interface VerifiedChain {
  readonly identity: PeerIdentity;
  /** The roles in which it was good, and for each the validity of every certificate from the leaf to the root. */
  readonly validities: { readonly [R in Role]?: readonly Validity[] };
}

/** The time in which a certificate is valid. */
export interface Validity {
  /** Its subject, for error messages. */
  readonly who: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** How many chains are kept. Each takes a few kilobytes, at most 15 KiB of certificates. */
const MAX_CHAINS = 128;

/**
 * A bounded cache of certificate chains that led to a trusted CA: to check one again takes as long as the rest of a
 * handshake. It belongs to one set of CAs and revocations.
 */
export class VerifiedChains {
  /** In order of use: the chain that was asked for last is last. */
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

/** A key that two chains share only if they have the same certificates in the same order. */
export function chainKey(chain: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const { length } of chain) hash.update(`${length} `);
  for (const certificate of chain) hash.update(certificate);
  return hash.digest('base64');
}
