/**
 * Which CAs a node's knocks follow from: SPEC.md, "Knocks". Both ends have to come to the same one, a root, because only the
 * root of a chain is never sent.
 */
import type { TlsMaterial } from '../connection.js';
import { type Anchors, readAnchors, sortAnchors } from './anchors.js';
import type { CertificateFields } from './certificate-fields.js';
import { ChainPaths } from './chain-paths.js';
import { certifiedNodeIds } from './identity.js';
import { parsePem } from './pem.js';

/** Certificates of CAs, in DER. */
export interface KnockRoots {
  /** The roots that the node's own chain ends in, best first; at least one. */
  readonly own: readonly Uint8Array[];
  /** The roots that the node trusts. */
  readonly trusted: readonly Uint8Array[];
}

/** Every stranger's packet costs a MAC for each name and CA. */
const MAX_NAMES = 8;

/** The names by which a node may be dialed: its id, or else the first ones of its certificate. */
export function knockNames({ cert }: Pick<TlsMaterial, 'cert'>, nodeId?: string): string[] {
  if (nodeId !== undefined) return [nodeId];
  const [leaf] = parsePem(cert);
  return leaf === undefined ? [] : certifiedNodeIds(leaf).slice(0, MAX_NAMES);
}

/**
 * Reads the roots of a node's certificates. A chain may end in several, because a root and its renewal have the same key.
 * Roots of `ca` come first, in their order there, then those that are in `cert` alone. A chain that ends in none of them says
 * nothing about the root, so that all of `ca` are given.
 * @throws MeshError InvalidOptions when `ca` or `cert` cannot be read
 */
export function knockRoots({ ca, cert }: Pick<TlsMaterial, 'ca' | 'cert'>): KnockRoots {
  const anchors = readAnchors(ca);
  const trusted = distinct(anchors.roots);
  const own = ownRoots(cert, anchors);
  return { own: own.length > 0 ? own : trusted, trusted };
}

function ownRoots(cert: string, { roots, intermediates }: Anchors): readonly Uint8Array[] {
  const [first, ...rest] = parsePem(cert);
  if (first === undefined) return [];
  const shown = sortAnchors([first], 'tls.cert');
  const [leaf] = [...shown.roots, ...shown.intermediates] as [CertificateFields];
  const others = sortAnchors(rest, 'tls.cert');
  const candidates = [...roots, ...shown.roots, ...others.roots];
  const paths = new ChainPaths({
    leaf,
    others: others.intermediates,
    anchors: { roots: candidates, intermediates },
    rootKeys: new WeakMap(),
  });
  const ends = new Set([...paths].map((path) => path.at(-1)));
  return distinct(candidates.filter((root) => ends.has(root)));
}

function distinct(roots: readonly CertificateFields[]): readonly Uint8Array[] {
  return [...new Map(roots.map(({ raw }) => [raw.toString('latin1'), raw])).values()];
}
