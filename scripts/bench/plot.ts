/**
 * A table of figures as a picture: a bar for each median, a line from the smallest sample to the largest. Figures that
 * are far apart become points on a logarithmic scale, where the length of a bar would mean nothing.
 */
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import type { Matrix } from './matrix.js';
import { formatNumber, median } from './measure.js';
import type { FigureTable } from './suites/suite.js';

const OURS = '#2563a8';
const THEIRS = '#9aa5b1';
const LIMIT = '#c5ccd3';
const INK = '#1f2933';
/** The largest over the smallest median, from which on the scale is logarithmic. */
const FAR_APART = 30;

const KIND_COLORS = { domain: ['quicmesh', 'others', 'limits'], range: [OURS, THEIRS, LIMIT] };
const CONFIG = {
  font: 'system-ui, sans-serif',
  view: { stroke: null },
  axis: { labelColor: INK, titleColor: INK, gridColor: '#e4e7eb', labelFontSize: 12 },
  title: { color: INK, fontSize: 14, offset: 12 },
} as const;
const PANELS_IN_A_LINE = 3;

/** @returns an SVG document, or `undefined` when there is nothing to draw */
export async function plotTable(figures: FigureTable): Promise<string | undefined> {
  const values = figures.rows
    .filter(({ samples }) => samples.length > 0)
    .map(({ name, samples }) => ({
      name,
      kind: kindOf(name),
      median: median(samples),
      min: Math.min(...samples),
      max: Math.max(...samples),
      label: formatNumber(median(samples)),
    }));
  return values.length === 0 ? undefined : svgOf(specOf(figures, values));
}

/** A panel for each column, with bars for the medians; in the other unit, where the tables have one. */
export async function plotMatrix(matrix: Matrix): Promise<string | undefined> {
  const values = matrix.columns.flatMap(({ name: column, table }) =>
    table.rows
      .filter(({ samples }) => samples.length > 0)
      .map(({ name, samples }) => {
        const value = median(samples) / (table.scale?.value ?? 1);
        return { column, name, kind: kindOf(name), value, label: formatNumber(value) };
      }),
  );
  return values.length === 0 ? undefined : svgOf(matrixSpecOf(matrix, values));
}

async function svgOf(spec: TopLevelSpec): Promise<string> {
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

interface Value {
  readonly name: string;
  readonly kind: Kind;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly label: string;
}

interface Cell {
  readonly column: string;
  readonly name: string;
  readonly kind: Kind;
  readonly value: number;
  readonly label: string;
}

type Kind = 'quicmesh' | 'others' | 'limits';

function specOf(
  { title, unit, better, rows }: FigureTable,
  values: readonly Value[],
): TopLevelSpec {
  const y = {
    field: 'name',
    type: 'nominal',
    sort: rows.map(({ name }) => name),
    axis: { title: null, ticks: false, domain: false, labelPadding: 8 },
  } as const;
  const medians = values.map((value) => value.median);
  const isLog = Math.min(...medians) > 0 && Math.max(...medians) / Math.min(...medians) > FAR_APART;
  const x = {
    type: 'quantitative',
    scale: { type: isLog ? 'log' : 'linear' },
    axis: { title: `${unit}, ${better} is better`, tickCount: 5, grid: true, format: ',~r' },
  } as const;
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: { text: title, anchor: 'start', frame: 'group' },
    width: 520,
    height: { step: 28 },
    background: 'white',
    padding: 12,
    data: { values: [...values] },
    config: CONFIG,
    layer: [
      {
        mark: isLog
          ? ({ type: 'circle', size: 140, opacity: 1 } as const)
          : ({ type: 'bar', height: 16 } as const),
        encoding: {
          y,
          x: { ...x, field: 'median' },
          color: {
            field: 'kind',
            type: 'nominal',
            scale: KIND_COLORS,
            legend: null,
          },
        },
      },
      {
        mark: { type: 'rule', color: INK, strokeWidth: 1.5 },
        encoding: { y, x: { ...x, field: 'min' }, x2: { field: 'max' } },
      },
      {
        mark: { type: 'text', align: 'left', dx: 6, color: INK, fontSize: 11 },
        encoding: { y, x: { ...x, field: 'max' }, text: { field: 'label', type: 'nominal' } },
      },
    ],
  };
}

function matrixSpecOf(
  { title, unit, better, columns, names }: Matrix,
  values: readonly Cell[],
): TopLevelSpec {
  const scaled = columns[0]?.table.scale?.unit ?? unit;
  const x = {
    field: 'value',
    type: 'quantitative',
    axis: { title: null, tickCount: 3, grid: true, format: ',~r' },
  } as const;
  const y = {
    field: 'name',
    type: 'nominal',
    sort: [...names],
    axis: { title: null, ticks: false, domain: false, labelPadding: 8 },
  } as const;
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: { text: `${title}, ${scaled}, ${better} is better`, anchor: 'start' },
    background: 'white',
    padding: 12,
    data: { values: [...values] },
    config: { ...CONFIG, header: { labelColor: INK, labelFontSize: 12, labelFontWeight: 'bold' } },
    facet: {
      field: 'column',
      type: 'nominal',
      sort: columns.map(({ name }) => name),
      header: { title: null, labelAnchor: 'start' },
    },
    columns: PANELS_IN_A_LINE,
    // What is far apart under one condition is not under another.
    resolve: { scale: { x: 'independent' } },
    spec: {
      width: 190,
      height: { step: 22 },
      layer: [
        {
          mark: { type: 'bar', height: 14 },
          encoding: {
            x,
            y,
            color: { field: 'kind', type: 'nominal', scale: KIND_COLORS, legend: null },
          },
        },
        {
          mark: { type: 'text', align: 'left', dx: 4, color: INK, fontSize: 11 },
          encoding: { x, y, text: { field: 'label', type: 'nominal' } },
        },
      ],
    },
  };
}

function kindOf(name: string): Kind {
  if (name.startsWith('bare')) return 'limits';
  return name.startsWith('quicmesh') || name.startsWith('frame') ? 'quicmesh' : 'others';
}
