/** Node ids: what can be one, and what is a DNS name. Pure. */
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

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i;

/** Whether a text is a DNS name, and no IPv4 address. */
export function isDnsName(text: string): boolean {
  return typeof text === 'string' && hasDnsLabels(text) && !isIPv4(text.split('.'));
}

/** Whether a text has the form of a DNS name. An IPv4 address has it too. */
export function hasDnsLabels(text: string): boolean {
  return text.length <= 253 && text.split('.').every((label) => LABEL.test(label));
}

function isIPv4(labels: readonly string[]): boolean {
  return labels.length === 4 && labels.every((label) => OCTET.test(label) && Number(label) < 256);
}

const OCTET = /^(?:0|[1-9]\d{0,2})$/;

/** Untrusted text for a message: quoted, escaped, and not too long. */
export function quote(text: string): string {
  return JSON.stringify(String(text).slice(0, 80));
}
