/**
 * Calls of every kind at random, with deadlines and cancellations, while their peer is killed, closes, and comes back: each
 * settles, and nothing of them is left.
 */
import test, { type ExecutionContext } from 'ava';
import { eventually } from './helpers/clock.js';
import type { Handles, RandomCallsState } from './helpers/protocol.js';
import { RemoteNode } from './helpers/remote-node.js';

const CALLS = 100_000;
/** What of the calls' objects, and of the code that ran for them, has come to be by then stays. */
const WARM_UP_CALLS = 10_000;
const CONCURRENCY = 500;
const LIMIT_MS = 240_000;
const MAX_HEAP_GROWTH_BYTES = 4 * 1024 * 1024;
const MAX_RSS_GROWTH_BYTES = 32 * 1024 * 1024;

for (const [seed, transport] of [
  [1, 'quic'],
  [2, 'tcp'],
  [3, 'quic'],
  [4, 'tcp'],
  [5, 'quic'],
] as const) {
  test(`${transport}: 100,000 random calls settle once each, and leave nothing behind, by seed ${seed}`, async (t) => {
    t.timeout(2 * LIMIT_MS);
    const options = { transports: [transport] };
    const n2 = await RemoteNode.start(t, 'n2', { options });
    const n1 = await RemoteNode.start(t, 'n1', { listens: false, options });
    await n1.connect(n2.target, true);
    await makeCalls(t, n1, n2, { seed: seed + 1000, calls: WARM_UP_CALLS });
    const before = await n1.ask('usage', {});

    const interruptions = [
      { atCalls: 0.2 * CALLS, kind: 'kill' },
      { atCalls: 0.4 * CALLS, kind: 'close' },
      { atCalls: 0.6 * CALLS, kind: 'kill' },
      { atCalls: 0.8 * CALLS, kind: 'peerClose' },
    ] as const;
    const state = await makeCalls(t, n1, n2, { seed, calls: CALLS }, async (begun, done) => {
      const next = interruptions[done];
      if (next === undefined || begun < next.atCalls) return false;
      await interrupt(next.kind, n1, n2);
      return true;
    });
    t.log(`${state.answered} answered; ${state.failures.map((each) => each.join(' ')).join(', ')}`);
    const failures = new Map(state.failures);
    // Whatever else happened, these must have, or the calls were not what they should be.
    for (const code of ['Cancelled', 'DeadlineExceeded', 'HandlerFailed', 'ConnectionLost']) {
      t.true((failures.get(code) ?? 0) > 0, code);
    }
    t.false([...failures.keys()].some((code) => code.startsWith('no MeshError')));

    // Timers of what has ended may still have to fire.
    const hasNoMore = async () => {
      const { handles } = await n1.ask('usage', {});
      return isWithin(handles, before.handles) || undefined;
    };
    t.true(await eventually(hasNoMore, 30_000), 'handles are left');
    const after = await n1.ask('usage', {});
    t.log(
      `heap ${mb(after.heapBytes - before.heapBytes)} MB more, resident ${mb(after.rssBytes - before.rssBytes)}`,
    );
    t.true(after.heapBytes - before.heapBytes < MAX_HEAP_GROWTH_BYTES);
    t.true(after.rssBytes - before.rssBytes < MAX_RSS_GROWTH_BYTES);
  });
}

async function makeCalls(
  t: ExecutionContext,
  n1: RemoteNode,
  n2: RemoteNode,
  calls: { readonly seed: number; readonly calls: number },
  between: (begun: number, done: number) => Promise<boolean> = async () => false,
): Promise<RandomCallsState> {
  await n1.ask('startRandomCalls', { ...calls, target: n2.target, concurrency: CONCURRENCY });
  let interrupted = 0;
  let state: RandomCallsState | undefined;
  const isDone = await eventually(async () => {
    state = await n1.ask('randomCalls', {});
    if (await between(state.begun, interrupted)) interrupted += 1;
    return state.answered + state.failed + state.stuck >= calls.calls || undefined;
  }, LIMIT_MS);
  t.true(isDone, JSON.stringify(state));
  const end = await n1.ask('randomCalls', {});
  t.is(end.stuck, 0);
  t.is(end.begun, calls.calls);
  t.is(end.answered + end.failed, calls.calls);
  t.is(
    end.failures.reduce((sum, [, count]) => sum + count, 0),
    end.failed,
  );
  t.is(end.unsettled, 0);
  return end;
}

async function interrupt(
  kind: 'kill' | 'close' | 'peerClose',
  n1: RemoteNode,
  n2: RemoteNode,
): Promise<void> {
  if (kind === 'peerClose') {
    // Neither side dials again by itself.
    await n2.ask('closePeer', { nodeId: 'n1' });
    await n1.connect(n2.target, true);
    return;
  }
  if (kind === 'close') await n2.ask('close', {});
  await n2.kill();
  await n2.startAgain();
}

/** Whether there are no more of any kind. */
function isWithin(handles: Handles, bounds: Handles): boolean {
  return Object.entries(handles).every(([kind, count]) => count <= (bounds[kind] ?? 0));
}

function mb(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}
