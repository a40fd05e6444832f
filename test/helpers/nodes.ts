/** Nodes for tests: real sockets on loopback, certificates of the shared dev CA, closed when the test ends. */
import type { ExecutionContext } from 'ava';
import { freePort } from '../../scripts/mesh/ports.js';
import { createNode, type MeshNode, type NodeOptions } from '../../src/index.js';
import { nodeCert, type TestNodeId } from './certs.js';

/** All tests of a file begin at once, and a busy machine is long at it. What waits for the end of these says so itself. */
export const PATIENT_TIMEOUTS = { connectMs: 20_000, handshakeMs: 20_000, drainMs: 2000 } as const;

export type TestTransport = 'quic' | 'tcp';
export const TEST_TRANSPORTS: readonly TestTransport[] = ['quic', 'tcp'];

/** A node that listens on a port of the system's choice and is closed when the test ends. */
export async function startNode(
  t: ExecutionContext,
  nodeId: TestNodeId,
  options: Partial<NodeOptions> = {},
): Promise<MeshNode> {
  const node = await createNode({
    nodeId,
    cluster: 'test',
    tls: await nodeCert(nodeId),
    listen: { host: '127.0.0.1', port: 0 },
    logger: 'silent',
    ...options,
    timeouts: { ...PATIENT_TIMEOUTS, ...options.timeouts },
  });
  t.teardown(() => node.close());
  return node;
}

/**
 * Where a node can come back to. The port is none that systems pick: meanwhile no test, dialer or other process is given it.
 */
export async function lastingAddress(): Promise<{ host: string; port: number }> {
  return { host: '127.0.0.1', port: await freePort() };
}

/** Where to dial a node. */
export function targetOf(node: MeshNode): { nodeId: string; host: string; port: number } {
  const { address } = node;
  if (address === undefined) throw new Error(`${node.nodeId} does not listen`);
  return { nodeId: node.nodeId, host: address.host, port: address.port };
}
