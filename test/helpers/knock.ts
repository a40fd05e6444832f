/** What clients of tests over TLS offer, so that silent listeners answer them. */
import type { TlsMaterial } from '../../src/transport/connection.js';
import { protocolsWith } from '../../src/transport/tcp/knock-protocol.js';
import { newKnock } from './quic/knocking.js';

/**
 * The protocol, and a knock for any listener of the cluster.
 * @param trust whose CA the listener trusts
 * @param cluster transports without a node have no name for theirs
 */
export function knockingProtocols(
  trust: Pick<TlsMaterial, 'ca'>,
  cluster = '',
): [protocol: string, knock: string] {
  return protocolsWith(newKnock(trust, cluster, 'tcp')) as [string, string];
}
