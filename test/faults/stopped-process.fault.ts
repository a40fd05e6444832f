/** A process that does nothing for seconds, as on a machine that swaps or is moved, and then goes on. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { eventually } from './helpers/clock.js';
import { assertAllSettled, assertExecutions, backAfterMs, summarize } from './helpers/outcomes.js';
import type { Handles } from './helpers/protocol.js';
import { RemoteNode } from './helpers/remote-node.js';

const STOPPED_MS = 5000;
const SERVICE_BACK_MS = 5000;
const SETTLED_MS = 10_000;
const LOAD = { perSecond: 100, timeoutMs: 3000, replaySafe: 'half' } as const;
/** Timers of a node's own come and go: of calls that leak theirs there would be hundreds. */
const MORE_TIMERS = 3;

for (const transport of ['quic', 'tcp'] as const) {
  test(`${transport}: calls settle in time while the peer is stopped for 5 s, and nothing of them is left`, async (t) => {
    const options = { transports: [transport] };
    const n2 = await RemoteNode.start(t, 'n2', { options });
    const n1 = await RemoteNode.start(t, 'n1', { listens: false, options });
    const { target } = n2;
    await n1.connect(target);
    await n1.ask('startLoad', { name: 'before', target, ...LOAD });
    await sleep(500);
    const before = await n1.ask('stopLoad', { name: 'before' });
    const handles = { n1: await n1.handles(), n2: await n2.handles() };

    await n1.ask('startLoad', { name: 'stopped', target, ...LOAD });
    await sleep(500);
    const { toMs } = await n2.process.pause(STOPPED_MS);
    await sleep(SERVICE_BACK_MS);
    const outcomes = await n1.ask('stopLoad', { name: 'stopped' });
    const backMs = backAfterMs(outcomes, toMs);
    t.log(`${summarize(outcomes)}; served again after ${backMs?.toFixed(0)} ms`);
    t.true(backMs !== undefined && backMs < SERVICE_BACK_MS, `served again after ${backMs} ms`);
    assertAllSettled(t, outcomes, LOAD.timeoutMs + 1000);
    assertExecutions(t, [...before, ...outcomes], await n2.executions());

    for (const [node, peer] of [
      [n1, 'n2'],
      [n2, 'n1'],
    ] as const) {
      const isOne = async () => (await node.links(peer)).length === 1 || undefined;
      t.true(await eventually(isOne, SETTLED_MS), `${node.nodeId} has not one connection`);
      const isNoMore = async () => grown(handles[node.nodeId as 'n1'], await node.handles()) === '';
      await eventually(async () => (await isNoMore()) || undefined, SETTLED_MS);
      t.is(grown(handles[node.nodeId as 'n1'], await node.handles()), '', `of ${node.nodeId}`);
    }
  });
}

/** What there is more of than before, for people; empty if nothing. */
function grown(before: Handles, after: Handles): string {
  const kinds = Object.keys(after).filter((kind) => {
    const more = (after[kind] ?? 0) - (before[kind] ?? 0);
    return more > (kind === 'Timeout' ? MORE_TIMERS : 0);
  });
  return kinds.map((kind) => `${kind}: ${before[kind] ?? 0}, then ${after[kind]}`).join('; ');
}
