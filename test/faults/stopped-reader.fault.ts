/** A reader that stops: neither side keeps what it does not read, and other calls on the connection go on. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { assertAllAnswered } from './helpers/outcomes.js';
import type { Outcome } from './helpers/protocol.js';
import { RemoteNode } from './helpers/remote-node.js';

const OFFERED_BYTES = 200_000_000;
const MAX_GROWTH_BYTES = 40_000_000;
const LOAD_MS = 5000;

for (const transport of ['quic', 'tcp'] as const) {
  test(`${transport}: of 200 MB that nobody reads less than 40 MB are kept on either side`, async (t) => {
    // Transfers share the connection with the calls.
    const options = { transports: [transport], bulk: { transport: 'same' } } as const;
    const n2 = await RemoteNode.start(t, 'n2', { options });
    const n1 = await RemoteNode.start(t, 'n1', { listens: false, options });
    const { target } = n2;
    await n1.connect(target, true);
    const load = { target, perSecond: 200, timeoutMs: 10_000, replaySafe: 'none' } as const;
    const calls = async (name: string): Promise<readonly Outcome[]> => {
      await n1.ask('startLoad', { name, ...load });
      await sleep(LOAD_MS);
      const outcomes = await n1.ask('stopLoad', { name });
      assertAllAnswered(t, outcomes);
      return outcomes;
    };
    await calls('warm-up');
    const idleMs = p99(await calls('idle'));
    const before = await Promise.all([n1, n2].map((node) => node.ask('usage', {})));

    await n1.ask('startStalledUpload', { target, bytes: OFFERED_BYTES });
    const besideMs = p99(await calls('beside'));
    const after = await Promise.all([n1, n2].map((node) => node.ask('usage', {})));
    const { pulledBytes } = await n1.ask('stopStalledUpload', {});

    const growth = after.map(({ rssBytes }, side) => rssBytes - (before[side]?.rssBytes ?? 0));
    t.log(
      `${mb(pulledBytes)} MB of ${mb(OFFERED_BYTES)} taken; sender grew by ${mb(growth[0] ?? 0)} MB, ` +
        `receiver by ${mb(growth[1] ?? 0)} MB; p99 of other calls ${besideMs.toFixed(2)} ms, ` +
        `idle ${idleMs.toFixed(2)} ms`,
    );
    // Something was sent, and nothing like all.
    t.true(pulledBytes > 100_000 && pulledBytes < MAX_GROWTH_BYTES);
    for (const bytes of growth) t.true(bytes < MAX_GROWTH_BYTES, `${mb(bytes)} MB more`);
    // What was stopped is gone, and the connection as good as before.
    await calls('afterwards');
    t.is((await n1.links('n2')).length, 1);
  });
}

function p99(outcomes: readonly Outcome[]): number {
  const times = outcomes.map(({ beganMs, settledMs = 0 }) => settledMs - beganMs);
  times.sort((a, b) => a - b);
  return times[Math.floor(0.99 * (times.length - 1))] ?? Number.NaN;
}

function mb(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}
