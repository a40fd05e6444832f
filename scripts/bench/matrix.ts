/** Tables of one kind of figure under several conditions, put beside each other: a row for each contender. */
import { formatNumber, median } from './measure.js';
import type { FigureRow, FigureTable } from './suites/suite.js';

export interface Matrix {
  /** Part of the name of its plot. */
  readonly key: string;
  readonly title: string;
  readonly unit: string;
  readonly better: FigureTable['better'];
  /** In the order of the tables. */
  readonly columns: readonly { readonly name: string; readonly table: FigureTable }[];
  /** Names of rows, in their order. */
  readonly names: readonly string[];
}

/** Of those kinds that have more than one table. */
export function matricesOf(tables: readonly FigureTable[]): Matrix[] {
  const kinds = new Map<string, FigureTable[]>();
  for (const table of tables) {
    if (table.matrix === undefined) continue;
    const { key } = table.matrix;
    kinds.set(key, [...(kinds.get(key) ?? []), table]);
  }
  return [...kinds.values()].flatMap((group) => {
    const [first] = group;
    if (first?.matrix === undefined || group.length < 2) return [];
    const { unit, better, scale, matrix } = first;
    return [
      {
        key: matrix.key,
        title: matrix.title,
        unit: scale === undefined ? unit : `${unit} (${scale.unit})`,
        better,
        columns: group.map((table) => ({ name: table.matrix?.column ?? '', table })),
        names: [...new Set(group.flatMap(({ rows }) => rows.map(({ name }) => name)))],
      },
    ];
  });
}

/** The first line has the names of the columns. */
export function matrixCells({ columns, names }: Matrix): { head: string[]; rows: string[][] } {
  return {
    head: ['', ...columns.map(({ name }) => name)],
    rows: names.map((name) => [
      name,
      ...columns.map(({ table }) =>
        cellOf(
          table.rows.find((row) => row.name === name),
          table,
        ),
      ),
    ]),
  };
}

function cellOf(row: FigureRow | undefined, { scale }: FigureTable): string {
  if (row === undefined || row.samples.length === 0) return '–';
  const value = median(row.samples);
  const scaled = scale === undefined ? '' : ` (${formatNumber(value / scale.value)})`;
  return `${formatNumber(value)}${scaled}`;
}
