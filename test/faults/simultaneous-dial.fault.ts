/** Two nodes that dial each other in the same moment, and call at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { eventually, monotonicMs } from './helpers/clock.js';
import { assertAllAnswered, assertAllSettled, assertExecutions } from './helpers/outcomes.js';
import type { LoadOptions, Outcome } from './helpers/protocol.js';
import { RemoteNode } from './helpers/remote-node.js';

const ROUNDS = 25;
const ONE_LEFT_MS = 5000;
const AHEAD_MS = 30;
/** Calls on both sides during the decision and beyond it. */
const CALLING_MS = 250;
const LOAD = { perSecond: 200, burst: 5, timeoutMs: 10_000, replaySafe: 'half' } as const;
const DIALS = ['connect', 'connectEarly'] as const;

for (const transport of ['quic', 'tcp'] as const) {
  test(`${transport}: of two nodes that dial each other one connection remains, and no call is lost`, async (t) => {
    const options = { transports: [transport] };
    const n1 = await RemoteNode.start(t, 'n1', { options });
    const n2 = await RemoteNode.start(t, 'n2', { options });
    const waits: number[] = [];
    const calls = { n1: [] as Outcome[], n2: [] as Outcome[] };
    for (let round = 0; round < ROUNDS; round += 1) {
      // Each way of dialing meets each other one, and either side closes.
      const [first, second] = [DIALS[round % 2], DIALS[Math.floor(round / 2) % 2]];
      const atMs = monotonicMs() + AHEAD_MS;
      const begin = (from: RemoteNode, to: RemoteNode, dial: LoadOptions['dial']) =>
        from.ask('startLoad', {
          name: `${from.nodeId}-${round}`,
          target: to.target,
          dial,
          atMs,
          ...LOAD,
        });
      await Promise.all([begin(n1, n2, first), begin(n2, n1, second)]);
      await sleep(CALLING_MS);
      const remaining = await eventually(async () => {
        const [of1, of2] = await Promise.all([n1.links('n2'), n2.links('n1')]);
        return (of1.length === 1 && of2.length === 1) || undefined;
      }, ONE_LEFT_MS);
      waits.push(monotonicMs() - atMs);
      const links = [...(await n1.links('n2')), ...(await n2.links('n1'))];
      const roles = links.map(({ role }) => role).join(', ');
      t.true(remaining, `round ${round}, ${first} and ${second}: ${roles}`);
      t.not(links[0]?.role, links[1]?.role, 'both sides keep the same one');
      for (const node of [n1, n2]) {
        const outcomes = await node.ask('stopLoad', { name: `${node.nodeId}-${round}` });
        calls[node.nodeId as 'n1'].push(...outcomes);
      }
      const [closing, closed] = round % 4 < 2 ? [n1, n2] : [n2, n1];
      await closing.ask('closePeer', { nodeId: closed.nodeId });
      const isGone = async () =>
        (await n1.links('n2')).length + (await n2.links('n1')).length === 0 || undefined;
      t.true(await eventually(isGone, ONE_LEFT_MS), `round ${round}: closed by one, open still`);
    }
    const made = [...calls.n1, ...calls.n2];
    t.log(`${made.length} calls; one connection after ${Math.max(...waits).toFixed(0)} ms at most`);
    assertAllSettled(t, made);
    assertAllAnswered(t, made);
    assertExecutions(t, calls.n1, await n2.executions());
    assertExecutions(t, calls.n2, await n1.executions());
  });
}
