/** The hosts that certificates may name. */
import { isIP } from 'node:net';
import { MeshError } from '../errors.js';
import { isDnsName, quote } from '../protocol/node-id.js';

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
