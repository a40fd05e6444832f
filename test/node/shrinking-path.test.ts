/** Bulk data over a path that comes to carry less while a connection still searches for what it carries. SPEC.md, "Datagram sizes". */
import test, { type ExecutionContext } from 'ava';
import type { MeshError, MeshNode, Peer } from '../../src/index.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

/** What is found to pass, before the search asks for more. */
const FOUND_BYTES = 1350;
const CHUNK = Buffer.alloc(64 * 1024, 7);
/** Uploaded after the path has changed. */
const REST_CHUNKS = 16;
const TIMEOUT_MS = 60_000;

interface Upload {
  readonly n1: MeshNode;
  readonly peer: Peer;
  /** Begins to upload, and goes on for a while after the path has changed. Fulfils with the bytes that arrived. */
  run(): Promise<{ readonly sent: number; readonly arrived: number }>;
}

/** The path carries 1,350 bytes until the first probe of more than that comes, and then so many. */
async function setUp(t: ExecutionContext, laterBytes: number): Promise<Upload> {
  const transports = ['quic'] as const;
  const n2 = await startNode(t, 'n2', { transports });
  const bulk = { transport: 'same' } as const;
  const n1 = await startNode(t, 'n1', { listen: undefined, transports, bulk });
  const carrying = (maxDatagramBytes: number) => ({
    udp: { maxDatagramBytes, tooLarge: 'lost' as const },
  });
  const proxy = await ChaosProxy.start({ target: targetOf(n2), faults: carrying(FOUND_BYTES) });
  t.teardown(() => proxy.close());
  let hasFound = false;
  let hasChanged = false;
  proxy.onDatagram = (direction, { length }) => {
    if (direction !== 'toServer' || hasChanged) return undefined;
    // Probes of this size are one datagram: what else is as large comes after its answer.
    if (length > 1300 && length <= FOUND_BYTES) hasFound = true;
    if (!hasFound || length <= FOUND_BYTES) return undefined;
    hasChanged = true;
    proxy.change(carrying(laterBytes));
    return undefined;
  };
  let arrived = 0;
  n2.handle('dataTransfer', async (_, { body }) => {
    for await (const chunk of body) arrived += chunk.length;
  });
  const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
  let sent = 0;
  async function* body(): AsyncGenerator<Buffer> {
    for (let left = REST_CHUNKS; left > 0; left -= hasChanged ? 1 : 0) {
      sent += CHUNK.length;
      yield CHUNK;
    }
  }
  const run = async () => {
    const transfer = peer.stream({ transferId: 'up' }, { body: body(), timeoutMs: TIMEOUT_MS });
    for await (const _ of transfer);
    return { sent, arrived };
  };
  return { n1, peer, run };
}

test('an upload goes on where the path comes to carry less than was found while more is asked for', async (t) => {
  const { n1, peer, run } = await setUp(t, 1232);
  const { sent, arrived } = await run();
  t.is(arrived, sent);
  t.is(peer.connections.length, 1);
  await until(() => peer.connections[0]?.datagramBytes === 1200);
  t.is(n1.counters.transports.quic?.blackHoles, 1);
});

test('an upload ends by its connection where the path comes to carry not even the least while more is asked for', async (t) => {
  const { run } = await setUp(t, 1100);
  const error = await t.throwsAsync(run());
  // Where the machine is busy, the node's pings may tell first.
  const codes = ['ConnectionLost', 'IdleTimeout'];
  t.true(codes.includes((error as MeshError).code), String(error));
});
