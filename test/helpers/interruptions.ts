/** Connections that break under a transfer, over a chaos proxy: on TCP by a reset, on QUIC by a hole that swallows all. */
import type { ExecutionContext } from 'ava';
import type { MeshNode, NodeOptions } from '../../src/index.js';
import { ChaosProxy } from './chaos-proxy/proxy.js';
import { startNode, type TestTransport, targetOf } from './nodes.js';

/** Soon noticed, so that tests are soon done. */
const IMPATIENT = {
  health: { intervalMs: 150, misses: 3 },
  timeouts: { keepAliveMs: 1000 },
} as const;

type Target = { readonly nodeId: string; readonly host: string; readonly port: number };

export interface BreakableWay {
  readonly n1: MeshNode;
  readonly proxy: ChaosProxy;
  /** The other side, behind the proxy. */
  readonly target: Target;
  /** Ends every connection of n1. Fulfils when it has noticed, and the way is open again. */
  interrupt(): Promise<void>;
}

/** Two nodes, and what can break between them. */
export async function startBreakable(
  t: ExecutionContext,
  transport: TestTransport,
  options: Partial<NodeOptions> = {},
): Promise<BreakableWay & { readonly n2: MeshNode }> {
  const n2 = await startNode(t, 'n2', { ...IMPATIENT, transports: [transport], ...options });
  return { n2, ...(await startBreakableTo(t, transport, targetOf(n2), options)) };
}

/** The same to whoever listens there. */
export async function startBreakableTo(
  t: ExecutionContext,
  transport: TestTransport,
  far: Target,
  options: Partial<NodeOptions> = {},
): Promise<BreakableWay> {
  const proxy = await ChaosProxy.start({ target: far });
  t.teardown(() => proxy.close());
  const n1 = await startNode(t, 'n1', { ...IMPATIENT, transports: [transport], ...options });
  const interrupt = async (): Promise<void> => {
    const lost = nextLoss(n1);
    if (transport === 'tcp') proxy.reset();
    else proxy.change({ udp: { blackHole: true } });
    await lost;
    proxy.change({ udp: { blackHole: false } });
  };
  return { n1, proxy, target: { ...proxy.address, nodeId: far.nodeId }, interrupt };
}

async function nextLoss(node: MeshNode): Promise<void> {
  for await (const { kind } of node.status()) if (kind === 'peerDown') return;
}
