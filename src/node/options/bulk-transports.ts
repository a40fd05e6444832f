/** By which transports bulk connections are dialed. */
import type { TransportName } from '../../transport/connection.js';
import type { NodeConfig } from './resolve.js';
import { nameOfTransport } from './schema.js';

/**
 * In order of preference, of those that the node has. TCP comes first where the node may choose: the kernel paces it, and sends
 * many segments at a time.
 */
export function bulkTransports({ bulk, transports }: NodeConfig): readonly TransportName[] {
  const names = transports.map(nameOfTransport);
  if (bulk.transport === 'quic' || bulk.transport === 'tcp') return [bulk.transport];
  return [...names.filter((name) => name === 'tcp'), ...names.filter((name) => name !== 'tcp')];
}
