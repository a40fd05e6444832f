import test from 'ava';
import fc from 'fast-check';
import { ReachMemory } from '../../../src/transport/dialing/reach-memory.js';
import { holds } from '../../protocol/properties.js';

test('a failure counts for 5 s, each further one twice as long, up to 5 min', (t) => {
  const memory = new ReachMemory();
  t.is(memory.retryAtMs('a', 1000), 1000);
  const spans: number[] = [];
  for (let i = 0, nowMs = 0; i < 9; i += 1) {
    memory.failed('a', nowMs);
    spans.push(memory.retryAtMs('a', nowMs) - nowMs);
    nowMs = memory.retryAtMs('a', nowMs);
  }
  t.deepEqual(spans, [5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
  t.is(memory.retryAtMs('b', 7), 7, 'another path is not meant');
});

test('success wipes the slate', (t) => {
  const memory = new ReachMemory({ firstMs: 100 });
  memory.failed('a', 0);
  memory.failed('a', 100);
  memory.reached('a');
  t.is(memory.retryAtMs('a', 150), 150);
  memory.failed('a', 200);
  t.is(memory.retryAtMs('a', 200), 300);
});

test('a transport that reached none of three addresses is left alone at all of them, until it reaches one', (t) => {
  const memory = new ReachMemory({ firstMs: 100 });
  const isDoubtful = () => memory.retryAtMs('quic d', 0, 'quic') > 0;
  for (const path of ['quic a', 'quic a', 'quic b']) memory.failed(path, 0, 'quic');
  t.false(isDoubtful(), 'the same address counts once');
  memory.failed('quic c', 0, 'quic');
  t.true(isDoubtful());
  t.is(memory.retryAtMs('tcp d', 0, 'tcp'), 0, 'another transport is not meant');
  t.is(memory.retryAtMs('quic d', 101, 'quic'), 101, 'for a while');
  memory.reached('quic b', 'quic');
  t.false(isDoubtful());
  memory.failed('quic d', 0, 'quic');
  t.false(memory.retryAtMs('quic e', 0, 'quic') > 0, 'it counts anew');
});

test('a try is never due in the past, never later than the longest span, and memory is bounded', (t) => {
  const step = fc.record({
    path: fc.nat(40).map(String),
    failed: fc.boolean(),
    passedMs: fc.nat(20_000),
  });
  holds(
    t,
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const memory = new ReachMemory({ firstMs: 10, maxMs: 1000, maxPaths: 16 });
      let nowMs = 0;
      for (const { path, failed, passedMs } of steps) {
        nowMs += passedMs;
        if (failed) memory.failed(path, nowMs);
        else memory.reached(path);
      }
      const due = Array.from({ length: 41 }, (_, i) => memory.retryAtMs(String(i), nowMs));
      return (
        due.every((atMs) => atMs >= nowMs && atMs <= nowMs + 1000) &&
        due.filter((atMs) => atMs > nowMs).length <= 16
      );
    }),
  );
});
