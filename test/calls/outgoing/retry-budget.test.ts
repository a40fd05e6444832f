import test from 'ava';
import fc from 'fast-check';
import { RetryBudget, type RetryBudgetLimits } from '../../../src/calls/outgoing/retry-budget.js';
import { holds } from '../../protocol/properties.js';

const limits: fc.Arbitrary<RetryBudgetLimits> = fc.record({
  budget: fc.integer({ min: 0, max: 20 }),
  budgetRatio: fc.integer({ min: 0, max: 1000 }).map((thousandths) => thousandths / 1000),
});
const steps = fc.array(fc.constantFrom('deposit' as const, 'take' as const), {
  maxLength: 400,
  size: 'max',
});

test('what was taken never exceeds what was there at the start and what was deposited', (t) => {
  holds(
    t,
    fc.property(limits, steps, (of, todo) => {
      const bucket = new RetryBudget(of);
      let deposits = 0;
      let taken = 0;
      for (const step of todo) {
        if (step === 'deposit') {
          deposits += 1;
          bucket.deposit();
        } else if (bucket.take()) taken += 1;
        if (taken > of.budget + deposits * of.budgetRatio + 1e-9) return false;
      }
      return true;
    }),
  );
});

test('it counts as a plain sum in whole thousandths does', (t) => {
  holds(
    t,
    fc.property(limits, steps, (of, todo) => {
      const bucket = new RetryBudget(of);
      const capacity = of.budget * 1000;
      let parts = capacity;
      for (const step of todo) {
        if (bucket.hasToken !== parts >= 1000) return false;
        if (step === 'deposit') {
          parts = Math.min(capacity, parts + Math.round(of.budgetRatio * 1000));
          bucket.deposit();
        } else {
          if (bucket.take() !== parts >= 1000) return false;
          if (parts >= 1000) parts -= 1000;
        }
      }
      return true;
    }),
  );
});

test('ten tenths are one token', (t) => {
  const bucket = new RetryBudget({ budget: 1, budgetRatio: 0.1 });
  t.true(bucket.take());
  for (let i = 0; i < 10; i += 1) {
    t.false(bucket.take());
    bucket.deposit();
  }
  t.true(bucket.take());
});

test('after any number of calls without a failure it holds no more than it can', (t) => {
  const bucket = new RetryBudget({ budget: 3, budgetRatio: 0.2 });
  for (let i = 0; i < 10_000; i += 1) bucket.deposit();
  let taken = 0;
  while (bucket.take()) taken += 1;
  t.is(taken, 3);
});
