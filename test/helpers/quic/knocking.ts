/** Knocks of clients that bring no QuicTransport. */
import { randomBytes } from 'node:crypto';
import {
  createKnock,
  KNOCK_RANDOM_BYTES,
  type KnockTransport,
  knockKeyOfCa,
} from '../../../src/protocol/knock.js';
import type { TlsMaterial } from '../../../src/transport/connection.js';
import { knockRoots } from '../../../src/transport/trust/knock-roots.js';

/** What nodes and transports of tests are in. */
export const TEST_CLUSTER = 'test';

/**
 * A connection ID to begin with that silent listeners answer, whatever their name is.
 * @param trust whose CA the listener trusts: not always the client's own
 */
export function newKnock(
  trust: Pick<TlsMaterial, 'ca'>,
  cluster = TEST_CLUSTER,
  transport: KnockTransport = 'quic',
): Buffer {
  const [root] = knockRoots({ ca: trust.ca, cert: '' }).own;
  const key = knockKeyOfCa(root as Uint8Array, cluster);
  const target = { transport, nodeId: undefined };
  return createKnock(key, target, Date.now(), randomBytes(KNOCK_RANDOM_BYTES));
}
