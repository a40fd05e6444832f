import test from 'ava';
import fc from 'fast-check';
import { checkZstdFrame } from '../../src/protocol/zstd-frame.js';
import { checkZstd } from './naive/compression.js';
import { Refusal } from './naive/refusal.js';
import { KINDS, randomFrom } from './payload-data.js';
import { damaged, errorOf, holds, refusalOf } from './properties.js';
import { algorithms } from './receive.js';

const MAX_BYTES = 16 * 1024 * 1024;
const BLOCK_BYTES = 128 * 1024;
const MAGIC = '28b52ffd';
/** No content size, a window of 2 MiB. */
const HEADER = `${MAGIC}0058`;

type BlockType = 'raw' | 'rle' | 'compressed' | 'reserved';
const BLOCK_TYPES: readonly BlockType[] = ['raw', 'rle', 'compressed', 'reserved'];

/** A block's three bytes, and what it stores: `stored` bytes of nothing in particular. */
function block(type: BlockType, size: number, last = false): string {
  const head = Buffer.alloc(3);
  head.writeUIntLE((size << 3) | (BLOCK_TYPES.indexOf(type) << 1) | (last ? 1 : 0), 0, 3);
  const stored = type === 'rle' ? 1 : size;
  return head.toString('hex') + '00'.repeat(stored);
}

const frameOf = (...parts: string[]): Buffer => Buffer.from(parts.join(''), 'hex');

const ACCEPTED: Readonly<Record<string, readonly [Buffer, number]>> = {
  'one raw block': [frameOf(HEADER, block('raw', 10, true)), 10],
  'an RLE block': [frameOf(HEADER, block('rle', 1000, true)), 1000],
  'an empty block': [frameOf(HEADER, block('raw', 0, true)), 0],
  'a block of 128 KiB': [frameOf(HEADER, block('rle', BLOCK_BYTES, true)), BLOCK_BYTES],
  'a content size of one byte': [frameOf(MAGIC, '20', '0a', block('raw', 10, true)), 10],
  'a content size of two bytes': [frameOf(MAGIC, '60', '0a00', block('raw', 266, true)), 266],
  'a content size of four bytes': [frameOf(MAGIC, 'a0', '0a000000', block('raw', 10, true)), 10],
  'a content size of eight bytes': [
    frameOf(MAGIC, 'e0', '0a00000000000000', block('raw', 10, true)),
    10,
  ],
  'a checksum of its own': [frameOf(MAGIC, '04', '58', block('raw', 10, true), '01020304'), 10],
  'a window of 8 MiB': [frameOf(MAGIC, '0068', block('raw', 10, true)), 10],
  'a single segment of 16 MiB': [
    frameOf(
      MAGIC,
      'a0',
      '00000001',
      ...Array.from({ length: 127 }, () => block('rle', BLOCK_BYTES)),
      block('rle', BLOCK_BYTES, true),
    ),
    MAX_BYTES,
  ],
};

for (const [what, [frame, rawBytes]] of Object.entries(ACCEPTED)) {
  test(`a frame with ${what} passes`, (t) => {
    t.notThrows(() => checkZstdFrame(frame, rawBytes, MAX_BYTES));
    t.notThrows(() => checkZstd(frame, rawBytes, MAX_BYTES));
  });
}

const REFUSED: Readonly<Record<string, readonly [Buffer, string]>> = {
  'nothing in it': [frameOf(), 'does not begin as one'],
  'a header cut short': [frameOf(MAGIC, '00'), 'does not begin as one'],
  'another magic number': [frameOf('29b52ffd0058', block('raw', 10, true)), 'does not begin'],
  'the magic number of a skippable frame': [
    frameOf('502a4d18', '01000000', '00'),
    'does not begin',
  ],
  'the reserved bit': [frameOf(MAGIC, '0858', block('raw', 10, true)), 'sets a reserved bit'],
  'a dictionary': [frameOf(MAGIC, '0158', '07', block('raw', 10, true)), 'needs a dictionary'],
  'a window of 9 MiB': [frameOf(MAGIC, '0069', block('raw', 10, true)), 'too large a window'],
  'another content size': [frameOf(MAGIC, '20', '0b', block('raw', 10, true)), 'states another'],
  'a content size cut short': [frameOf(MAGIC, 'e0', '0a0000'), 'is cut short'],
  'no block': [frameOf(HEADER), 'is cut short'],
  'a block head cut short': [frameOf(HEADER, '5500'), 'is cut short'],
  'a block cut short': [frameOf(HEADER, block('raw', 10, true)).subarray(0, -1), 'is cut short'],
  'no last block': [frameOf(HEADER, block('raw', 10)), 'is cut short'],
  'a checksum cut short': [frameOf(MAGIC, '0458', block('raw', 10, true), '010203'), 'cut short'],
  'a byte behind it': [frameOf(HEADER, block('raw', 10, true), '00'), 'has bytes behind it'],
  'a second frame': [
    frameOf(HEADER, block('raw', 10, true), HEADER, block('raw', 10, true)),
    'has bytes behind it',
  ],
  'a block of the reserved type': [
    frameOf(HEADER, block('reserved', 10, true)),
    'impossible block',
  ],
  'a block above 128 KiB': [frameOf(HEADER, block('rle', BLOCK_BYTES + 1, true)), 'impossible'],
};

for (const [what, [frame, says]] of Object.entries(REFUSED)) {
  test(`a frame with ${what} is refused`, (t) => {
    const error = errorOf(() => checkZstdFrame(frame, 10, MAX_BYTES));
    t.is(error.code, 'MalformedMessage');
    t.true(error.message.includes(says), error.message);
    t.throws(() => checkZstd(frame, 10, MAX_BYTES), { instanceOf: Refusal });
  });
}

test('blocks may sum up to twice the stated length and a block, whatever the frame is long', (t) => {
  const blocks = (count: number): Buffer =>
    frameOf(
      HEADER,
      ...Array.from({ length: count - 1 }, () => block('compressed', 3)),
      block('compressed', 3, true),
    );
  t.true(passes(blocks(3), BLOCK_BYTES));
  t.false(passes(blocks(4), BLOCK_BYTES));
  t.true(passes(blocks(1), 0));
  t.false(passes(blocks(2), 0));
});

test('beyond that, each byte of the frame pays for 255, up to twice the largest payload', (t) => {
  // Four blocks count 512 KiB, which 2,057 bytes pay for.
  const blocks = (bytes: number): Buffer =>
    frameOf(
      HEADER,
      ...[0, 1, 2].map(() => block('compressed', 500)),
      block('compressed', bytes, true),
    );
  t.is(blocks(533).length, 2051);
  t.false(passes(blocks(538), 1000));
  t.is(blocks(539).length, 2057);
  t.true(passes(blocks(539), 1000));
  t.false(passes(blocks(539), 1000, 2 * BLOCK_BYTES - 1));
  t.true(passes(blocks(539), 1000, 2 * BLOCK_BYTES));
});

test('empty blocks count 1 KiB each, so that nobody has to walk millions of them', (t) => {
  const blocks = (count: number): Buffer =>
    frameOf(HEADER, block('raw', 0).repeat(count - 1), block('raw', 0, true));
  t.true(passes(blocks(128), 0));
  t.false(passes(blocks(129), 0));
  const millions = Buffer.concat([frameOf(HEADER), Buffer.alloc(MAX_BYTES - 10)]);
  const before = process.cpuUsage();
  t.false(passes(millions, MAX_BYTES));
  const { user, system } = process.cpuUsage(before);
  const tookMs = (user + system) / 1000;
  t.log(`5.6 million empty blocks: ${tookMs.toFixed(1)} ms`);
  t.true(tookMs < 1000);
});

test('damaged frames are judged as the naive reader judges them', async (t) => {
  const sound = await Promise.all(
    Object.values(KINDS).map(async (kind, at) => {
      const raw = kind(randomFrom(at), 2000);
      return { frame: await algorithms.zstd.compress(raw), rawBytes: raw.length };
    }),
  );
  const headers = Object.values(ACCEPTED)
    .map(([frame, rawBytes]) => ({ frame, rawBytes }))
    .filter(({ frame }) => frame.length < 1000);
  let passed = 0;
  const cases = fc
    .constantFrom(...sound, ...headers)
    .chain(({ frame, rawBytes }) =>
      fc.tuple(damaged(fc.constant(frame)), fc.oneof(fc.constant(rawBytes), fc.nat(3000))),
    );
  holds(
    t,
    fc.property(cases, ([frame, rawBytes]) => {
      const found = passes(frame, rawBytes);
      if (found) passed += 1;
      return found === naivelyPasses(frame, rawBytes);
    }),
    3000,
  );
  t.log(`${passed} passed`);
  t.true(passed > 100);
});

test('what this side sends passes at the other, 1 MiB of anything', async (t) => {
  for (const make of Object.values(KINDS)) {
    const raw = make(randomFrom(7), 1024 * 1024);
    const frame = await algorithms.zstd.compress(raw);
    t.notThrows(() => checkZstdFrame(frame, raw.length, raw.length));
  }
});

function passes(frame: Buffer, rawBytes: number, maxBytes = MAX_BYTES): boolean {
  const refusal = refusalOf(() => checkZstdFrame(frame, rawBytes, maxBytes));
  if (refusal !== undefined && refusal.code !== 'MalformedMessage') throw refusal;
  return refusal === undefined;
}

function naivelyPasses(frame: Buffer, rawBytes: number): boolean {
  try {
    checkZstd(frame, rawBytes, MAX_BYTES);
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}
