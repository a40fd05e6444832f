import test from 'ava';
import {
  anything,
  bool,
  bytes,
  type Field,
  listOf,
  oneOf,
  optional,
  record,
  text,
  uint,
} from '../../src/protocol/schema.js';
import { errorOf, refusalOf } from './properties.js';

const CASES: readonly {
  readonly field: string;
  readonly read: Field;
  readonly good: readonly unknown[];
  readonly bad: readonly unknown[];
}[] = [
  {
    field: 'uint',
    read: uint,
    good: [0, 1, 2 ** 53 - 1],
    bad: [-1, 0.5, 2 ** 53, -1n, 2n ** 53n, 2n ** 64n - 1n, Number.NaN, '1', null, true, []],
  },
  {
    field: 'text of at most 4 bytes',
    read: text(4),
    good: ['', 'abcd', 'éé', '€a', '😀'],
    bad: ['abcde', 'ééé', '€€', 1, null, Buffer.from('a')],
  },
  {
    field: 'bytes of 2 to 3',
    read: bytes(2, 3),
    good: [Buffer.alloc(2), new Uint8Array(3)],
    bad: [Buffer.alloc(1), Buffer.alloc(4), 'ab', [1, 2]],
  },
  { field: 'bool', read: bool, good: [true, false], bad: [0, 1, null, 'true'] },
  { field: 'any', read: anything, good: [null, 0, '', [], {}], bad: [undefined] },
  { field: 'one of a and b', read: oneOf('a', 'b'), good: ['a', 'b'], bad: ['c', '', null, 0] },
  {
    field: 'list of at most 2 uints',
    read: listOf(uint, 2),
    good: [[], [1], [1, 2]],
    bad: [[1, 2, 3], ['a'], [1, -1], {}, 'ab', null],
  },
  {
    field: 'record',
    read: record<{ a: number; b?: boolean }>({ a: uint, b: optional(bool) }),
    good: [{ a: 1 }, { a: 1, b: true }, { a: 1, later: 2 }],
    bad: [{}, { b: true }, { a: 1, b: 1 }, { a: null }, [], Buffer.alloc(1), null, 1],
  },
];

for (const { field, read, good, bad } of CASES) {
  test(`${field} takes what it should and refuses the rest by name`, (t) => {
    for (const value of good) t.deepEqual(read.read(value, 'here'), value);
    for (const value of bad) {
      const error = errorOf(() => read.read(value, 'here'));
      t.is(error.code, 'MalformedMessage');
      t.true(error.message.startsWith('field here'), error.message);
    }
  });
}

test('integers that were decoded as bigint become numbers', (t) => {
  t.is(uint.read(7n, 'a'), 7);
  t.is(uint.read(2n ** 53n - 1n, 'a'), 2 ** 53 - 1);
  t.deepEqual(listOf(uint, 3).read([1n, 2], 'a'), [1, 2]);
});

test('only integers over 32 bits are widened, and nothing is copied without need', (t) => {
  t.is(uint.widen(2 ** 32 - 1), 2 ** 32 - 1);
  t.is(uint.widen(2 ** 32), 2n ** 32n);
  const field = record<{ a: number }>({ a: uint });
  const small = { a: 1, other: {} };
  t.is(field.widen(small), small);
  t.deepEqual(field.widen({ a: 2 ** 40 }), { a: 2n ** 40n });
});

test('a field inherited from a prototype does not count', (t) => {
  const field = record<{ toString: unknown }>({ toString: anything });
  t.is(refusalOf(() => field.read({}, 'a'))?.message, 'field a.toString is missing');
});
