/** When packets may leave. What it does to the estimate of a round trip: `round-trips.fault.ts`. */

import test from 'ava';
import fc from 'fast-check';
import { SendPacer } from '../../../../src/transport/quic/connection/send-pacer.js';
import { holds } from '../../../protocol/properties.js';

const PACKET_BYTES = 1452;

/** Sends whatever may leave at one time. @returns the bytes */
function sendAll(pacer: SendPacer, nowMs: number): number {
  pacer.begin(nowMs);
  let bytes = 0;
  while (pacer.waitMs === 0 && bytes < 10_000_000) {
    pacer.sent(PACKET_BYTES);
    bytes += PACKET_BYTES;
  }
  return bytes;
}

test('nothing waits while nothing is known, and a look is due then', (t) => {
  const pacer = new SendPacer();
  t.true(pacer.begin(0));
  t.is(pacer.waitMs, 0);
  pacer.sent(1_000_000);
  t.is(pacer.waitMs, 0);
  t.true(pacer.begin(1));
});

test('half a window leaves at once, and little more than a window in a round trip after it', (t) => {
  const window = fc.integer({ min: 10_000, max: 10_000_000 });
  const rtt = fc.integer({ min: 5, max: 500 });
  holds(
    t,
    fc.property(window, rtt, (windowBytes, rttMs) => {
      const pacer = new SendPacer();
      pacer.begin(0);
      pacer.learn(0, windowBytes, rttMs);
      const burst = sendAll(pacer, 0);
      let paced = 0;
      // One full packet in 20 ms may leave in any case.
      const allowed = Math.max(1.15 * windowBytes, (PACKET_BYTES * rttMs) / 20);
      for (let ms = 1; ms <= rttMs; ms += 1) paced += sendAll(pacer, ms);
      return (
        burst >= Math.min(windowBytes / 2, 10_000_000) &&
        burst <= Math.max(windowBytes / 2, 14_520) + PACKET_BYTES &&
        Math.abs(paced - allowed) <= 2 * PACKET_BYTES
      );
    }),
  );
});

test('a wait ends when the next packet may leave, and lasts from 1 to 20 ms', (t) => {
  const slow = new SendPacer();
  slow.begin(0);
  slow.learn(0, 10_000, 5000);
  sendAll(slow, 0);
  slow.sent(PACKET_BYTES);
  t.is(slow.waitMs, 20);
  const fast = new SendPacer();
  fast.begin(0);
  fast.learn(0, 1_000_000, 5);
  sendAll(fast, 0);
  t.is(fast.waitMs, 1);
  fast.begin(1);
  t.is(fast.waitMs, 0);
});

test('looks are due while much leaves, eight a round trip', (t) => {
  const pacer = new SendPacer();
  t.true(pacer.begin(0));
  pacer.learn(0, 100_000, 80);
  t.false(pacer.begin(100));
  sendAll(pacer, 100);
  t.true(pacer.begin(101));
  pacer.learn(101, 100_000, 80);
  t.false(pacer.begin(110));
  t.true(pacer.begin(111));
});

test('another path is looked at anew', (t) => {
  const pacer = new SendPacer();
  pacer.begin(0);
  pacer.learn(0, 10_000, 1000);
  sendAll(pacer, 0);
  t.true(pacer.waitMs > 0);
  pacer.restart();
  t.is(pacer.waitMs, 0);
  t.true(pacer.begin(1));
});

test('full packets differ by one byte from one to the next', (t) => {
  const pacer = new SendPacer();
  t.deepEqual([pacer.sizeOf(1200), pacer.sizeOf(1200), pacer.sizeOf(1200)], [1200, 1199, 1200]);
});
