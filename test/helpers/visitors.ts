/** Nodes with names of their own that come to a node, ask once, and go. */
import type { ExecutionContext } from 'ava';
import { createNode, type MeshNode, type NodeOptions } from '../../src/index.js';
import { nodeCert } from './certs.js';
import { MemoryHub, MemoryTransport } from './memory-transport.js';
import { startNode, targetOf } from './nodes.js';

export const PATIENT = {
  timeouts: { connectMs: 60_000, handshakeMs: 60_000 },
  logger: 'silent',
} as const;

/** A node that comes, asks once, and goes. */
export async function visit(options: NodeOptions, n1: MeshNode): Promise<void> {
  const visitor = await createNode({ ...PATIENT, ...options });
  const peer = await visitor.connect(targetOf(n1));
  await peer.request({ type: 'request', method: 'm' }, { timeoutMs: 60_000 });
  await visitor.close();
}

/** Runs as many as there are, a few at a time. */
export async function visitAll(
  count: number,
  visitAs: (i: number) => Promise<void>,
): Promise<void> {
  const left = Array.from({ length: count }, (_, i) => i).values();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const i of left) await visitAs(i);
    }),
  );
}

export async function startVisited(t: ExecutionContext, options: Partial<NodeOptions>) {
  const n1 = await startNode(t, 'n1', { ...PATIENT, ...options });
  n1.handle('request', () => ({ body: 'hello' }));
  return n1;
}

export async function inMemory(t: ExecutionContext) {
  const hub = new MemoryHub();
  // A transport that is brought along has no certificates, and node ids that it is told.
  const tls = await nodeCert('n1');
  const transports = (nodeId: string) => [new MemoryTransport({ hub, nodeIds: [nodeId] })];
  const n1 = await startVisited(t, { tls, transports: transports('n1') });
  const as = (nodeId: string) => ({
    nodeId,
    cluster: 'test',
    tls,
    transports: transports(nodeId),
    ...PATIENT,
  });
  return { n1, as };
}
