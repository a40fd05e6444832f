import test from 'ava';
import fc from 'fast-check';
import { COPY_WINDOW, CopyWindow } from '../../src/protocol/copy-window.js';
import { holds } from './properties.js';
import { type CopiesVector, readVectors } from './vectors.js';

for (const { name, arrive, expect } of readVectors<CopiesVector>('copies.json').vectors) {
  test(`copies.json: ${name}`, (t) => {
    const window = new CopyWindow();
    t.deepEqual(
      arrive.map((copyId) => window.add(copyId)),
      expect.run,
    );
  });
}

/** Steps from the highest number so far: mostly near it, sometimes far away. */
const steps = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: -12, max: 4 }) },
    { weight: 2, arbitrary: fc.integer({ min: -COPY_WINDOW - 20, max: COPY_WINDOW + 20 }) },
    { weight: 1, arbitrary: fc.integer({ min: -COPY_WINDOW - 2, max: 2 - COPY_WINDOW }) },
  ),
  { maxLength: 400 },
);

test('no number is run twice, and a new one within the window always is', (t) => {
  holds(
    t,
    fc.property(steps, (all) => {
      const window = new CopyWindow();
      const run = new Set<number>();
      let highest = 0;
      for (const step of all) {
        const copyId = Math.max(0, highest + step);
        highest = Math.max(highest, copyId);
        const isFresh = !run.has(copyId) && copyId > highest - COPY_WINDOW;
        if (window.add(copyId) !== isFresh) return false;
        if (isFresh) run.add(copyId);
      }
      return true;
    }),
  );
});
