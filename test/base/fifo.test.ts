import test from 'ava';
import { Fifo } from '../../src/base/fifo.js';

test('a long queue gives back what was put in, in order', (t) => {
  const fifo = new Fifo<number>();
  let next = 0;
  for (let i = 0; i < 10_000; i += 1) {
    fifo.push(i);
    if (i % 3 > 0) t.is(fifo.shift(), next++);
  }
  t.is(fifo.length, 10_000 - next);
  t.is(fifo.first, next);
  t.is(fifo.last, 9999);
  while (fifo.length > 0) t.is(fifo.shift(), next++);
  t.is(fifo.shift(), undefined);
});
