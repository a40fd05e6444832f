import test from 'ava';
import fc from 'fast-check';
import { DeadlineHeap, type Scheduled } from '../../src/base/deadline-heap.js';
import { holds } from '../protocol/properties.js';

class Item implements Scheduled {
  scheduledMs = Number.POSITIVE_INFINITY;
  heapIndex = -1;
}

const time = fc.oneof(fc.nat(20), fc.constant(Number.POSITIVE_INFINITY));
const step = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), which: fc.nat(15), atMs: time }),
  fc.record({ kind: fc.constant('delete' as const), which: fc.nat(15), atMs: time }),
  fc.record({ kind: fc.constant('take' as const), which: fc.nat(15), atMs: fc.nat(20) }),
);

test('whatever is set, moved and taken out, the heap agrees with a list that is searched', (t) => {
  holds(
    t,
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const heap = new DeadlineHeap<Item>();
      const items = Array.from({ length: 16 }, () => new Item());
      const list = new Map<Item, number>();
      const nextMs = () => Math.min(Number.POSITIVE_INFINITY, ...list.values());
      for (const { kind, which, atMs } of steps) {
        const item = items[which] as Item;
        if (kind === 'take') {
          const taken = heap.take(atMs);
          if ((taken === undefined) !== nextMs() > atMs) return false;
          if (taken !== undefined && list.get(taken) !== nextMs()) return false;
          if (taken !== undefined) list.delete(taken);
        } else {
          if (kind === 'set') heap.set(item, atMs);
          else heap.delete(item);
          if (kind === 'set' && Number.isFinite(atMs)) list.set(item, atMs);
          else list.delete(item);
        }
        if (heap.nextMs !== nextMs() || heap.size !== list.size) return false;
        if (items.some((one) => list.has(one) !== one.heapIndex >= 0)) return false;
      }
      return true;
    }),
  );
});

test('what is due comes out in the order of its time', (t) => {
  holds(
    t,
    fc.property(fc.array(fc.nat(1000), { maxLength: 300, size: 'max' }), (times) => {
      const heap = new DeadlineHeap<Item>();
      for (const atMs of times) heap.set(new Item(), atMs);
      const taken: number[] = [];
      for (;;) {
        const { nextMs } = heap;
        if (heap.take(1000) === undefined) break;
        taken.push(nextMs);
      }
      const sorted = [...times].sort((a, b) => a - b);
      return taken.length === sorted.length && taken.every((atMs, i) => atMs === sorted[i]);
    }),
  );
});
