/** Two nodes for the suite of calls, on each transport; nothing is listening or connected after their close. */
import {
  createNode,
  type MeshNode,
  type NodeOptions,
  type SocketAddress,
} from '../../src/index.js';
import type { Transport } from '../../src/transport/connection.js';
import type { PairOfNodes, PairOfNodesOptions } from '../compliance/calls-suite.js';
import { nodeCert } from './certs.js';
import type { ChaosSettings } from './chaos-proxy/faults.js';
import { ChaosProxy } from './chaos-proxy/proxy.js';
import { MemoryHub, MemoryTransport } from './memory-transport.js';
import { PATIENT_TIMEOUTS, type TestTransport } from './nodes.js';

/**
 * Over real sockets; through a proxy that can cut the wire where a test asks for that, or has faults.
 * @param faults of the network between the two; by default there is nothing between them
 */
export async function socketPair(
  transport: TestTransport,
  options: PairOfNodesOptions,
  faults?: ChaosSettings,
): Promise<PairOfNodes> {
  const { n1, n2 } = await createNodes([transport], [transport], options);
  if (options.isCuttable !== true && faults === undefined) return pairOf(n1, n2);
  const proxy = await ChaosProxy.start({
    target: addressOf(n2),
    keepOldPorts: false,
    faults: faults ?? {},
  });
  return pairOf(n1, n2, {
    address: proxy.address,
    cut: () => {
      // What is between two sockets of QUIC can say nothing: it can but fall silent.
      if (transport === 'quic') proxy.change({ blackHole: true });
      else proxy.reset();
      return () => proxy.change({ blackHole: false });
    },
    close: () => proxy.close(),
  });
}

/** Within the process. */
export async function memoryNodePair(options: PairOfNodesOptions): Promise<PairOfNodes> {
  const hub = new MemoryHub();
  const near = new MemoryTransport({ hub, nodeIds: ['n1'] });
  const far = new MemoryTransport({ hub, nodeIds: ['n2'] });
  const { n1, n2 } = await createNodes([near], [far], options);
  const cut = () => {
    near.cut();
    return () => {};
  };
  return pairOf(n1, n2, { address: addressOf(n2), cut, close: async () => {} });
}

interface Wire {
  readonly address: SocketAddress;
  readonly cut: () => () => void;
  readonly close: () => Promise<void>;
}

function pairOf(n1: MeshNode, n2: MeshNode, wire?: Wire): PairOfNodes {
  return {
    n1,
    n2,
    target: { nodeId: 'n2', ...(wire?.address ?? addressOf(n2)) },
    cut: () => {
      if (wire === undefined) throw new Error('this pair was not asked to be cuttable');
      return wire.cut();
    },
    close: async () => {
      await Promise.all([n1.close(), n2.close()]);
      await wire?.close();
    },
  };
}

type Transports = readonly [TestTransport | Transport];

async function createNodes(
  near: Transports,
  far: Transports,
  options: PairOfNodesOptions,
): Promise<{ n1: MeshNode; n2: MeshNode }> {
  // The suite looks at the one connection between the two.
  const bulk = { transport: 'same' } as const;
  const common = { cluster: 'test', logger: 'silent', bulk } as const;
  const [tls1, tls2] = await Promise.all([nodeCert('n1'), nodeCert('n2')]);
  const listen = { host: '127.0.0.1', port: 0 };
  const dialing: NodeOptions = { ...common, nodeId: 'n1', tls: tls1, transports: near };
  const listening: NodeOptions = { ...common, nodeId: 'n2', tls: tls2, listen, transports: far };
  // A peer that a busy machine makes slow would be asked for a sign of life, which counts as a call over TCP.
  const health = options.isCuttable === true ? {} : { health: { intervalMs: 10_000 } };
  const n2 = await createNode({ ...listening, ...health, ...patient(options.n2) });
  return { n1: await createNode({ ...dialing, ...health, ...patient(options.n1) }), n2 };
}

function patient(options: Partial<NodeOptions> = {}): Partial<NodeOptions> {
  return { ...options, timeouts: { ...PATIENT_TIMEOUTS, ...options.timeouts } };
}

function addressOf({ address }: MeshNode): SocketAddress {
  if (address === undefined) throw new Error('the node does not listen');
  return address;
}
