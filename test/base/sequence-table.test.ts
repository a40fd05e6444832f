/** Items by numbers that mostly grow, held against a Map. */
import test from 'ava';
import { SequenceTable } from '../../src/base/sequence-table.js';

test('a table holds what a Map would, whoever lasts and whoever comes late', (t) => {
  const table = new SequenceTable<{ readonly key: number }>();
  const expected = new Map<number, { readonly key: number }>();
  let seed = 7;
  let key = 1;
  for (let step = 0; step < 6000; step += 1) {
    seed = (seed * 48_271) % 0x7fff_ffff;
    // Phases of few and of many at once; some items last for long.
    const wanted = step % 2000 < 1000 ? 8 : 700;
    if (expected.size < wanted) {
      key += 1 + (seed % 3);
      const item = { key };
      table.add(key, item);
      expected.set(key, item);
    } else {
      const keys = [...expected.keys()];
      const gone = (seed % 10 === 0 ? keys.at(-1) : keys[seed % 5]) as number;
      if (!table.delete(gone) || table.delete(gone)) t.fail(`step ${step}`);
      expected.delete(gone);
    }
    if (table.size !== expected.size || table.get(key) !== expected.get(key))
      t.fail(`step ${step}`);
  }
  for (const [known, item] of expected) t.is(table.get(known), item);
  t.deepEqual(
    table.values().map((item) => item.key),
    [...expected.keys()],
  );
  table.clear();
  t.is(table.size, 0);
  t.is(table.get(key), undefined);
});

test('numbers beyond 32 bits and those with the same low digits are told apart', (t) => {
  const table = new SequenceTable<string>();
  table.add(5, 'old');
  table.add(5 + 2 ** 32, 'young');
  t.is(table.get(5), 'old');
  t.is(table.get(5 + 2 ** 32), 'young');
  t.is(table.get(5 + 2 ** 33), undefined);
  t.true(table.delete(5));
  t.is(table.get(5), undefined);
  t.is(table.size, 1);
});
