/** A node whose process is killed, and comes back on its port, again and again. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { eventually } from './helpers/clock.js';
import { assertAllAnswered, summarize } from './helpers/outcomes.js';
import { RemoteNode } from './helpers/remote-node.js';

/** What a process takes to start, about. */
const DOWN_MS = 700;
const CONNECTED_MS = 2000;
/** How much longer to wait for what is late, so as to tell how late it is. */
const PATIENCE_MS = 8000;

test('a killed member of a mesh is connected with its peers within 2 s of its return, 20 times', async (t) => {
  const n1 = await RemoteNode.start(t, 'n1');
  const n3 = await RemoteNode.start(t, 'n3');
  const members = [n1.target, n3.target];
  const n2 = await RemoteNode.start(t, 'n2', { connectTo: members });
  for (const peer of [n1, n3]) await peer.connect(n2.target, true);
  const waits: number[] = [];
  for (let round = 1; round <= 20; round += 1) {
    const killedMs = await n2.kill();
    await sleep(DOWN_MS);
    const returnedMs = await n2.startAgain(members);
    for (const peer of [n1, n3]) {
      const waitMs = await upAgainMs(peer, killedMs, returnedMs);
      waits.push(waitMs);
      if (waitMs > CONNECTED_MS) t.log(describe(waits));
      t.true(waitMs < CONNECTED_MS, `round ${round}: ${peer.nodeId} after ${waitMs} ms`);
      const isLinked = async () => (await n2.links(peer.nodeId)).length > 0 || undefined;
      t.true(await eventually(isLinked, CONNECTED_MS), `round ${round}: n2 with ${peer.nodeId}`);
    }
  }
  t.log(describe(waits));
});

test('a killed node that only listens is connected within 2 s of its return while calls wait, 5 times', async (t) => {
  const n2 = await RemoteNode.start(t, 'n2');
  const n1 = await RemoteNode.start(t, 'n1', { listens: false });
  await n1.connect(n2.target, true);
  const target = n2.target;
  const load = { perSecond: 20, timeoutMs: 10_000, replaySafe: 'all' } as const;
  await n1.ask('startLoad', { name: 'waiting', target, ...load });
  const waits: number[] = [];
  for (let round = 1; round <= 5; round += 1) {
    const killedMs = await n2.kill();
    await sleep(DOWN_MS);
    const returnedMs = await n2.startAgain();
    const waitMs = await upAgainMs(n1, killedMs, returnedMs);
    waits.push(waitMs);
    if (waitMs > CONNECTED_MS) t.log(describe(waits));
    t.true(waitMs < CONNECTED_MS, `round ${round}: after ${waitMs} ms`);
  }
  const outcomes = await n1.ask('stopLoad', { name: 'waiting' });
  t.log(describe(waits));
  t.log(summarize(outcomes));
  assertAllAnswered(t, outcomes);
});

/** From the return of n2 until this node saw it, as a connection since it was killed. */
async function upAgainMs(node: RemoteNode, killedMs: number, returnedMs: number): Promise<number> {
  const up = await eventually(
    async () =>
      (await node.events(killedMs)).find(
        ({ kind, nodeId }) => kind === 'peerUp' && nodeId === 'n2',
      ),
    PATIENCE_MS,
  );
  return up === undefined ? Number.POSITIVE_INFINITY : up.atMs - returnedMs;
}

function describe(waits: readonly number[]): string {
  const sorted = [...waits].sort((a, b) => a - b).map((ms) => ms.toFixed(0));
  const median = sorted[Math.floor(sorted.length / 2)];
  return `connected after ${median} ms (median of ${sorted.length}), ${sorted.at(-1)} ms at most`;
}
