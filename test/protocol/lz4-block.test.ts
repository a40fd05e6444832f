/** LZ4 in steps against the naive reader and the library: the same bytes, and the same refusals. */
import test from 'ava';
import fc from 'fast-check';
import { loadCompression } from '../../src/protocol/compression.js';
import { Lz4Block } from '../../src/protocol/lz4-block.js';
import { unpackLz4 } from './naive/compression.js';
import { damaged, holds } from './properties.js';

const algorithm = await loadCompression('lz4');

function packed(raw: Buffer): Buffer {
  // It is too little for another thread.
  return algorithm.compress(raw) as Buffer;
}

/** What repeats at various distances, and does not. */
const data = fc
  .array(
    fc.record({
      bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
      times: fc.oneof(fc.nat(5), fc.integer({ min: 1, max: 400 })),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((parts) =>
    Buffer.concat(parts.map(({ bytes, times }) => Buffer.alloc(bytes.length * times, bytes))),
  );

test('blocks of the library become what they were made of, wherever the steps end', (t) => {
  holds(
    t,
    fc.property(data, fc.boolean(), (raw, goesOn) => {
      if (raw.length === 0) return true;
      return read(packed(raw), raw.length, goesOn).equals(raw);
    }),
    1000,
  );
});

test('of damaged and of random blocks the naive reader thinks the same', (t) => {
  const blocks = data
    .filter((raw) => raw.length > 0)
    .map((raw) => ({ block: packed(raw), rawBytes: raw.length }));
  let refused = 0;
  const property = fc.property(
    blocks.chain(({ block, rawBytes }) =>
      fc.tuple(damaged(fc.constant(block)), fc.constantFrom(rawBytes, rawBytes + 1, rawBytes - 1)),
    ),
    ([block, rawBytes]) => {
      const naive = orNothing(() => unpackLz4(block));
      const expected = naive?.length === rawBytes ? naive : undefined;
      const found = orNothing(() => read(block, rawBytes, true));
      if (found === undefined) refused += 1;
      return expected === undefined ? found === undefined : found?.equals(expected) === true;
    },
  );
  holds(t, property, 2000);
  t.true(refused > 200, `${refused} refused`);
});

for (const [what, raw] of [
  ['a single byte', Buffer.alloc(4 * 1024 * 1024)],
  ['a few bytes', Buffer.alloc(1024 * 1024, 'abcdefg')],
  [
    'more than a step',
    Buffer.alloc(1024 * 1024, Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * i) >> 3))),
  ],
] as const) {
  test(`long repetitions of ${what} are written in steps`, async (t) => {
    const block = new Lz4Block(await algorithm.compress(raw), raw.length);
    let steps = 1;
    while (!block.read(() => false)) steps += 1;
    t.true(steps >= raw.length / (2 * 64 * 1024), `${steps}`);
    t.true(block.out.equals(raw));
  });
}

function read(block: Buffer, rawBytes: number, goesOn: boolean): Buffer {
  const steps = new Lz4Block(block, rawBytes);
  while (!steps.read(() => goesOn));
  return steps.out;
}

function orNothing<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}
