import test from 'ava';
import { endHandling, nestingOfCalls, newHandling, runHandling } from '../../src/calls/handling.js';

// What is followed is the process's: these go in order.

test.serial(
  'the first call of a process counts as one of the handlers that run, and so do others until those are done',
  async (t) => {
    const [early, other] = [newHandling(), newHandling()];
    runHandling(other, () => {});
    await runHandling(early, async () => {
      await Promise.resolve();
      t.is(nestingOfCalls(), 'first');
    });
    t.is(nestingOfCalls(), 'first', 'nobody can tell');
    endHandling(early);
    endHandling(early);
    t.is(nestingOfCalls(), 'first', 'another still runs');
    endHandling(other);
    t.is(nestingOfCalls(), undefined);
  },
);

test.serial('where no handler runs no call is one of a handler', (t) => {
  t.is(nestingOfCalls(), undefined);
});

test.serial('from then on handlers are followed to their end', async (t) => {
  const [first, deeper] = [newHandling(), newHandling()];
  deeper.isNested = true;
  await Promise.all([
    runHandling(first, async () => {
      await Promise.resolve();
      t.is(nestingOfCalls(), 'first');
      endHandling(first);
      t.is(nestingOfCalls(), undefined);
    }),
    runHandling(deeper, async () => {
      await Promise.resolve();
      t.is(nestingOfCalls(), 'deeper');
    }),
  ]);
  t.is(nestingOfCalls(), undefined);
  endHandling(deeper);
});
