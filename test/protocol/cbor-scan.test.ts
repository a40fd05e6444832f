import test from 'ava';
import { Encoder } from 'cbor-x';
import fc from 'fast-check';
import { scanCbor } from '../../src/protocol/cbor-scan.js';
import { MessageCodec } from '../../src/protocol/codec.js';
import { readCbor } from './naive/cbor.js';
import { byteStrings, errorOf, holds, refusalOf } from './properties.js';
import { allSamples } from './samples.js';

const ACCEPTED: readonly (readonly [string, string])[] = [
  [
    'integers of every width',
    '8a0017181818ff190100 1a00010000 1b0000000100000000 20 3818 3b7fffffffffffffff',
  ],
  ['integers longer than they need be', '831800190001 1b0000000000000001'],
  ['byte strings of every head', '8440 4100 580101 5900021234'],
  ['text, also outside ASCII', '8360 6161 63e282ac'],
  ['false, true, null and undefined', '84f4f5f6f7'],
  ['floats of every width', '83f93c00 fa3f800000 fb3ff0000000000000'],
  ['an empty list and an empty map', '8280a0'],
  ['lists and maps within each other', 'a26161 82 01 a1 6162 80 6163 f6'],
];

for (const [what, hex] of ACCEPTED) {
  test(`${what} pass`, (t) => {
    t.notThrows(() => scanCbor(fromHex(hex)));
    t.notThrows(() => readCbor(fromHex(hex)));
  });
}

const REFUSED: readonly {
  readonly what: string;
  readonly hex: string;
  readonly says: string;
}[] = [
  { what: 'nothing at all', hex: '', says: 'byte 0: item is cut short' },
  { what: 'an empty list of indefinite length', hex: '9fff', says: 'byte 0: indefinite length' },
  { what: 'a map of indefinite length', hex: 'bf616101ff', says: 'byte 0: indefinite length' },
  { what: 'text of indefinite length', hex: '817f6161ff', says: 'byte 1: indefinite length' },
  { what: 'bytes of indefinite length', hex: '5f4100ff', says: 'byte 0: indefinite length' },
  { what: 'a lone break', hex: '82 01 ff', says: 'byte 2: indefinite length' },
  { what: 'a reserved length', hex: '1c', says: 'byte 0: reserved length' },
  { what: 'a date tag', hex: '81c11a00000000', says: 'byte 1: tag 1 is not allowed' },
  { what: 'a bignum', hex: 'c249010000000000000000', says: 'byte 0: tag 2 is not allowed' },
  { what: 'a tag over two bytes', hex: 'd9df0280', says: 'byte 0: tag 57090 is not allowed' },
  { what: 'the self-described tag', hex: 'd9d9f700', says: 'byte 0: tag 55799 is not allowed' },
  { what: 'a simple value below false', hex: 'f3', says: 'byte 0: simple value is not allowed' },
  { what: 'a one-byte simple value', hex: 'f8ff', says: 'byte 0: simple value is not allowed' },
  { what: 'false as a one-byte simple value', hex: 'f814', says: 'simple value is not allowed' },
  { what: 'a byte after the item', hex: '0000', says: 'byte 1: 1 bytes after the item' },
  { what: 'a list that promises 4 billion', hex: '9affffffff', says: 'fewer items than announced' },
  { what: 'a list that promises 2^64-1', hex: '9bffffffffffffffff', says: 'in eight bytes' },
  { what: 'a map that promises 2^64-1', hex: 'bbffffffffffffffff', says: 'in eight bytes' },
  { what: 'a map that promises 2^31', hex: 'ba80000000', says: 'fewer items' },
  { what: 'a map with half an entry', hex: 'a16161', says: 'item is cut short' },
  { what: 'a byte string past the end', hex: '5affffffff00', says: 'string runs past the end' },
  { what: 'text of 2^64-1 bytes', hex: '7bffffffffffffffff61', says: 'in eight bytes' },
  {
    what: 'text of one byte by a head of nine',
    hex: '7b000000000000000161',
    says: 'in eight bytes',
  },
  { what: 'bytes by a head of nine', hex: '5b000000000000000161', says: 'in eight bytes' },
  { what: 'an overlong zero in UTF-8', hex: '62c080', says: 'byte 0: text is not UTF-8' },
  { what: 'a surrogate in UTF-8', hex: '63eda080', says: 'byte 0: text is not UTF-8' },
  { what: 'text cut within a character', hex: '8262e282 61ac', says: 'text is not UTF-8' },
  { what: 'long text that is not UTF-8', hex: `7864${'61'.repeat(99)}ff`, says: 'not UTF-8' },
  { what: 'an integer as a key', hex: 'a10101', says: 'byte 1: key is not text' },
  { what: 'a list as a key', hex: 'a18001', says: 'byte 1: key is not text' },
  { what: 'a byte string as a second key', hex: 'a2616180416101', says: 'byte 4: key is not text' },
  { what: 'null as a key after a map', hex: 'a26161a16162f6f600', says: 'byte 7: key is not text' },
];

for (const { what, hex, says } of REFUSED) {
  test(`${what} is refused`, (t) => {
    const error = errorOf(() => scanCbor(fromHex(hex)));
    t.is(error.code, 'MalformedMessage');
    t.true(error.message.includes(says), error.message);
  });
}

test('64 levels of lists or maps pass, 65 do not', (t) => {
  for (const [open, close] of [
    ['81', '80'],
    ['a16161', 'a0'],
  ] as const) {
    t.notThrows(() => scanCbor(fromHex(open.repeat(63) + close)));
    const error = errorOf(() => scanCbor(fromHex(open.repeat(64) + close)));
    t.true(error.message.endsWith('nesting over 64'), error.message);
  }
});

test('10,000 levels are refused at the 65th', (t) => {
  const error = errorOf(() => scanCbor(Buffer.alloc(10_000, 0x81)));
  t.is(error.message, 'CBOR at byte 64: nesting over 64');
});

test('items are counted and limited', (t) => {
  const limits = { maxDepth: 4, maxItems: 5 };
  t.notThrows(() => scanCbor(fromHex('8400000000'), limits));
  t.regex(errorOf(() => scanCbor(fromHex('850000000000'), limits)).message, /more than 5 items/);
});

test('131,072 items pass by default, one more does not', (t) => {
  const list = (items: number) =>
    Buffer.concat([fromHex('9a'), uint32(items), Buffer.alloc(items)]);
  t.notThrows(() => scanCbor(list(131_071)));
  t.regex(errorOf(() => scanCbor(list(131_072))).message, /more than 131072 items/);
});

test('every message cut short at any byte, or with a byte too much, is refused', (t) => {
  const codec = new MessageCodec();
  for (const message of allSamples) {
    const payload = codec.encode(message);
    for (let end = 0; end < payload.length; end += 1) {
      t.is(errorOf(() => scanCbor(payload.subarray(0, end))).code, 'MalformedMessage');
    }
    t.is(errorOf(() => scanCbor(Buffer.concat([payload, Buffer.of(0)]))).code, 'MalformedMessage');
  }
});

test('whatever cbor-x makes of JSON passes', (t) => {
  const encoder = new Encoder({ useRecords: false, variableMapSize: true });
  holds(
    t,
    fc.property(fc.jsonValue({ maxDepth: 8, stringUnit: 'binary' }), (value) => {
      scanCbor(encoder.encode(value));
    }),
    500,
  );
});

test('the scan passes what a plain reader can read, and refuses the rest as MalformedMessage', (t) => {
  let passed = 0;
  holds(
    t,
    fc.property(fc.oneof(byteStrings(40), nearlyCbor()), (bytes) => {
      const refusal = refusalOf(() => scanCbor(bytes));
      if (refusal !== undefined) return refusal.code === 'MalformedMessage';
      passed += 1;
      return canRead(bytes);
    }),
    5000,
  );
  t.log(`${passed} passed`);
  t.true(passed > 100);
});

function canRead(bytes: Buffer): boolean {
  readCbor(bytes);
  return true;
}

/** Bytes that mostly start items: short heads, small counts. */
function nearlyCbor(): fc.Arbitrary<Buffer> {
  const head = fc
    .tuple(fc.constantFrom(0, 1, 2, 3, 4, 5, 5, 7), fc.oneof(fc.nat(3), fc.nat(31)))
    .map(([major, info]) => (major << 5) | (major === 7 ? 20 + (info % 8) : info));
  return fc
    .array(fc.oneof(head, fc.nat(127)), { maxLength: 24 })
    .map((bytes) => Buffer.from(bytes));
}

function fromHex(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
