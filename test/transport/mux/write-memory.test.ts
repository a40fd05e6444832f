import test from 'ava';
import { type WriteChunk, WriteMemory } from '../../../src/transport/mux/write-memory.js';

/** As a writer does that puts so many bytes in and hands them over. */
function fill(memory: WriteMemory, bytes: number): WriteChunk {
  const chunk = memory.take(bytes);
  chunk.end += bytes;
  chunk.writes += 1;
  memory.give(chunk);
  return chunk;
}

test('a chunk is filled up, and used again only when all of it has been written', (t) => {
  const memory = new WriteMemory(true);
  const chunk = fill(memory, 100_000);
  t.is(fill(memory, 1000), chunk);
  t.is(chunk.end, 101_000);
  const other = fill(memory, 100_000);
  t.not(other, chunk);
  memory.written(chunk);
  t.is(chunk.end, 101_000);
  memory.written(chunk);
  t.is(chunk.end, 0);
  t.is(fill(memory, 100_000), chunk);
});

test('a chunk that a writer holds is left alone when its writes are done', (t) => {
  const memory = new WriteMemory(true);
  const chunk = fill(memory, 500);
  t.is(memory.take(10), chunk);
  memory.written(chunk);
  t.is(chunk.end, 500);
});

test('where the byte stream keeps what it has written, no byte is used twice', (t) => {
  const memory = new WriteMemory(false);
  const chunk = fill(memory, 100_000);
  memory.written(chunk);
  t.is(chunk.end, 100_000);
  t.not(fill(memory, 100_000), chunk);
});

test('two writers never share a chunk, and frames of any size have room', (t) => {
  const memory = new WriteMemory(true);
  t.not(memory.take(10), memory.take(10));
  t.is(memory.take(5_000_000).roomBytes, 5_000_000);
});

test('no more than eight chunks are kept', (t) => {
  const memory = new WriteMemory(true);
  const given = Array.from({ length: 20 }, () => memory.take(20_000));
  for (const chunk of given) memory.give(chunk);
  const again = Array.from({ length: 20 }, () => memory.take(20_000));
  t.is(again.filter((chunk) => given.includes(chunk)).length, 8);
});
