import test, { type ExecutionContext } from 'ava';
import { MeshError, type MeshNode, type Peer } from '../../src/index.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';

const MIB = 1024 * 1024;
/** Slow enough for everything to wait in line, and fast enough for a test. */
const BYTES_PER_SECOND = 4 * MIB;
const VOTE = { kind: 'requestVote', term: 1, candidateId: 'n1', lastLogIndex: 1, lastLogTerm: 1 };

interface Pair {
  readonly peer: Peer;
  readonly server: MeshNode;
  /** What the server was called for, in order. */
  readonly served: string[];
  /** Lifts the limit of the link. */
  release(): void;
}

/** Two nodes with a slow link between them. */
async function slowPair(t: ExecutionContext, transport: TestTransport): Promise<Pair> {
  // Messages are sent in the turn in which they are made, and are as long as they look.
  const options = { transports: [transport], compression: { algorithms: [] } };
  const server = await startNode(t, 'n2', options);
  const client = await startNode(t, 'n1', options);
  const served: string[] = [];
  server
    .handle('request', ({ method, body }) => {
      served.push(method);
      return { body: Buffer.alloc(Number((body as { answer?: number } | undefined)?.answer ?? 0)) };
    })
    .handle('consensus', ({ body: { term } }) => {
      served.push('consensus');
      return { body: { kind: 'requestVoteResponse', term, voteGranted: true } };
    })
    .handle('replicationLog', () => {
      served.push('replicationLog');
    })
    .handle('dataTransfer', async function* ({ name }, { body, signal }) {
      if (name === 'down') {
        while (!signal.aborted) yield Buffer.alloc(64 * 1024);
      }
      for await (const piece of body) served.push(`bulk ${piece.length}`);
    });
  const target = targetOf(server);
  // What is in the proxy's own line nobody can overtake.
  const proxy = await ChaosProxy.start({
    target,
    faults: { bytesPerSecond: BYTES_PER_SECOND },
    maxQueuedBytes: 256 * 1024,
  });
  t.teardown(() => proxy.close());
  const peer = await client.connect({ nodeId: 'n2', ...proxy.address });
  const release = () => proxy.change({ bytesPerSecond: Number.POSITIVE_INFINITY });
  return { peer, server, served, release };
}

function call(peer: Peer, method: string, bytes = 0, options = {}): Promise<unknown> {
  const message = { type: 'request', method, body: Buffer.alloc(bytes) } as const;
  return peer.request(message, { timeoutMs: 60_000, ...options });
}

function vote(peer: Peer): Promise<unknown> {
  return peer.request({ type: 'consensus', body: VOTE as never }, { timeoutMs: 60_000 });
}

function* zeros(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= 64 * 1024) yield Buffer.alloc(Math.min(left, 64 * 1024));
}

async function finish(transfer: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _piece of transfer);
}

const bulkBytes = (served: readonly string[]): number =>
  served.reduce((sum, what) => sum + (what.startsWith('bulk ') ? Number(what.slice(5)) : 0), 0);

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a consensus message overtakes bulk data that fills the connection`, async (t) => {
    const { peer, served, release } = await slowPair(t, transport);
    await vote(peer);
    const total = 8 * MIB;
    const transfer = finish(peer.stream({ transferId: 'up' }, { body: zeros(total) }));
    // The transfer has found its pace when the first of it has come.
    while (bulkBytes(served) === 0) await call(peer, 'look', 0, { priority: 'bulk' });
    await vote(peer);
    t.true(bulkBytes(served) < total, 'the transfer is still under way');
    release();
    await transfer;
    t.is(bulkBytes(served), total);
  });

  test(`${transport}: calls of one turn leave in the order of their classes`, async (t) => {
    const { peer, served, release } = await slowPair(t, transport);
    // Fills all that takes bytes ahead of the lines: windows, kernels, the proxy.
    const fill = Array.from({ length: 48 }, () => call(peer, 'fill', 128 * 1024));
    const bulk = Array.from({ length: 40 }, () => call(peer, 'bulk', 70_000, { priority: 'bulk' }));
    const high = Array.from({ length: 4 }, () => call(peer, 'high', 8000, { priority: 'high' }));
    const control = Array.from({ length: 4 }, () => vote(peer));
    await Promise.all([...high, ...control]);
    release();
    await Promise.all([...fill, ...bulk]);
    const after = (what: string, last: string): number =>
      served.slice(served.lastIndexOf(last)).filter((each) => each === what).length;
    const order = served.join(' ');
    // Some may have left before the more urgent calls were made, and bulk has its turn after every 256 KiB of others.
    for (const urgent of ['consensus', 'high']) {
      t.true(after('fill', urgent) >= 24, order);
      t.true(after('bulk', urgent) >= 30, order);
    }
    // What the proxy had no room for is sent again, and comes late: it is the most that tell.
    const most = served.findIndex(
      (_, i) => served.slice(0, i).filter((each) => each === 'fill').length === 36,
    );
    t.true(served.slice(most).filter((each) => each === 'bulk').length >= 8, order);
  });

  test(`${transport}: bulk data gets on while calls above it take all there is`, async (t) => {
    const { peer, served, release } = await slowPair(t, transport);
    let isOver = false;
    const lanes = Array.from({ length: 16 }, async () => {
      while (!isOver) await call(peer, 'much', 64 * 1024, { priority: 'high' });
    });
    const total = MIB;
    await finish(peer.stream({ transferId: 'up' }, { body: zeros(total) }));
    isOver = true;
    release();
    await Promise.all(lanes);
    t.is(bulkBytes(served), total);
  });

  test(`${transport}: the answer goes at the class of its call`, async (t) => {
    const { peer, served, release } = await slowPair(t, transport);
    const abort = new AbortController();
    let received = 0;
    const down = (async () => {
      for await (const piece of peer.stream({ transferId: 'down', name: 'down' }, abort)) {
        received += piece.length;
      }
    })();
    while (received === 0) await vote(peer);
    const large = { type: 'request', method: 'large', body: { answer: 256 * 1024 } } as const;
    const order: string[] = [];
    const note = (what: string) => () => void order.push(what);
    const options = { timeoutMs: 60_000 };
    await Promise.all([
      ...Array.from({ length: 6 }, () =>
        peer.request(large, { ...options, priority: 'bulk' }).then(note('bulk')),
      ),
      ...Array.from({ length: 2 }, () =>
        peer.request(large, { ...options, priority: 'high' }).then(note('high')),
      ),
      vote(peer).then(note('control')),
    ]);
    // Those of class high, and one of bulk, may have found room at once, before the more urgent call was there.
    t.true(order.indexOf('control') <= 3, order.join(' '));
    t.deepEqual(order.slice(-4), ['bulk', 'bulk', 'bulk', 'bulk'], order.join(' '));
    t.true(served.includes('large'));
    release();
    abort.abort();
    await t.throwsAsync(down, { instanceOf: MeshError });
  });

  test(`${transport}: what is no priority is refused, and the connection goes on`, async (t) => {
    const { peer, served } = await slowPair(t, transport);
    const priority = 'urgent' as never;
    const code = (error: unknown) => (error as MeshError).code;
    const failure = await t.throwsAsync(call(peer, 'never', 0, { priority }));
    t.is(code(failure), 'InvalidArgument');
    const inMessage = peer.request({ type: 'request', method: 'never', priority });
    t.is(code(await t.throwsAsync(inMessage)), 'InvalidArgument');
    const transfer = () => peer.stream({ transferId: 'never' }, { priority });
    t.is(code(t.throws(transfer)), 'InvalidArgument');
    t.deepEqual(served, []);
    await call(peer, 'again', 0, { priority: 'control' });
    t.deepEqual(served, ['again']);
  });
}
