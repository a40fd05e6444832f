/** Bulk connections over networks that carry TCP badly: transfers go another way, and calls notice nothing. */
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, NodeOptions, Peer } from '../../src/index.js';
import type { ChaosSettings } from '../helpers/chaos-proxy/faults.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, targetOf } from '../helpers/nodes.js';

const MIB = 1024 * 1024;
const TOTAL_BYTES = 64 * MIB;
const RESUMED = 'resumed';
const CHUNK = Buffer.alloc(64 * 1024, 7);
/** What TLS takes passes, and a segment of full size does not. */
const STALLS = { stallsAfterBytes: 8000 };

interface Setting {
  readonly n2: MeshNode;
  readonly proxy: ChaosProxy;
  /** n2, as n1 has it. */
  readonly peer: Peer;
}

async function start(
  t: ExecutionContext,
  faults: ChaosSettings,
  options: Partial<NodeOptions> = {},
): Promise<Setting> {
  const n2 = await startNode(t, 'n2');
  const proxy = await ChaosProxy.start({ target: targetOf(n2), faults });
  t.teardown(() => proxy.close());
  const n1 = await startNode(t, 'n1', options);
  for (const node of [n1, n2]) {
    const received = new Map<string, number>();
    node.handle('query', () => ({ result: [] }));
    node.handle('dataTransfer', async function* ({ transferId }, context) {
      let bytes = received.get(transferId) ?? 0;
      if (transferId === RESUMED) context.resumeAt(bytes);
      for await (const chunk of context.body) {
        bytes += chunk.length;
        if (transferId === RESUMED) received.set(transferId, bytes);
      }
      yield Buffer.from(String(bytes));
    });
  }
  return { n2, proxy, peer: await n1.connect({ nodeId: 'n2', ...proxy.address }) };
}

async function upload(peer: Peer): Promise<number> {
  const body = function* () {
    for (let sent = 0; sent < 4 * MIB; sent += CHUNK.length) yield CHUNK;
  };
  let answer = '';
  for await (const chunk of peer.stream({ transferId: 'up' }, { body: body() })) {
    answer += Buffer.from(chunk).toString();
  }
  return Number(answer);
}

function classesOf({ connections }: Peer): string[] {
  return connections.map(({ connectionClass, transport }) => `${connectionClass} ${transport}`);
}

function peerOf(node: MeshNode, nodeId: string): Peer {
  const peer = node.peer(nodeId);
  if (peer === undefined) throw new Error(`${node.nodeId} does not know ${nodeId}`);
  return peer;
}

for (const direction of ['toServer', 'toClient'] as const) {
  test(`TCP connects, but carries no full segments ${direction}: bulk goes over QUIC`, async (t) => {
    const { n2, proxy, peer } = await start(t, { tcp: { [direction]: STALLS } });
    const sent = upload(peer);
    // Meanwhile the other side does not trust the connection either: it has not heard that its answer arrived.
    t.is(await upload(peerOf(n2, 'n1')), 4 * MIB);
    t.is(await sent, 4 * MIB);
    t.deepEqual(classesOf(peer), ['calls quic', 'bulk quic']);
    t.is(proxy.counters.tcp.accepted, 1);
    // TCP is left alone for a while.
    for (let i = 0; i < 3; i += 1) t.is(await upload(peer), 4 * MIB);
    t.is(proxy.counters.tcp.accepted, 1);
    t.is(peer.bulkStatistics?.dialed, 1);
    t.is(peer.bulkStatistics?.lost, 0);
  });
}

test('where bulk is to go over TCP, and that carries no full segments, it stays with the calls', async (t) => {
  const { proxy, peer } = await start(t, { tcp: STALLS }, { bulk: { transport: 'tcp' } });
  for (let i = 0; i < 3; i += 1) t.is(await upload(peer), 4 * MIB);
  t.deepEqual(classesOf(peer), ['calls quic']);
  t.is(proxy.counters.tcp.accepted, 1);
  t.is(peer.bulkStatistics?.dialsFailed, 1);
});

for (const how of ['falls silent', 'is reset'] as const) {
  test(`a bulk connection ${how} in the midst of transfers: they go on over QUIC`, async (t) => {
    // However busy the machine is, TCP is found good at first.
    const timeouts = { connectMs: 50_000, handshakeMs: 50_000, fallbackDelayMs: 10_000 };
    // And calls are not taken for lost; silence is to be noticed soon, though.
    const health = { intervalMs: how === 'is reset' ? 10_000 : 500 };
    const { proxy, peer } = await start(t, {}, { timeouts, health });
    const offsets: number[] = [];
    let isBroken = false;
    const from = async function* (offset: number): AsyncGenerator<Buffer> {
      offsets.push(offset);
      for (let at = offset; at < TOTAL_BYTES; at += CHUNK.length) {
        if (at > TOTAL_BYTES / 4 && !isBroken) {
          isBroken = true;
          t.deepEqual(classesOf(peer), ['calls quic', 'bulk tcp']);
          if (how === 'is reset') proxy.reset();
          else proxy.change({ tcp: { blackHole: true } });
        }
        yield CHUNK.subarray(0, Math.min(CHUNK.length, TOTAL_BYTES - at));
      }
    };
    let isOver = false;
    const calls = (async () => {
      let count = 0;
      for (; !isOver; count += 1) await peer.request({ type: 'queryRequest', query: 'q' });
      return count;
    })();
    let answer = '';
    const transfer = { transferId: RESUMED, totalBytes: TOTAL_BYTES };
    for await (const chunk of peer.stream(transfer, { resume: true, body: from })) {
      answer += Buffer.from(chunk).toString();
    }
    isOver = true;
    t.is(Number(answer), TOTAL_BYTES);
    t.is(offsets.length, 2);
    t.true((offsets[1] ?? 0) > TOTAL_BYTES / 8);
    t.deepEqual(classesOf(peer), ['calls quic', 'bulk quic']);
    t.like(peer.bulkStatistics, { lost: 1, dialed: 2 });
    t.is(peer.statistics.lost, 0);
    t.log(`${await calls} calls meanwhile`);
    // A path that has failed under a transfer is left alone for a while.
    const { accepted } = proxy.counters.tcp;
    await upload(peer);
    t.is(proxy.counters.tcp.accepted, accepted);
  });
}
