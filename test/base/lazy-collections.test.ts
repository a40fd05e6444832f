import test from 'ava';
import fc from 'fast-check';
import { LazyMap, LazySet } from '../../src/base/lazy-collections.js';
import { holds } from '../protocol/properties.js';

const step = fc.record({
  kind: fc.constantFrom('add', 'add', 'delete', 'clear'),
  key: fc.nat(5),
  value: fc.nat(100),
});

test('whatever is done to them, they are like those of JavaScript', (t) => {
  holds(
    t,
    fc.property(fc.array(step), (steps) => {
      const [lazySet, set] = [new LazySet<number>(), new Set<number>()];
      const [lazyMap, map] = [new LazyMap<number, number>(), new Map<number, number>()];
      for (const { kind, key, value } of steps) {
        if (kind === 'add') {
          lazySet.add(key);
          set.add(key);
          lazyMap.set(key, value);
          map.set(key, value);
        } else if (kind === 'delete') {
          if (lazySet.delete(key) !== set.delete(key)) return false;
          if (lazyMap.delete(key) !== map.delete(key)) return false;
        } else {
          lazySet.clear();
          set.clear();
          lazyMap.clear();
          map.clear();
        }
        const isSame =
          lazySet.size === set.size &&
          lazySet.has(key) === set.has(key) &&
          lazyMap.size === map.size &&
          lazyMap.has(key) === map.has(key) &&
          lazyMap.get(key) === map.get(key) &&
          [...lazySet].join() === [...set].join() &&
          [...lazyMap].join() === [...map].join() &&
          [...lazyMap.keys()].join() === [...map.keys()].join() &&
          [...lazyMap.values()].join() === [...map.values()].join();
        if (!isSame) return false;
      }
      return true;
    }),
  );
});

test('what leaves or comes while they are gone through is seen as in those of JavaScript', (t) => {
  interface Changeable extends Iterable<number> {
    add(value: number): unknown;
    delete(value: number): unknown;
  }
  const visit = (set: Changeable): number[] => {
    const seen: number[] = [];
    for (const value of set) {
      seen.push(value);
      set.delete(value);
      if (value < 3) set.add(value + 10);
      if (value === 1) set.delete(2);
    }
    return seen;
  };
  const lazy = new LazySet<number>();
  const own = new Set<number>();
  for (const value of [1, 2, 3]) {
    lazy.add(value);
    own.add(value);
  }
  t.deepEqual(visit(lazy), visit(own));
  t.deepEqual([...new LazySet<number>()], []);
});
