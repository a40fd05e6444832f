/** The names that certificates carry. */
import { isIP } from 'node:net';
import { MeshError } from '../errors.js';

/**
 * Throws unless every text can be a node id, and no two of them are the same name.
 *
 * A node id is a DNS name: labels of letters, digits and inner hyphens, at most 63 characters each and 253
 * in all, joined by dots. It is not an IP address. Verifiers compare DNS names without regard to case, so
 * `N1` and `n1` are one name.
 *
 * @throws {MeshError} `InvalidArgument`
 */
export function assertNodeIds(nodeIds: readonly string[]): void {
  const seen = new Set<string>();
  for (const id of nodeIds) {
    if (!isDnsName(id)) {
      throw new MeshError(
        'InvalidArgument',
        `${quote(id)} cannot be a node id: it must be a DNS name (letters, digits, "-" and ".")`,
      );
    }
    const folded = id.toLowerCase();
    if (seen.has(folded)) {
      throw new MeshError('InvalidArgument', `the node id ${quote(id)} is given twice`);
    }
    seen.add(folded);
  }
}

/**
 * Throws unless every text is a DNS name or an IP address.
 *
 * @throws {MeshError} `InvalidArgument`
 */
export function assertHosts(hosts: readonly string[]): void {
  for (const host of hosts) {
    // An IPv6 zone means something on one machine only, and has no place in a certificate.
    const named = isDnsName(host) || (isIP(host) !== 0 && !host.includes('%'));
    if (named) continue;
    throw new MeshError(
      'InvalidArgument',
      `${quote(host)} is neither a DNS name nor an IP address`,
    );
  }
}

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i;

function isDnsName(text: string): boolean {
  if (typeof text !== 'string' || text.length > 253 || isIP(text) !== 0) return false;
  return text.split('.').every((label) => LABEL.test(label));
}

/** Untrusted text for a message: quoted, escaped, and not too long. */
function quote(text: string): string {
  return JSON.stringify(String(text).slice(0, 80));
}
