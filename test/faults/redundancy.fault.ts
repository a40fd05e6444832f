/** Calls that are sent twice over a bad network: they are late less often, and never run twice. */
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, Peer } from '../../src/index.js';
import type { ChaosSettings } from '../helpers/chaos-proxy/faults.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, type TestTransport, targetOf } from '../helpers/nodes.js';

const TWICE = { redundancy: 2, priority: 'control', timeoutMs: 60_000 } as const;

async function pairOver(
  t: ExecutionContext,
  transport: TestTransport,
  faults: ChaosSettings,
  seed?: number,
): Promise<{ peer: Peer; n2: MeshNode; proxy: ChaosProxy }> {
  const options = { transports: [transport] as const };
  const n2 = await startNode(t, 'n2', options);
  const target = targetOf(n2);
  const proxy = await ChaosProxy.start({ target, faults, ...(seed === undefined ? {} : { seed }) });
  t.teardown(() => proxy.close());
  t.log(`seed ${proxy.seed}`);
  const timeouts = { connectMs: 60_000 };
  const n1 = await startNode(t, 'n1', { ...options, timeouts });
  return { peer: await n1.connect({ ...proxy.address, nodeId: 'n2' }), n2, proxy };
}

for (const seed of [1, 2, 3, 4]) {
  test(`no call runs twice where datagrams are lost, doubled and out of order, by seed ${seed}`, async (t) => {
    t.timeout(240_000);
    const udp = { loss: 0.1, duplicate: 0.1, reorder: 0.1, delayMs: 2, jitterMs: 3 };
    const { peer, n2 } = await pairOver(t, 'quic', { udp }, seed);
    const runs = new Map<number, number>();
    n2.handle('request', async ({ body }) => {
      const number = body as number;
      runs.set(number, (runs.get(number) ?? 0) + 1);
      // Some are answered before their second copy can come, some after.
      if (number % 3 === 0) await sleep(number % 7);
      return { body: number };
    });
    let answered = 0;
    const callOne = async (number: number): Promise<void> => {
      const message = { type: 'request', method: 'once', body: number } as const;
      if (number % 5 === 0) {
        await peer.send(message, TWICE);
        return;
      }
      // Some are given up meanwhile: whether they have run is open, but not how often.
      const timeoutMs = number % 11 === 0 ? 4 : TWICE.timeoutMs;
      try {
        const reply = await peer.request(message, { ...TWICE, timeoutMs, retry: false });
        t.is(reply.body, number);
        answered += 1;
      } catch (error) {
        t.is((error as { code?: string }).code, 'DeadlineExceeded');
        t.is(timeoutMs, 4);
      }
    };
    for (let batch = 0; batch < 100; batch += 1) {
      await Promise.all(Array.from({ length: 20 }, (_, i) => callOne(20 * batch + i)));
    }
    // What was lost is sent again by QUIC, and comes by now or never.
    await peer.ping(TWICE);
    const { copiesSent } = peer.connections[0]?.calls ?? { copiesSent: 0 };
    const { copiesDropped } = n2.peer('n1')?.connections[0]?.calls ?? { copiesDropped: 0 };
    t.log(`${answered} answered, ${copiesSent} copies sent, ${copiesDropped} dropped`);
    t.true(answered >= 1400);
    // A connection that is replaced meanwhile takes its counts with it.
    t.true(copiesSent > 0 && copiesDropped > 0);
    for (const [number, times] of runs) t.is(times, 1, `call ${number}`);
  });
}

test('one lost datagram does not delay a call that is sent twice: 100 in a second, 50 ms, 2 % lost each way', async (t) => {
  t.timeout(240_000);
  const ROUND_TRIP_MS = 50;
  const udp = { delayMs: ROUND_TRIP_MS / 2 };
  const lossy = { udp: { ...udp, loss: 0.02 } };
  const links = [
    { ...(await pairOver(t, 'quic', { udp })), redundancy: 1 },
    { ...(await pairOver(t, 'quic', lossy)), redundancy: 1 },
    { ...(await pairOver(t, 'quic', lossy)), redundancy: 2 },
  ] as const;
  for (const { n2 } of links) n2.handle('request', ({ body }) => ({ body }));
  const timed = async ({ peer, redundancy }: (typeof links)[number]): Promise<number> => {
    const startMs = performance.now();
    const message = { type: 'request', method: 'timed', body: 1 } as const;
    await peer.request(message, { ...TWICE, redundancy });
    return performance.now() - startMs;
  };
  /** How many calls said something, and how many of each link were late. */
  const late = { of: 0, once: 0, twice: 0 };
  const round = async (): Promise<void> => {
    const [controlMs = 0, onceMs = 0, twiceMs = 0] = await Promise.all(links.map(timed));
    // What else the machine does delays all three alike: where the one that loses nothing was slow, nothing can be said.
    if (controlMs > 1.3 * ROUND_TRIP_MS) return;
    late.of += 1;
    if (onceMs - controlMs > 0.4 * ROUND_TRIP_MS) late.once += 1;
    if (twiceMs - controlMs > 0.4 * ROUND_TRIP_MS) late.twice += 1;
  };
  const rounds: Promise<void>[] = [];
  while (late.of < 1500 && rounds.length < 6000) {
    rounds.push(round());
    await sleep(10);
  }
  await Promise.all(rounds);
  t.log(`of ${late.of} calls late: ${late.once} sent once, ${late.twice} sent twice`);
  t.true(late.once > 0);
  t.true(late.twice <= late.once / 2);
});
