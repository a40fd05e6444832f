/** Connections that outlive a change of address, between nodes: the peer's, seen by a proxy, and one's own. */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, NodeEvent, NodeOptions, Peer } from '../../src/index.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const TRANSFER_BYTES = 20_000_000;
const CHUNK_BYTES = 64 * 1024;
const BODY = randomBytes(TRANSFER_BYTES);
const BODY_HASH = createHash('sha256').update(BODY).digest('hex');

test('an upload of 20 MB and the calls beside it outlive a new source port every second', async (t) => {
  const { n1, n2 } = await pairOf(t);
  const faults = { udp: { toServer: { bytesPerSecond: 4_500_000 } } };
  const proxy = await proxyTo(t, n2, { rebindEveryMs: 1000, faults });
  const events = eventsOf(n2);
  const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
  const calls = callAllAlong(t, peer);
  t.is(await upload(peer), BODY_HASH);
  t.is(await calls.stop(), 0, 'calls lost');
  t.true(calls.answered > 0);
  assertOneConnection(t, n1, n2);
  const migrated = events.filter(({ kind }) => kind === 'migrated');
  t.true(migrated.length >= 3, `${migrated.length} moves seen`);
  for (const event of migrated) t.like(event, { side: 'remote', nodeId: 'n1', transport: 'quic' });
  // Each move starts where the one before it ended, and the connection knows where its peer is.
  const path = migrated.map((event) => (event.kind === 'migrated' ? event : undefined));
  for (const [i, event] of path.entries()) if (i > 0) t.deepEqual(event?.from, path[i - 1]?.to);
  t.deepEqual(n2.peer('n1')?.connections[0]?.remoteAddress, path.at(-1)?.to);
});

test('a download of 20 MB and the calls beside it outlive a new source port every second', async (t) => {
  const { n1, n2 } = await pairOf(t);
  const faults = { udp: { toClient: { bytesPerSecond: 4_500_000 } } };
  const proxy = await proxyTo(t, n2, { rebindEveryMs: 1000, faults });
  const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
  const calls = callAllAlong(t, peer);
  t.is(await download(peer), BODY_HASH);
  t.is(await calls.stop(), 0, 'calls lost');
  assertOneConnection(t, n1, n2);
  t.true((n2.counters.transports.quic?.peerMigrations ?? 0) >= 3);
});

for (const kind of ['upload', 'download'] as const) {
  test(`${kind} of 20 MB and the calls beside it outlive three moves of this node's own`, async (t) => {
    const { n1, n2 } = await pairOf(t);
    const [seenHere, seenThere] = [eventsOf(n1), eventsOf(n2)];
    const peer = await n1.connect(targetOf(n2));
    const calls = callAllAlong(t, peer);
    const transferring = kind === 'upload' ? upload(peer, 4) : download(peer, 4);
    const ports = [remotePort(n2)];
    for (let move = 1; move <= 3; move += 1) {
      await delay(200);
      await peer.migrate();
      await until(() => remotePort(n2) !== ports.at(-1));
      ports.push(remotePort(n2));
    }
    t.is(await transferring, BODY_HASH);
    t.is(await calls.stop(), 0, 'calls lost');
    assertOneConnection(t, n1, n2);
    t.is(new Set(ports).size, 4);
    t.is(n1.counters.transports.quic?.migrations, 3);
    t.is(n1.counters.transports.quic?.pathsValidated, 3);
    const moves = (events: NodeEvent[]) => events.filter((event) => event.kind === 'migrated');
    t.deepEqual(
      moves(seenHere).map((event) => 'to' in event && [event.side, event.to.port]),
      ports.slice(1).map((port) => ['local', port]),
    );
    t.deepEqual(
      moves(seenThere).map((event) => 'to' in event && [event.side, event.to.port]),
      ports.slice(1).map((port) => ['remote', port]),
    );
  });
}

test('a move to a host and port of choice', async (t) => {
  const { n1, n2 } = await pairOf(t);
  const peer = await n1.connect(targetOf(n2));
  await peer.migrate({ host: '127.0.0.2' });
  await until(() => n2.peer('n1')?.connections[0]?.remoteAddress.host === '127.0.0.2');
  t.like(await peer.request({ type: 'queryRequest', query: 'x' }), { result: 'x' });
});

test('a move that cannot be is refused with its reason, and the old path stays in use', async (t) => {
  const { n1, n2 } = await pairOf(t);
  const peer = await n1.connect(targetOf(n2));
  const port = remotePort(n2);
  // Taken, not an address of this machine, of the other family.
  const taken = { port: n2.address?.port ?? 0, host: '127.0.0.1' };
  t.like(await t.throwsAsync(peer.migrate(taken)), { code: 'MigrationFailed' });
  t.like(await t.throwsAsync(peer.migrate({ host: '192.0.2.1' })), { code: 'MigrationFailed' });
  t.like(await t.throwsAsync(peer.migrate({ host: '::1' })), { code: 'InvalidArgument' });
  const aborted = AbortSignal.abort();
  t.like(await t.throwsAsync(peer.migrate({ signal: aborted })), { code: 'Cancelled' });
  // Only who dialed can move: RFC 9000, section 9.
  await until(() => n2.peer('n1')?.isConnected === true);
  const back = n2.peer('n1') as Peer;
  t.like(await t.throwsAsync(back.migrate()), { code: 'MigrationFailed' });
  t.like(await peer.request({ type: 'queryRequest', query: 'x' }), { result: 'x' });
  t.is(remotePort(n2), port);
  t.is(n1.counters.transports.quic?.migrations, 0);
});

test('over TCP there is nothing to move', async (t) => {
  const { n1, n2 } = await pairOf(t, { transports: ['tcp'] });
  const peer = await n1.connect(targetOf(n2));
  t.like(await t.throwsAsync(peer.migrate()), { code: 'MigrationFailed' });
});

async function pairOf(
  t: ExecutionContext,
  options: Partial<NodeOptions> = {},
): Promise<{ n1: MeshNode; n2: MeshNode }> {
  // Transfers share the connection that moves.
  const bulk = { transport: 'same' } as const;
  const all = { transports: ['quic'] as const, bulk, ...options };
  const n1 = await startNode(t, 'n1', all);
  const n2 = await startNode(t, 'n2', all);
  n2.handle('query', ({ query }) => ({ result: query }));
  n2.handle('dataTransfer', async function* ({ transferId }, { body }) {
    if (transferId === 'download') {
      yield* chunksOf(BODY, 0);
      return;
    }
    const hash = createHash('sha256');
    for await (const chunk of body) hash.update(chunk);
    yield Buffer.from(hash.digest('hex'));
  });
  return { n1, n2 };
}

async function proxyTo(
  t: ExecutionContext,
  node: MeshNode,
  options: Partial<Parameters<typeof ChaosProxy.start>[0]>,
): Promise<ChaosProxy> {
  const proxy = await ChaosProxy.start({ ...options, target: targetOf(node) });
  t.teardown(() => proxy.close());
  t.log(`seed ${proxy.seed}`);
  return proxy;
}

/** @param pauseMs between chunks, so that there is time for something to happen */
async function* chunksOf(bytes: Buffer, pauseMs: number): AsyncIterable<Buffer> {
  for (let offset = 0; offset < bytes.length; offset += CHUNK_BYTES) {
    yield bytes.subarray(offset, offset + CHUNK_BYTES);
    if (pauseMs > 0) await delay(pauseMs);
  }
}

/** @returns the hash of what arrived */
async function upload(peer: Peer, pauseMs = 0): Promise<string> {
  const body = chunksOf(BODY, pauseMs);
  const options = { body, timeoutMs: Number.POSITIVE_INFINITY };
  let answer = '';
  for await (const chunk of peer.stream({ transferId: 'upload' }, options)) {
    answer += Buffer.from(chunk).toString();
  }
  return answer;
}

async function download(peer: Peer, pauseMs = 0): Promise<string> {
  const hash = createHash('sha256');
  const options = { timeoutMs: Number.POSITIVE_INFINITY };
  for await (const chunk of peer.stream({ transferId: 'download' }, options)) {
    hash.update(chunk);
    if (pauseMs > 0) await delay(pauseMs);
  }
  return hash.digest('hex');
}

/** Calls one after another until it is stopped. */
function callAllAlong(
  t: ExecutionContext,
  peer: Peer,
): { stop(): Promise<number>; readonly answered: number } {
  let stopped = false;
  let lost = 0;
  const state = {
    answered: 0,
    stop: async () => {
      stopped = true;
      await running;
      return lost;
    },
  };
  const running = (async () => {
    for (let i = 0; !stopped; i += 1) {
      const query = `q${i}`;
      try {
        const { result } = await peer.request({ type: 'queryRequest', query });
        if (result !== query) lost += 1;
        state.answered += 1;
      } catch {
        lost += 1;
      }
      await delay(5);
    }
  })();
  t.teardown(state.stop);
  return state;
}

/** What happens to a node's links from now on. */
function eventsOf(node: MeshNode): NodeEvent[] {
  const events: NodeEvent[] = [];
  void (async () => {
    for await (const event of node.status()) events.push(event);
  })();
  return events;
}

/** Neither side has had another connection. */
function assertOneConnection(t: ExecutionContext, n1: MeshNode, n2: MeshNode): void {
  t.is(n1.counters.transports.quic?.dialed, 1);
  t.is(n2.counters.transports.quic?.accepted, 1);
  t.is(n1.peer('n2')?.connections.length, 1);
}

function remotePort(node: MeshNode): number {
  return node.peer('n1')?.connections[0]?.remoteAddress.port ?? 0;
}
