/** A node whose handlers hold their calls, one that calls it, and bare clients: for tests of what a node takes. */
import type { ExecutionContext } from 'ava';
import type { MeshNode, NodeOptions, Peer } from '../../src/index.js';
import type { Connection, Transport } from '../../src/transport/connection.js';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { nodeCert, type TestNodeId } from './certs.js';
import { PATIENT_TIMEOUTS, startNode, type TestTransport, targetOf } from './nodes.js';
import { shakeHands } from './shake-hands.js';

const MIB = 1024 * 1024;
export const HEARTBEAT = {
  type: 'consensus',
  body: {
    kind: 'appendEntries',
    term: 1,
    leaderId: 'n1',
    prevLogIndex: 0,
    prevLogTerm: 0,
    entries: [],
    leaderCommit: 0,
  },
} as const;
export const HEARTBEAT_REPLY = { kind: 'appendEntriesResponse', term: 1, success: true } as const;

/** Handlers that hold their calls until the gate opens. */
export interface Gate {
  readonly held: (() => void)[];
  readonly seen: string[];
  notes: number;
  /** Answers so many of those held, or all. */
  open(count?: number): void;
}

export interface Pair {
  readonly n1: MeshNode;
  readonly n2: MeshNode;
  /** n2, as n1 sees it. */
  readonly peer: Peer;
  readonly gate: Gate;
}

export async function holdingPair(
  t: ExecutionContext,
  transport: TestTransport,
  options: { n1?: Partial<NodeOptions>; n2?: Partial<NodeOptions> },
): Promise<Pair> {
  const transports = [transport];
  // Where a busy machine makes a peer slow, calls would go by another connection, which has limits of its own.
  const common = { transports, health: { intervalMs: 10_000 } };
  const n2 = await startNode(t, 'n2', { ...common, ...options.n2 });
  const gate: Gate = {
    held: [],
    seen: [],
    notes: 0,
    open(count = gate.held.length) {
      for (const answer of gate.held.splice(0, count)) answer();
    },
  };
  t.teardown(() => gate.open());
  n2.handle('consensus', () => ({ body: HEARTBEAT_REPLY }));
  n2.handle('request', ({ method }) => {
    if (method === 'note') {
      gate.notes += 1;
      return {};
    }
    if (method === 'big answer') return { body: LARGE };
    gate.seen.push(method);
    const answer = method.endsWith('big answer') ? { body: LARGE } : {};
    return new Promise((resolve) => gate.held.push(() => resolve(answer)));
  });
  const n1 = await startNode(t, 'n1', { ...common, listen: undefined, ...options.n1 });
  const peer = await n1.connect(targetOf(n2));
  return { n1, n2, peer, gate };
}

const LARGE = new Uint8Array(MIB - 1000);

/** A call that is held. Its body does not shrink by compression. */
export function hold(peer: Peer, method: string, body?: Uint8Array): Promise<unknown> {
  return peer.request({ type: 'request', method, body }, { timeoutMs: 60_000 });
}

export async function bareClient(
  t: ExecutionContext,
  name: TestTransport,
  node: MeshNode,
  nodeId: TestNodeId = 'n1',
): Promise<Connection> {
  const tls = await nodeCert(nodeId);
  const { connectMs: connectTimeoutMs } = PATIENT_TIMEOUTS;
  const options = { cluster: 'test', tls: () => tls, connectTimeoutMs };
  const transport: Transport =
    name === 'quic' ? new QuicTransport(options) : new TcpTransport(options);
  t.teardown(() => transport.close());
  return shakeHands(await transport.dial(targetOf(node)), nodeId);
}
