/**
 * Which CAs a node's knocks follow from: SPEC.md, "Knocks". Both ends have to come to the same one, a root, because only the
 * root of a chain is never sent.
 */
import type { TlsMaterial } from '../connection.js';
import { type ChainLink, pathsOf, readLink } from './chain-paths.js';
import { readAnchors } from './identity.js';
import { parsePem } from './pem.js';

/** Certificates of CAs, in DER. */
export interface KnockRoots {
  /** The roots that the node's own chain ends in, best first; at least one. */
  readonly own: readonly Uint8Array[];
  /** The roots that the node trusts. */
  readonly trusted: readonly Uint8Array[];
}

/**
 * Reads the roots of a node's certificates. A chain may end in several, because a root and its renewal have the same key.
 * Roots of `ca` come first, in their order there, then those that are in `cert` alone. A chain that ends in none of them says
 * nothing about the root, so that all of `ca` are given.
 * @throws MeshError InvalidOptions when `ca` or `cert` cannot be read
 */
export function knockRoots({ ca, cert }: Pick<TlsMaterial, 'ca' | 'cert'>): KnockRoots {
  const anchors = readAnchors(ca);
  const trusted = distinctRoots(anchors);
  const own = ownRoots(parsePem(cert).map(readLink), anchors);
  return { own: own.length > 0 ? own : trusted, trusted };
}

function ownRoots(
  [leaf, ...others]: readonly ChainLink[],
  anchors: readonly ChainLink[],
): readonly Uint8Array[] {
  if (leaf === undefined) return [];
  const candidates = [...anchors, leaf, ...others];
  const ends = new Set<string>();
  for (const path of pathsOf(leaf, others, candidates)) {
    ends.add((path.at(-1) as ChainLink).certificate.fingerprint256);
  }
  return distinctRoots(candidates.filter((link) => ends.has(link.certificate.fingerprint256)));
}

function distinctRoots(links: readonly ChainLink[]): readonly Uint8Array[] {
  const roots = links.filter(({ fields }) => fields.isSelfSigned);
  const byFingerprint = new Map(
    roots.map(({ certificate }) => [certificate.fingerprint256, certificate.raw]),
  );
  return [...byFingerprint.values()];
}
