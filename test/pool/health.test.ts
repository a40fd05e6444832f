import test from 'ava';
import fc from 'fast-check';
import { DEFAULT_HEALTH, Health, type HealthLimits, type Verdict } from '../../src/pool/health.js';
import { holds } from '../protocol/properties.js';

const { intervalMs, misses, idleIntervalMs } = DEFAULT_HEALTH;
const LOOK_MS = 250;

interface Look {
  readonly atMs: number;
  readonly verdict: Verdict;
  readonly asks: boolean;
  readonly nextInMs: number;
}

/** Looks at a connection again and again, as a pool does. */
class Watch {
  readonly health: Health;
  nowMs = 0;
  lastReceivedMs = 0;
  isAwaiting = true;
  aheadMs = 0;
  mayRest = false;

  constructor(limits: HealthLimits = DEFAULT_HEALTH) {
    this.health = new Health(limits, 0);
  }

  look(afterMs = LOOK_MS): Look {
    this.nowMs += afterMs;
    const { lastReceivedMs, isAwaiting, aheadMs, mayRest } = this;
    const view = { lastReceivedMs, isAwaiting, aheadMs, mayRest };
    const step = this.health.look(this.nowMs, view);
    return { atMs: this.nowMs, ...step };
  }

  /** Looks as long as nothing arrives and `isOver` is not there; a hundred seconds at most. */
  until(isOver: (look: Look) => boolean, everyMs = LOOK_MS): Look[] {
    const looks: Look[] = [];
    for (let spentMs = 0; spentMs < 100_000; spentMs += everyMs) {
      const look = this.look(everyMs);
      looks.push(look);
      if (isOver(look)) break;
    }
    return looks;
  }

  untilVerdict(verdict: Verdict): Look[] {
    return this.until((look) => look.verdict === verdict);
  }
}

const asks = ({ asks: asked }: Look): boolean => asked;

test('a peer that is silent while answers are due is suspect within 1.5 s and dead within 2.75 s of its last byte', (t) => {
  holds(
    t,
    fc.property(
      fc.array(fc.nat(LOOK_MS - 1), { maxLength: 5 }),
      fc.nat(LOOK_MS - 1),
      (heard, lastMs) => {
        const watch = new Watch();
        for (const sinceLookMs of [...heard, lastMs]) {
          watch.lastReceivedMs = watch.nowMs + sinceLookMs + 0.5;
          watch.look();
        }
        const suspect = watch.untilVerdict('suspect').at(-1) as Look;
        const dead = watch.untilVerdict('dead').at(-1) as Look;
        const [suspectMs, deadMs] = [suspect, dead].map(({ atMs }) => atMs - watch.lastReceivedMs);
        return (suspectMs as number) <= 1500 && (deadMs as number) <= 2750;
      },
    ),
  );
});

test('a peer is dead exactly as many intervals after the question as it may miss, suspect from the first on', (t) => {
  const limits = fc.record({
    intervalMs: fc.integer({ min: 1, max: 50 }).map((quarters) => 4 * quarters),
    misses: fc.integer({ min: 1, max: 6 }),
    idleIntervalMs: fc.constant(15_000),
  });
  holds(
    t,
    fc.property(limits, fc.constantFrom(1, 2, 4), (of, looksPerInterval) => {
      const watch = new Watch(of);
      const everyMs = of.intervalMs / looksPerInterval;
      const question = watch.until(asks, everyMs).at(-1) as Look;
      const looks = watch.until(({ verdict }) => verdict === 'dead', everyMs);
      const suspect = looks.find(({ verdict }) => verdict === 'suspect');
      const dead = looks.at(-1) as Look;
      return (
        dead.atMs - question.atMs === of.misses * of.intervalMs &&
        (of.misses === 1 || suspect?.atMs === question.atMs + of.intervalMs)
      );
    }),
  );
});

test('there are never two questions without a sign of life in between', (t) => {
  const step = fc.record({
    afterMs: fc.oneof(fc.nat(600), fc.constant(10_000)),
    speaks: fc.boolean(),
    isAwaiting: fc.boolean(),
    aheadMs: fc.nat(1000),
  });
  holds(
    t,
    fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
      const watch = new Watch();
      let isAsked = false;
      for (const { afterMs, speaks, isAwaiting, aheadMs } of steps) {
        Object.assign(watch, { isAwaiting, aheadMs });
        if (speaks && afterMs > 0) {
          watch.lastReceivedMs = watch.nowMs + afterMs / 2;
          isAsked = false;
        }
        const look = watch.look(afterMs);
        if (look.asks && isAsked) return false;
        isAsked ||= look.asks;
        if (!isAsked && look.verdict !== 'healthy') return false;
      }
      return true;
    }),
  );
});

test('any byte of the peer makes the connection healthy again, however late it comes', (t) => {
  for (const verdict of ['healthy', 'suspect', 'dead'] as const) {
    const watch = new Watch();
    watch.until(asks);
    watch.untilVerdict(verdict);
    watch.lastReceivedMs = watch.nowMs + 1;
    t.like(watch.look(), { verdict: 'healthy', asks: false });
    const next = watch.untilVerdict('suspect');
    t.is(next.filter(asks).length, 1, 'it is asked anew');
    t.true((next.at(-1) as Look).atMs - watch.lastReceivedMs >= 2 * intervalMs);
  }
});

test('a question that did not leave is asked again, and counts for nothing', (t) => {
  const watch = new Watch();
  for (let i = 0; i < 20; i += 1) {
    const look = watch.look();
    t.is(look.asks, i > 0);
    t.is(look.verdict, 'healthy');
    if (look.asks) watch.health.askFailed();
  }
  const question = watch.look();
  t.true(question.asks);
  const dead = watch.untilVerdict('dead').at(-1) as Look;
  t.is(dead.atMs - question.atMs, misses * intervalMs);
});

test('a peer that speaks now and then is never asked', (t) => {
  const watch = new Watch();
  for (let i = 0; i < 100; i += 1) {
    watch.lastReceivedMs = watch.nowMs + 1;
    t.like(watch.look(), { verdict: 'healthy', asks: false });
  }
});

test('without an answer due the peer is asked only after the idle interval', (t) => {
  const watch = new Watch();
  watch.isAwaiting = false;
  const looks = watch.until(asks);
  t.is((looks.at(-1) as Look).atMs, idleIntervalMs);
  t.true(looks.every(({ verdict }) => verdict === 'healthy'));
  t.is((watch.untilVerdict('dead').at(-1) as Look).atMs, idleIntervalMs + misses * intervalMs);
});

test('a peer that was silent for long is asked at the first look after a call has begun', (t) => {
  const watch = new Watch();
  watch.isAwaiting = false;
  for (let i = 0; i < 40; i += 1) t.false(watch.look().asks);
  watch.isAwaiting = true;
  t.true(watch.look().asks);
});

test('what is on its way ahead of the question is allowed for', (t) => {
  holds(
    t,
    fc.property(fc.nat(20), (intervals) => {
      const watch = new Watch();
      watch.aheadMs = intervals * intervalMs;
      const question = watch.until(asks).at(-1) as Look;
      // What is sent after the question does not delay it.
      watch.aheadMs = 1_000_000;
      const looks = watch.untilVerdict('dead');
      const suspect = looks.find(({ verdict }) => verdict === 'suspect') as Look;
      return (
        suspect.atMs - question.atMs === (intervals + 1) * intervalMs &&
        (looks.at(-1) as Look).atMs - question.atMs === (intervals + misses) * intervalMs
      );
    }),
  );
});

test('when this thread stood still the verdict stays, until what arrived meanwhile can have been read', (t) => {
  for (const counted of [0, 1, 2]) {
    const watch = new Watch();
    watch.until(asks);
    let before: Look | undefined;
    for (let i = 0; i < counted * 2 + 1; i += 1) before = watch.look();
    const verdict = counted === 0 ? 'healthy' : 'suspect';
    t.is(before?.verdict, verdict);
    const stalled = watch.look(10_000);
    t.is(stalled.verdict, verdict, `after ${counted} misses`);
    watch.lastReceivedMs = watch.nowMs + 1;
    t.like(watch.look(), { verdict: 'healthy', asks: false });
  }
});

test('a thread that stands still before each look finds a dead peer all the same', (t) => {
  const watch = new Watch();
  const looks = watch.until(({ verdict }) => verdict === 'dead', 2 * intervalMs);
  t.is(looks.at(-1)?.verdict, 'dead');
  t.true(looks.length <= misses + 4);
});

test('a byte that came before the thread stood still leads to a question, not to a verdict', (t) => {
  const watch = new Watch();
  watch.lastReceivedMs = watch.nowMs + 1;
  t.like(watch.look(10_000), { verdict: 'healthy', asks: true });
});
