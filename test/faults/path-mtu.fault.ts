/** Transfers and calls over QUIC, and paths that carry no datagrams above a size, which may change under way. */
import { createHash, randomBytes, randomInt } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, NodeEvent, NodeOptions, Peer } from '../../src/index.js';
import { SIZE_CLASSES } from '../helpers/chaos-proxy/counters.js';
import type { ChaosSettings, TooLarge } from '../helpers/chaos-proxy/faults.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, targetOf } from '../helpers/nodes.js';
import { SeededBytes } from '../helpers/seeded-bytes.js';
import { until } from '../helpers/until.js';

const TRANSFER_BYTES = 20_000_000;
const SIZES = [1200, 1232, 1280, 1350, 1452] as const;
const WAYS = ['lost', 'reported'] as const;
const CALL_BYTES = 50_000;

interface Network {
  readonly n1: MeshNode;
  readonly n2: MeshNode;
  readonly peer: Peer;
  readonly proxy: ChaosProxy;
}

/** Two nodes with a network between them. */
async function connect(
  t: ExecutionContext,
  faults: ChaosSettings,
  options: Partial<NodeOptions> = { transports: ['quic'] },
): Promise<Network> {
  // The connection that is looked at carries everything.
  const bulk = { transport: 'same' } as const;
  const n2 = await startNode(t, 'n2', { bulk, ...options });
  const n1 = await startNode(t, 'n1', { bulk, listen: undefined, ...options });
  const proxy = await ChaosProxy.start({ target: targetOf(n2), faults });
  t.teardown(() => proxy.close());
  t.log(`seed ${proxy.seed}`);
  n2.handle('request', ({ body }) => ({ body }));
  return { n1, n2, proxy, peer: await n1.connect({ nodeId: 'n2', ...proxy.address }) };
}

function ofSize(maxDatagramBytes: number, tooLarge: TooLarge = 'lost'): ChaosSettings {
  return { udp: { maxDatagramBytes, tooLarge } };
}

async function echo(t: ExecutionContext, peer: Peer, bytes = CALL_BYTES): Promise<void> {
  const body = randomBytes(bytes);
  const reply = await peer.request(
    { type: 'request', method: 'echo', body },
    { timeoutMs: 20_000 },
  );
  t.true(body.equals(reply.body as Uint8Array));
}

/** Sends so many bytes to the peer, which sends as many back, and lets a step happen in the middle of each way. */
async function transferBothWays(
  t: ExecutionContext,
  { n2, peer }: Network,
  inTheMiddle: () => void = () => {},
): Promise<void> {
  const bytes = new SeededBytes(randomInt(2 ** 32), TRANSFER_BYTES);
  const halfway = (received: number, before: number) =>
    received >= TRANSFER_BYTES / 2 && before < TRANSFER_BYTES / 2;
  n2.handle('dataTransfer', async function* (_request, context) {
    const hash = createHash('sha256');
    let received = 0;
    for await (const chunk of context.body) {
      hash.update(chunk);
      if (halfway(received + chunk.length, received)) inTheMiddle();
      received += chunk.length;
    }
    yield Buffer.from(hash.digest('hex'));
    yield* bytes.from(0);
  });
  const hash = createHash('sha256');
  let received = 0;
  let sentHash = Buffer.alloc(0);
  const options = { body: bytes.from(0), timeoutMs: 120_000 };
  for await (const chunk of peer.stream({ transferId: randomBytes(4).toString('hex') }, options)) {
    const prefix = Math.min(64 - sentHash.length, chunk.length);
    sentHash = Buffer.concat([sentHash, chunk.subarray(0, prefix)]);
    const rest = chunk.subarray(prefix);
    hash.update(rest);
    if (halfway(received + rest.length, received)) inTheMiddle();
    received += rest.length;
  }
  t.is(sentHash.toString(), bytes.sha256);
  t.is(received, TRANSFER_BYTES);
  t.is(hash.digest('hex'), bytes.sha256);
}

function datagramBytesOf(peer: Peer | undefined): number | undefined {
  return peer?.connections.find(({ transport }) => transport === 'quic')?.datagramBytes;
}

for (const bytes of SIZES) {
  for (const tooLarge of WAYS) {
    test(`20 MB go either way where a path carries ${bytes} bytes and larger datagrams are ${tooLarge}`, async (t) => {
      const network = await connect(t, ofSize(bytes, tooLarge));
      await transferBothWays(t, network);
      t.is(network.peer.transport, 'quic');
      t.is(network.peer.connections.length, 1);
      const found = [network.peer, network.n2.peer('n1')].map(datagramBytesOf);
      t.log(`found ${found}`);
      // With a report, the sender's system cuts what is larger into fragments, which pass.
      for (const size of found) {
        if (tooLarge === 'lost') t.true((size as number) <= bytes && (size as number) >= bytes - 3);
        else t.true((size as number) >= bytes - 3);
      }
      const { toServer, toClient } = network.proxy.counters.udp;
      t.log(`too large: ${toServer.tooLarge} there, ${toClient.tooLarge} back`);
      for (const { tooLarge: lost } of [toServer, toClient]) {
        t.true(lost <= 30, `${lost} datagrams were lost for their size`);
      }
    });
  }
}

for (const [from, to] of [
  [1452, 1280],
  [1452, 1200],
  [1350, 1232],
  [1232, 1452],
  [16_000, 1280],
] as const) {
  test(`20 MB go either way where a path of ${from} bytes carries ${to} from the middle on`, async (t) => {
    const network = await connect(t, ofSize(from));
    await transferBothWays(t, network, () => network.proxy.change(ofSize(to)));
    t.is(network.peer.transport, 'quic');
    t.is(network.peer.connections.length, 1, 'the connection lives');
  });
}

test('calls go on when a path comes to carry less, and large datagrams come back when it carries more', async (t) => {
  const network = await connect(t, ofSize(1452));
  const { n1, n2, peer, proxy } = network;
  const events = follow(t, n1);
  for (let call = 0; call < 20; call += 1) await echo(t, peer);
  await until(() => (datagramBytesOf(peer) as number) >= 1449);
  proxy.change(ofSize(1250));
  const sentBefore = n1.counters.transports.quic?.datagramsSent as number;
  for (let call = 0; call < 20; call += 1) await echo(t, peer);
  await until(() => datagramBytesOf(peer) === 1200 && datagramBytesOf(n2.peer('n1')) === 1200);
  const sent = (n1.counters.transports.quic?.datagramsSent as number) - sentBefore;
  t.true(sent < 20 * 150, `${sent} datagrams for 20 calls of 42`);
  t.is(n1.counters.transports.quic?.blackHoles, 1);
  t.deepEqual(
    events.filter(({ kind }) => kind === 'datagramSizeChanged').map(({ to }) => to >= 1449),
    [true, false],
  );
  t.is(peer.connections.length, 1);
  t.is(peer.transport, 'quic');
});

test('after it moved, a connection finds out what its new path carries', async (t) => {
  const { n1, peer, proxy } = await connect(t, ofSize(1280));
  await echo(t, peer);
  await until(() => (datagramBytesOf(peer) as number) >= 1277);
  proxy.change(ofSize(1452));
  await peer.migrate();
  t.is(datagramBytesOf(peer), 1200);
  await echo(t, peer);
  await until(() => (datagramBytesOf(peer) as number) >= 1449);
  t.is(n1.counters.transports.quic?.blackHoles, 0);
});

test('on loopback a connection asks once, as soon as it is open', async (t) => {
  const { n1, n2, peer } = await connect(t, {});
  await until(() => [peer, n2.peer('n1')].every((other) => datagramBytesOf(other) === 16_000));
  for (let call = 0; call < 100; call += 1) await echo(t, peer, 100);
  t.is(n1.counters.transports.quic?.pathProbes, 1);
  t.is(n2.counters.transports.quic?.pathProbes, 1);
});

test('a size that is given is used at once, and left when the path swallows it', async (t) => {
  const { n1, peer, proxy } = await connect(
    t,
    {},
    { transports: ['quic'], quic: { maxDatagramBytes: 1350 } },
  );
  t.is(datagramBytesOf(peer), 1350);
  for (let call = 0; call < 5; call += 1) await echo(t, peer);
  t.is(n1.counters.transports.quic?.pathProbes, 0);
  t.is(largestClassOf(proxy), 1350);
  proxy.change(ofSize(1300));
  for (let call = 0; call < 5; call += 1) await echo(t, peer);
  await until(() => datagramBytesOf(peer) === 1200);
  t.is(peer.connections.length, 1);
});

const BOTH = { transports: ['quic', 'tcp'] as const };

test('where not even 1,200 bytes pass from the start, TCP takes over', async (t) => {
  const { peer } = await connect(t, ofSize(1100), BOTH);
  for (let call = 0; call < 5; call += 1) await echo(t, peer);
  t.is(peer.transport, 'tcp');
});

for (const [beside, smallCalls] of [
  ['nothing else goes', false],
  ['small calls go on', true],
] as const) {
  test(`where not even 1,200 bytes pass any more while ${beside}, TCP takes over`, async (t) => {
    const { n1, n2, peer, proxy } = await connect(t, {}, BOTH);
    await echo(t, peer);
    t.is(peer.transport, 'quic');
    proxy.change(ofSize(1100));
    let isDone = false;
    const smallOnes = (async () => {
      while (smallCalls && !isDone) await echo(t, peer, 10);
    })();
    // What is under way is lost with its connection; what comes after is not.
    const large = { type: 'request', method: 'echo', body: randomBytes(5000) } as const;
    await peer.request(large, { timeoutMs: 30_000, replaySafe: true });
    isDone = true;
    await smallOnes.catch(() => {});
    for (let call = 0; call < 5; call += 1) await echo(t, peer);
    t.is(peer.transport, 'tcp');
    const unusable = [n1, n2].map(({ counters }) => counters.transports.quic?.pathsUnusable ?? 0);
    t.log(`found unusable: ${unusable}`);
    if (smallCalls) t.true(unusable.some((count) => count > 0));
  });
}

/** The size class of the largest datagrams that the dialer sent. */
function largestClassOf({ counters }: ChaosProxy): number | undefined {
  const { largestForwardedBytes } = counters.udp.toServer;
  return SIZE_CLASSES.find((upToBytes) => largestForwardedBytes <= upToBytes);
}

type SizeEvent = NodeEvent & { readonly kind: 'datagramSizeChanged' };

function follow(t: ExecutionContext, node: MeshNode): SizeEvent[] {
  const events: SizeEvent[] = [];
  const status = node.status({ connections: true });
  t.teardown(async () => {
    await status.return?.();
  });
  void (async () => {
    for await (const event of status) {
      if (event.kind === 'datagramSizeChanged') events.push(event as SizeEvent);
    }
  })();
  return events;
}
