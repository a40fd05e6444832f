/** What a path's largest datagram does to others, on a clock of the test's own. */
import test from 'ava';
import { FAULTLESS, type Faults } from './faults.js';
import { SizeLimit } from './size-limit.js';

function narrow(faults: Partial<Faults>): Faults {
  return { ...FAULTLESS.udp.toServer, maxDatagramBytes: 1280, ...faults };
}

test('what is larger never passes where nobody says so', (t) => {
  const limit = new SizeLimit();
  t.is(limit.judge(1280, narrow({}), 0), 'passes');
  for (const nowMs of [0, 1, 1e9]) t.is(limit.judge(1281, narrow({}), nowMs), 'tooLarge');
  t.is(limit.judge(65_000, FAULTLESS.udp.toServer, 0), 'passes');
});

test('a report takes a round trip, and its sender sends fragments from then on', (t) => {
  const limit = new SizeLimit();
  const faults = narrow({ tooLarge: 'reported', delayMs: 30 });
  t.is(limit.judge(1400, faults, 100), 'tooLarge');
  t.is(limit.judge(1400, faults, 159), 'tooLarge');
  t.is(limit.judge(1000, faults, 159), 'passes');
  t.is(limit.judge(1400, faults, 160), 'fragmented');
  const narrower = { ...faults, maxDatagramBytes: 1232 };
  t.is(limit.judge(1400, narrower, 200), 'tooLarge');
  t.is(limit.judge(1400, narrower, 260), 'fragmented');
});
