import test from 'ava';
import { type Slab, WriteMemory } from '../../../src/transport/mux/write-memory.js';

/** As a writer does that puts so many bytes in and hands them over. */
function fill(memory: WriteMemory, bytes: number): Slab {
  const slab = memory.take(bytes);
  slab.end += bytes;
  slab.writes += 1;
  memory.give(slab);
  return slab;
}

test('a slab is filled up, and used again only when all of it has been written', (t) => {
  const memory = new WriteMemory(true);
  const slab = fill(memory, 100_000);
  t.is(fill(memory, 1000), slab);
  t.is(slab.end, 101_000);
  const other = fill(memory, 100_000);
  t.not(other, slab);
  memory.written(slab);
  t.is(slab.end, 101_000);
  memory.written(slab);
  t.is(slab.end, 0);
  t.is(fill(memory, 100_000), slab);
});

test('a slab that a writer holds is left alone when its writes are done', (t) => {
  const memory = new WriteMemory(true);
  const slab = fill(memory, 500);
  t.is(memory.take(10), slab);
  memory.written(slab);
  t.is(slab.end, 500);
});

test('where the byte stream keeps what it has written, no byte is used twice', (t) => {
  const memory = new WriteMemory(false);
  const slab = fill(memory, 100_000);
  memory.written(slab);
  t.is(slab.end, 100_000);
  t.not(fill(memory, 100_000), slab);
});

test('two writers never share a slab, and frames of any size have room', (t) => {
  const memory = new WriteMemory(true);
  t.not(memory.take(10), memory.take(10));
  t.is(memory.take(5_000_000).roomBytes, 5_000_000);
});

test('no more than eight slabs are kept', (t) => {
  const memory = new WriteMemory(true);
  const given = Array.from({ length: 20 }, () => memory.take(20_000));
  for (const slab of given) memory.give(slab);
  const again = Array.from({ length: 20 }, () => memory.take(20_000));
  t.is(again.filter((slab) => given.includes(slab)).length, 8);
});
