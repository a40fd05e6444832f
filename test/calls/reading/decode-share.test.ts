/** The share of a peer in the event loop's time: what is paid for by bytes is free, and the rest is held to a quarter. */
import test from 'ava';
import fc from 'fast-check';
import { DecodeShare } from '../../../src/calls/reading/decode-share.js';
import { holds } from '../../protocol/properties.js';

test('messages that take no longer than their bytes pay for never wait', (t) => {
  const share = new DecodeShare();
  for (let nowMs = 0; nowMs < 10_000; nowMs += 1) {
    t.is(share.waitMs(nowMs), 0);
    share.spend(nowMs, nowMs + 1, 20_000);
  }
});

test('5 ms more may be taken at once, and then each millisecond is waited for three times as long', (t) => {
  const share = new DecodeShare();
  share.spend(0, 5, 0);
  t.is(share.waitMs(5), 0);
  share.spend(5, 25, 0);
  // 25 ms were taken; 20 of them count beyond the burst.
  t.is(share.waitMs(25), 4 * 25 - 20 - 25);
  t.is(share.waitMs(80), 0);
});

test('bytes that have paid for one part of a message do not pay for the next', (t) => {
  const share = new DecodeShare();
  t.is(share.spend(0, 1, 100_000), 80_000);
  t.is(share.spend(1, 2, 10_000), 0);
  // 0.5 ms were not paid for.
  share.spend(2, 27, 0);
  t.is(share.waitMs(27), 1 + 4 * 25.5 - 20 - 27);
});

test('memory of more than 16 times the bytes on the wire is charged before it is filled', (t) => {
  const share = new DecodeShare();
  share.expand(0, 16 * 65_536, 65_536);
  share.spend(0, 5, 0);
  t.is(share.waitMs(5), 0);
  const bomb = new DecodeShare();
  bomb.expand(0, 16 * 1024 * 1024, 0);
  t.is(bomb.waitMs(0), 4 * 32 - 20);
});

test('what was not taken does not add up', (t) => {
  const share = new DecodeShare();
  share.spend(1_000_000, 1_000_020, 0);
  t.is(share.waitMs(1_000_020), 4 * 20 - 20 - 20);
});

test('however long messages take: over any time a quarter of it, one message and the burst are not exceeded', (t) => {
  const messages = fc.array(
    fc.record({
      pauseMs: fc.integer({ min: 0, max: 200 }),
      tookMs: fc.integer({ min: 0, max: 100 }),
      wireBytes: fc.constantFrom(0, 100, 4096, 100_000),
    }),
    { minLength: 1, maxLength: 60 },
  );
  holds(
    t,
    fc.property(messages, (list) => {
      const share = new DecodeShare();
      const taken: { atMs: number; unpaidMs: number }[] = [];
      let nowMs = 0;
      for (const { pauseMs, tookMs, wireBytes } of list) {
        nowMs += pauseMs;
        nowMs += share.waitMs(nowMs);
        const startMs = nowMs;
        nowMs += tookMs;
        share.spend(startMs, nowMs, wireBytes);
        taken.push({ atMs: startMs, unpaidMs: Math.max(0, tookMs - wireBytes * 50e-6) });
      }
      return taken.every(({ atMs: fromMs }, from) => {
        let sumMs = 0;
        return taken.slice(from).every(({ atMs, unpaidMs }) => {
          // What came before this message, since `fromMs`.
          const isHeld = sumMs <= (atMs - fromMs) / 4 + 100 + 5 + 1e-6;
          sumMs += unpaidMs;
          return isHeld;
        });
      });
    }),
    1000,
  );
});
