import test from 'ava';
import { FrameMemory } from '../../src/transport/frame-memory.js';

test('memory for large frames is used again, small and very large ones take their own', (t) => {
  const memory = new FrameMemory();
  t.is(memory.take(1000), undefined);
  t.is(memory.take(1_000_000), undefined);
  const first = memory.take(65_536 + 100) as Buffer;
  const second = memory.take(20_000) as Buffer;
  t.not(first, second);
  t.true(first.length >= 65_536 + 100);
  memory.give(first);
  t.is(memory.take(30_000), first);
});

test('no more than sixteen pieces are kept', (t) => {
  const memory = new FrameMemory();
  const given = Array.from({ length: 40 }, () => memory.take(20_000) as Buffer);
  for (const piece of given) memory.give(piece);
  const again = Array.from({ length: 40 }, () => memory.take(20_000) as Buffer);
  t.is(again.filter((piece) => given.includes(piece)).length, 16);
});

test('memory that is lent for a frame that arrives is most of the frame, and comes back once', (t) => {
  const memory = new FrameMemory();
  t.is(memory.lend(30_000), undefined);
  t.is(memory.lend(1_000_000), undefined);
  const loan = memory.lend(65_536 + 100);
  t.true((loan?.bytes.length ?? 0) >= 65_536 + 100);
  loan?.giveBack();
  loan?.giveBack();
  t.is(memory.take(40_000), loan?.bytes);
  t.not(memory.take(40_000), loan?.bytes);
});
