import test from 'ava';
import fc from 'fast-check';
import { Upkeep } from '../../../../src/transport/quic/connection/upkeep.js';
import { holds } from '../../../protocol/properties.js';

const KEEP_ALIVE_MS = 10_000;

/** What befalls a connection, a while after what came before. */
const happening = fc.record({
  afterMs: fc.oneof(fc.nat(1500), fc.nat(15_000), fc.nat(60_000)),
  kind: fc.constantFrom('hears', 'sends', 'begins', 'ends', 'hears', 'sends'),
});

interface Course {
  readonly asked: readonly number[];
  readonly maintained: readonly number[];
  readonly looks: number;
}

/** @param isPolled whether it is looked at in every second, whatever it wants */
function follow(
  happenings: readonly { readonly afterMs: number; readonly kind: string }[],
  isPolled: boolean,
): Course {
  const upkeep = new Upkeep(KEEP_ALIVE_MS, 0);
  const asked: number[] = [];
  const maintained: number[] = [];
  let [looks, heardMs, datagrams, streams] = [0, 0, 0, 0];
  let nextMs = upkeep.wake(0);
  const traffic = (nowMs: number): void => {
    datagrams += 1;
    if (upkeep.isResting && !isPolled) nextMs = upkeep.wake(nowMs);
  };
  const look = (nowMs: number): void => {
    looks += 1;
    const isAwaiting = streams > 0;
    const step = upkeep.look(nowMs, { heardMs, datagrams, isAwaiting, isUnsettled: false });
    nextMs = isPolled ? nowMs + 1000 : step.nextMs;
    if (step.maintains) maintained.push(nowMs);
    if (!step.asks) return;
    asked.push(nowMs);
    traffic(nowMs);
    // The peer answers, if not always.
    if (asked.length % 3 === 0) return;
    heardMs = nowMs + 1;
    traffic(nowMs + 1);
  };
  let nowMs = 0;
  for (const { afterMs, kind } of happenings) {
    const untilMs = nowMs + afterMs + 0.5;
    while (nextMs <= untilMs) look(nextMs);
    nowMs = untilMs;
    if (kind === 'hears') heardMs = nowMs;
    if (kind === 'begins') streams += 1;
    if (kind === 'ends') streams = Math.max(0, streams - 1);
    traffic(nowMs);
  }
  return { asked, maintained, looks };
}

test('a silent peer is asked at the same times as if somebody looked in every second', (t) => {
  holds(
    t,
    fc.property(fc.array(happening, { maxLength: 40 }), (happenings) => {
      const resting = follow(happenings, false);
      const polled = follow(happenings, true);
      return resting.asked.join() === polled.asked.join() && resting.looks <= polled.looks;
    }),
  );
});

test('a connection with traffic is maintained in every keep-alive interval', (t) => {
  const happenings = Array.from({ length: 300 }, () => ({ afterMs: 400, kind: 'hears' }));
  const { maintained } = follow(happenings, false);
  t.true(maintained.length >= 20);
  for (const [i, atMs] of maintained.entries()) t.true(atMs - (maintained[i - 1] ?? 0) <= 6000);
});

test('an idle connection gets three looks for each question, and a question for each keep-alive interval', (t) => {
  const idle = [
    { afterMs: 10, kind: 'hears' },
    { afterMs: 1_100_000, kind: 'hears' },
  ];
  const { asked, looks, maintained } = follow(idle, false);
  t.true(asked.length >= 90, `${asked.length}`);
  // One in three is not answered, and repeated after a second.
  t.true(looks <= 5 * asked.length, `${looks} looks for ${asked.length}`);
  t.true(maintained.length >= asked.length / 2);
});
