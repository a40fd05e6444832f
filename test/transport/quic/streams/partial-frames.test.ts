/** Frames that are not whole: above a limit one stream goes on, and no stream is forgotten. */
import test from 'ava';
import fc from 'fast-check';
import { PartialFrames } from '../../../../src/transport/quic/streams/partial-frames.js';
import type { QuicStream } from '../../../../src/transport/quic/streams/stream.js';
import { holds } from '../../../protocol/properties.js';

test('above the limit only the stream that has waited longest is read', (t) => {
  const [first, second, third] = streams(3) as [QuicStream, QuicStream, QuicStream];
  const partials = new PartialFrames(100);
  t.false(partials.note(first, 60));
  t.true(partials.mayRead(second));
  t.false(partials.note(second, 60));
  t.true(partials.mayRead(first));
  t.false(partials.mayRead(second));
  t.false(partials.mayRead(third));
  t.true(partials.isHolding);
  t.false(partials.note(first, 90));
  // Its frame is whole: the others are read again.
  t.true(partials.note(first, 0));
  t.deepEqual(partials.takeSkipped(), [second, third]);
  t.true(partials.mayRead(third));
  t.is(partials.totalBytes, 60);
});

test('one more is read above the limit where that is asked for, until the limit is met again', (t) => {
  const [first, second, third] = streams(3) as [QuicStream, QuicStream, QuicStream];
  const partials = new PartialFrames(100);
  for (const stream of [first, second, third]) partials.note(stream, 40);
  t.false(partials.readOneMore());
  t.false(partials.mayRead(second));
  t.true(partials.readOneMore());
  t.true(partials.mayRead(second));
  t.false(partials.mayRead(third));
  t.true(partials.readOneMore());
  t.true(partials.mayRead(third));
  t.false(partials.readOneMore());
  partials.forget(first);
  partials.note(second, 70);
  t.true(partials.mayRead(second));
  t.false(partials.mayRead(third));
});

test('no more than four are read above the limit, however many wait', (t) => {
  const all = streams(10);
  const partials = new PartialFrames(100);
  for (const stream of all) partials.note(stream, 40);
  t.false(partials.mayRead(all[9] as QuicStream));
  t.deepEqual(
    all.map(() => partials.readOneMore()),
    [true, true, true, ...Array(7).fill(false)],
  );
  t.deepEqual(
    all.map((stream) => partials.mayRead(stream)),
    [...Array(4).fill(true), ...Array(6).fill(false)],
  );
});

test('a stream that is over is forgotten, and makes room', (t) => {
  const [first, second] = streams(2) as [QuicStream, QuicStream];
  const partials = new PartialFrames(100);
  partials.note(first, 200);
  t.false(partials.mayRead(second));
  t.true(partials.forget(first));
  t.deepEqual(partials.takeSkipped(), [second]);
  partials.note(second, 200);
  t.false(partials.mayRead(first));
  partials.forget(first);
  t.false(partials.isHolding);
});

test('random walks: whoever was skipped is told when it may be read', (t) => {
  const step = fc.record({ stream: fc.nat(4), bytes: fc.nat(80) });
  holds(
    t,
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const all = streams(5);
      const partials = new PartialFrames(100);
      const kept = new Map<QuicStream, number>();
      const skipped = new Set<QuicStream>();
      for (const { stream: index, bytes } of steps) {
        const stream = all[index] as QuicStream;
        if (!partials.mayRead(stream)) {
          skipped.add(stream);
          continue;
        }
        kept.set(stream, bytes);
        const isFree = partials.note(stream, bytes);
        const total = [...kept.values()].reduce((sum, each) => sum + each, 0);
        if (partials.totalBytes !== total) return false;
        if (total < 100 && skipped.size > 0 && !isFree) return false;
        if (isFree) {
          for (const each of partials.takeSkipped()) if (!skipped.delete(each)) return false;
          if (skipped.size > 0) return false;
        }
      }
      return true;
    }),
  );
});

/** All that counts of them is which is which. */
function streams(count: number): QuicStream[] {
  return Array.from({ length: count }, () => ({}) as QuicStream);
}

test('frames get memory ahead of their bytes while a 64th of the limit, and no more, is kept', (t) => {
  const frames = new PartialFrames(64_000);
  const stream = {} as QuicStream;
  t.true(frames.hasPlenty);
  frames.note(stream, 1000);
  t.true(frames.hasPlenty);
  frames.note(stream, 1001);
  t.false(frames.hasPlenty);
});
