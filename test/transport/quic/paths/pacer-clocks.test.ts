/** Which hosts' connections keep the pacer's clock. What it does to a round trip: `pacer-clocks.fault.ts`. */
import test from 'ava';
import { PacerClocks } from '../../../../src/transport/quic/paths/pacer-clocks.js';

test('hosts have the clock but for loopback and those it ran ahead with, of which the oldest are forgotten', (t) => {
  const clocks = new PacerClocks();
  t.true(clocks.isKeptFor('192.0.2.1', false));
  t.true(clocks.isKeptFor('2001:db8::1', false));
  for (const host of ['127.0.0.1', '127.1.2.3', '::1']) {
    t.false(clocks.isKeptFor(host, false));
    // A peer that takes small datagrams only is as one across a link.
    t.true(clocks.isKeptFor(host, true));
  }
  clocks.ranAhead('192.0.2.1');
  t.false(clocks.isKeptFor('192.0.2.1', false));
  for (let i = 0; i < 1024; i += 1) clocks.ranAhead(`192.0.${i >> 8}.${i & 255}.example`);
  t.true(clocks.isKeptFor('192.0.2.1', false));
});
