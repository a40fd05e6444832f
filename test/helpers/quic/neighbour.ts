/** A node of good will, beside whoever attacks. */
import type { ExecutionContext } from 'ava';
import { QuicTransport } from '../../../src/transport/quic/transport.js';
import { nodeCert } from '../certs.js';
import type { Victim } from './victim.js';

/** Dials the victim as n3. The connection ends with the test. */
export async function connectNeighbour(t: ExecutionContext, victim: Victim) {
  const tls = await nodeCert('n3');
  const transport = new QuicTransport({ cluster: 'test', tls: () => tls });
  t.teardown(() => transport.close());
  return transport.dial({ nodeId: 'n1', ...victim.address });
}
