/** How far bulk data holds back beside other calls: never so far that its receiver has nothing to say. SPEC.md, "Credit". */
import test from 'ava';
import fc from 'fast-check';
import { INITIAL_STREAM_WINDOW_BYTES, SendCredit } from '../../../src/transport/mux/credit.js';
import { CreditInFlight } from '../../../src/transport/mux/credit-in-flight.js';
import { Contention } from '../../../src/transport/priority/contention.js';

const KIB = 1024;
const FRAME_BYTES = 64 * KIB;
const TOTAL_FRAMES = 400;

interface Receiver {
  readonly windowBytes: number;
  /** Of half its window: what it has consumed when it grants that. */
  readonly share: number;
  /** Its window after each grant, in per cent of what it was. */
  readonly growth: readonly number[];
}

const receivers = fc.record({
  windowBytes: fc.integer({ min: INITIAL_STREAM_WINDOW_BYTES, max: 64 * KIB * KIB }),
  share: fc.constantFrom(1, 0.5, 0.1),
  growth: fc.array(fc.constantFrom(100, 100, 110, 150, 200), { minLength: 1, maxLength: 8 }),
});

test('whoever grants at half of his window, or earlier, gets all of it beside other calls', (t) => {
  fc.assert(
    fc.property(
      receivers,
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      (receiver, bites) => {
        t.is(transfer(receiver, bites), TOTAL_FRAMES);
      },
    ),
    { numRuns: 300 },
  );
});

test('beside other calls less is under way once the receiver has shown that it grants often', (t) => {
  const contention = new Contention();
  const credit = new SendCredit(INITIAL_STREAM_WINDOW_BYTES);
  const flight = new CreditInFlight(contention, credit.availableBytes);
  let [underWay, nowMs] = [0, 0];
  const fill = () => {
    contention.note();
    while (flight.hasRoom(nowMs) && !credit.isExhausted) {
      flight.sent(FRAME_BYTES, nowMs);
      credit.spend(FRAME_BYTES);
      underWay += FRAME_BYTES;
    }
  };
  fill();
  t.is(underWay, INITIAL_STREAM_WINDOW_BYTES / 2 + FRAME_BYTES);
  for (let i = 1; i <= 30; i += 1) {
    // It takes longer each time: there is a queue on the way.
    nowMs += 10 * i;
    credit.grant(2 * FRAME_BYTES);
    underWay -= 2 * FRAME_BYTES;
    flight.granted(2 * FRAME_BYTES, credit.availableBytes, nowMs);
    fill();
  }
  t.true(underWay <= 4 * FRAME_BYTES, `${underWay}`);
});

/** @returns frames that arrived before both sides waited for each other */
function transfer({ windowBytes, share, growth }: Receiver, bites: readonly number[]): number {
  const contention = new Contention();
  const credit = new SendCredit(INITIAL_STREAM_WINDOW_BYTES);
  let window = windowBytes;
  let [sent, consumed, granted, owed, grants] = [0, 0, INITIAL_STREAM_WINDOW_BYTES, 0, 0];
  if (window > granted) credit.grant(window - granted);
  granted = window;
  const flight = new CreditInFlight(contention, credit.availableBytes);
  for (let turn = 0; sent < TOTAL_FRAMES; turn += 1) {
    contention.note();
    const before = sent + consumed;
    while (sent < TOTAL_FRAMES && !credit.isExhausted && flight.hasRoom(0)) {
      credit.spend(FRAME_BYTES);
      flight.sent(FRAME_BYTES, 0);
      sent += 1;
    }
    const bite = Math.min(sent - consumed, bites[turn % bites.length] as number);
    consumed += bite;
    owed += bite * FRAME_BYTES;
    if (owed >= (window / 2) * share) {
      const larger = Math.floor((window * (growth[grants % growth.length] as number)) / 100);
      const grant = owed + Math.min(larger, 2 ** 30) - Math.min(window, 2 ** 30);
      window = Math.min(larger, 2 ** 30);
      [owed, grants] = [0, grants + 1];
      credit.grant(grant);
      flight.granted(grant, credit.availableBytes, 0);
    } else if (sent + consumed === before) return sent;
  }
  return sent;
}
