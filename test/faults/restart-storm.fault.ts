/** A server that is killed and comes back to a hundred dialers, which should not all arrive at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { freePort } from '../../scripts/mesh/ports.js';
import { generateDevCerts } from '../../src/certs/index.js';
import { eventually } from './helpers/clock.js';
import { NodeProcess } from './helpers/node-process.js';
import { NotingRelay } from './helpers/noting-relay.js';
import { RemoteNode } from './helpers/remote-node.js';
import { describeSpread, deviation, mostWithin } from './helpers/spread.js';

const DIALERS = 100;
const PROCESSES = 4;
const DOWN_MS = 2000;
const ALL_BACK_MS = 30_000;
const WINDOW_MS = 100;
/**
 * Dials that begin all at once were seen to deviate by 10 ms, and by 240 ms on a machine that was busy. With delays of up
 * to a tenth of a second first, doubled each time and fully jittered, it is over a second when two have passed.
 */
const MIN_DEVIATION_MS = 400;

test(`tcp: ${DIALERS} dialers do not come back in step to a node that was killed`, async (t) => {
  const { server, dialers } = await setUp(t, 'tcp');
  const port = await freePort();
  const before = await NotingRelay.start(t, port, server.target);
  await Promise.all(dialers.map((dialer) => dialer.connect({ ...server.target, port }, true)));

  await server.kill();
  await before.close();
  await sleep(DOWN_MS);
  const returnedMs = await server.startAgain();
  const { arrivals } = await NotingRelay.start(t, port, server.target);
  const back = await allUp(server);
  t.log(`dials after the return: ${describeSpread(arrivals, WINDOW_MS)}`);
  t.log(`peers up, the last ${((back.at(-1) ?? 0) - returnedMs).toFixed(0)} ms after the return`);
  t.is(back.length, DIALERS);
  t.true(mostWithin(arrivals, WINDOW_MS) <= DIALERS / 2, `half of them within ${WINDOW_MS} ms`);
  t.true(deviation(arrivals) > MIN_DEVIATION_MS, `deviation ${deviation(arrivals)} ms`);
});

test(`quic: ${DIALERS} dialers with calls to make come back to a node that was killed`, async (t) => {
  const { server, dialers } = await setUp(t, 'quic');
  const { target } = server;
  await Promise.all(dialers.map((dialer) => dialer.connect(target, true)));
  // Over QUIC nobody is told that a process was killed: silence tells it to those who wait for answers.
  const load = { target, perSecond: 1, timeoutMs: 10_000, replaySafe: 'all' } as const;
  for (const dialer of dialers) await dialer.ask('startLoad', { name: dialer.nodeId, ...load });
  await server.kill();
  await sleep(DOWN_MS);
  const returnedMs = await server.startAgain();
  const back = await allUp(server);
  t.log(`peers up after the return: ${describeSpread(back, WINDOW_MS)}`);
  t.log(`the last ${((back.at(-1) ?? 0) - returnedMs).toFixed(0)} ms after the return`);
  t.is(back.length, DIALERS);
});

async function setUp(
  t: ExecutionContext,
  transport: 'tcp' | 'quic',
): Promise<{ server: RemoteNode; dialers: readonly RemoteNode[] }> {
  const ids = Array.from({ length: DIALERS }, (_, i) => `d${i}`);
  const { ca, nodes } = await generateDevCerts(['server', ...ids]);
  const transports = [transport];
  const server = await RemoteNode.start(t, 'server', {
    tls: { ca, ...nodes.server! },
    // All dialers have the address of this machine.
    options: { transports, admission: { maxHalfOpenPerSource: 4 * DIALERS } },
  });
  const processes = Array.from({ length: PROCESSES }, () => new NodeProcess(t));
  const dialers = ids.map((id, i) =>
    RemoteNode.start(t, id, {
      tls: { ca, ...nodes[id]! },
      listens: false,
      options: { transports },
      process: processes[i % PROCESSES],
    }),
  );
  return { server, dialers: await Promise.all(dialers) };
}

/** When each dialer was up first, in order; those who did not come in time are missing. */
async function allUp(server: RemoteNode): Promise<readonly number[]> {
  const first = new Map<string, number>();
  await eventually(async () => {
    for (const { kind, nodeId = '', atMs } of await server.events()) {
      if (kind === 'peerUp' && !first.has(nodeId)) first.set(nodeId, atMs);
    }
    return first.size === DIALERS || undefined;
  }, ALL_BACK_MS);
  return [...first.values()].sort((a, b) => a - b);
}
