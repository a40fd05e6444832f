import test from 'ava';
import { encodeShape, MOBILE } from '../../scripts/bench/link/shape.js';
import { matricesOf, matrixCells } from '../../scripts/bench/matrix.js';
import type { FigureTable } from '../../scripts/bench/suites/suite.js';
import { judge, type TargetSpec } from '../../scripts/bench/targets.js';

const few: FigureTable = {
  work: 'few',
  title: '64 at once',
  unit: 'calls/s',
  better: 'higher',
  rows: [{ name: 'a', samples: [100, 200, 300] }],
};
const many: FigureTable = {
  ...few,
  work: 'many',
  title: '256 at once',
  rows: [
    { name: 'a', samples: [90, 180, 400] },
    { name: 'b', samples: [60, 120, 90] },
    { name: 'failed', samples: [] },
  ],
};
const late: FigureTable = {
  work: 'late',
  title: 'p99',
  unit: 'ms',
  better: 'lower',
  scale: { unit: 'round trips', value: 50 },
  rows: [{ name: 'a', samples: [100, 110, 300] }],
};

function judged(target: TargetSpec): { title: string; value: number | undefined; met: boolean } {
  const [verdict] = judge([target], { tables: [few, many, late], notes: [] });
  const { title = '', value, met = false } = verdict ?? {};
  return { title, value, met };
}

test('a target is a figure, a ratio within a table, or a ratio between two', (t) => {
  t.like(judged({ work: 'many', of: 'a', atLeast: 180 }), { value: 180, met: true });
  t.like(judged({ work: 'many', of: 'a', to: 'b', atLeast: 2.1 }), { value: 2, met: false });
  t.like(judged({ work: 'many', of: 'a', toWork: 'few', atLeast: 0.9 }), {
    title: '256 at once: a / a of 64 at once',
    value: 0.9,
    met: true,
  });
});

test('a target may be what is beyond another row, in another unit, or of the worst round', (t) => {
  t.like(judged({ work: 'many', of: 'a', beyond: 'b', atMost: 90 }), { value: 90, met: true });
  t.like(judged({ work: 'late', of: 'a', inScale: true, atMost: 2.4 }), {
    title: 'p99: a, round trips',
    value: 2.2,
    met: true,
  });
  const worst = { work: 'late', of: 'a', inEveryRound: true } as const;
  t.like(judged({ ...worst, atMost: 299 }), { value: 300, met: false });
  t.like(judged({ ...worst, atLeast: 101 }), { value: 100, met: false });
});

test('who fails misses a target, and who does not take part has none', (t) => {
  t.like(judged({ work: 'many', of: 'failed', atLeast: 1 }), { value: undefined, met: false });
  const absent = { work: 'many', of: 'a', to: 'nobody', atLeast: 1 };
  t.deepEqual(judge([absent, { ...absent, work: 'none' }], { tables: [many], notes: [] }), []);
});

test('tables of one kind become columns, in both units', (t) => {
  const matrix = { key: 'p99', title: 'calls, p99' };
  const tables = [
    { ...late, matrix: { ...matrix, column: 'near' } },
    few,
    { ...late, rows: many.rows, matrix: { ...matrix, column: 'far' } },
  ];
  const [found, ...others] = matricesOf(tables);
  t.is(others.length, 0);
  t.is(found?.unit, 'ms (round trips)');
  t.deepEqual(found === undefined ? undefined : matrixCells(found), {
    head: ['', 'near', 'far'],
    rows: [
      ['a', '110 (2.20)', '180 (3.60)'],
      ['b', '–', '90.0 (1.80)'],
      ['failed', '–', '–'],
    ],
  });
  t.deepEqual(matricesOf(tables.slice(0, 2)), []);
});

test('a shape is what the program of the link reads', (t) => {
  t.is(encodeShape({ rttMs: 50 }), 'shape 25 0 0 1 0 0 0 0');
  // The queue of a link with a rate holds one bandwidth-delay product.
  t.is(encodeShape({ rttMs: 50, rateMbit: 20 }), 'shape 25 0 0 1 0 0 20 125000');
  t.is(encodeShape(MOBILE), 'shape 30 25 0.01 3 0.005 8 20 150000');
});
