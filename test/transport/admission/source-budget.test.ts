/** How much work a source may waste, and what honest ones never notice. */
import test from 'ava';
import {
  createSourceBudget,
  SourceBudget,
} from '../../../src/transport/admission/source-budget.js';

const OPTIONS = { burstMs: 100, share: 0.1, maxSources: 3 };

test('a source may cause its burst at once, and then a share of the time', (t) => {
  const budget = new SourceBudget(OPTIONS);
  let nowMs = 1000;
  let workMs = 0;
  while (budget.waitMs('a', nowMs) === 0) {
    budget.charge('a', 5, nowMs);
    workMs += 5;
  }
  t.is(workMs, 105);
  t.is(budget.waitMs('a', nowMs), 50);
  t.is(budget.waitMs('b', nowMs), 0);
  for (; nowMs < 101_000; nowMs += 1) {
    if (budget.waitMs('a', nowMs) > 0) continue;
    budget.charge('a', 5, nowMs);
    workMs += 5;
  }
  t.true(workMs >= 10_000 && workMs <= 10_110, `${workMs} ms`);
});

test('those who wait come one after the other', (t) => {
  const budget = new SourceBudget(OPTIONS);
  budget.charge('a', 100, 0);
  const waits = [1, 2, 3].map(() => {
    budget.charge('a', 5, 0);
    return budget.waitMs('a', 0);
  });
  t.deepEqual(waits, [50, 100, 150]);
});

test('what comes to something costs nothing, however many come at once', (t) => {
  const budget = createSourceBudget({ maxHalfOpen: 1024, maxHalfOpenPerSource: 64 }, 4);
  for (let round = 0; round < 100; round += 1) {
    // Half-open at once: as many as one source may have.
    for (let node = 0; node < 64; node += 1) {
      t.is(budget.waitMs('a', round), 0);
      budget.charge('a', 4, round);
    }
    for (let node = 0; node < 64; node += 1) budget.refund('a', 4, round);
  }
  t.is(budget.owedMs('a', 100), 0);
  t.is(budget.size, 0);
});

test('a refund is never more than what is owed', (t) => {
  const budget = new SourceBudget(OPTIONS);
  budget.charge('a', 5, 0);
  budget.refund('a', 5, 10_000);
  budget.refund('a', 50, 10_000);
  budget.refund('b', 50, 10_000);
  t.is(budget.owedMs('a', 10_000), 0);
  budget.charge('a', 60, 10_000);
  t.is(budget.owedMs('a', 10_000), 60);
  t.true(budget.isHalfSpent('a', 10_000));
  t.false(budget.isHalfSpent('a', 10_000 + 101));
});

test('so many sources are remembered: first those go that owe nothing, then the oldest', (t) => {
  const budget = new SourceBudget(OPTIONS);
  budget.charge('a', 10, 0);
  budget.charge('b', 1, 0);
  budget.charge('c', 90, 0);
  budget.charge('a', 10, 50);
  // b has paid by now.
  budget.charge('d', 10, 50);
  t.is(budget.size, 3);
  for (const [source, owedMs] of [
    ['a', 15],
    ['b', 0],
    ['c', 85],
    ['d', 10],
  ] as const) {
    t.is(budget.owedMs(source, 50), owedMs, source);
  }
  budget.charge('e', 10, 50);
  t.is(budget.size, 3);
  t.is(budget.owedMs('c', 50), 0);
  for (let i = 0; i < 10_000; i += 1) budget.charge(`s${i}`, 10, 60);
  t.is(budget.size, 3);
});
