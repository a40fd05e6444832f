/** A suite's report for people: tables of figures with their ratios, then each target with whether it was met. */
import Table from 'cli-table3';
import { matricesOf, matrixCells } from './matrix.js';
import { formatNumber, median } from './measure.js';
import type { FigureRow, FigureTable, SuiteReport } from './suites/suite.js';
import type { Verdict } from './targets.js';

/** Rows that others are compared with, besides their limit. */
const BASELINES = ['grpc-js', 'http2'];
const NOTHING = '–';

/** For a terminal. */
export function formatReport(report: SuiteReport): string {
  const { tables, verdicts, notes } = report;
  return [
    headline(report),
    ...tables.flatMap((figures) => ['', `${figures.title}, ${figures.unit}`, drawTable(figures)]),
    ...matricesOf(tables).flatMap((matrix) => {
      const { head, rows } = matrixCells(matrix);
      return ['', `${matrix.title}, ${matrix.unit}`, draw(head, rows)];
    }),
    ...(notes.length === 0 ? [] : ['', ...notes.map((note) => `note: ${note}`)]),
    ...(verdicts.length === 0 ? [] : ['', ...verdicts.map(terminalVerdict)]),
  ].join('\n');
}

/** For a page. `plots` are file names by work, and by the key of a matrix. */
export function markdownReport(report: SuiteReport, plots: ReadonlyMap<string, string>): string {
  const { tables, verdicts, notes } = report;
  const matrices = matricesOf(tables).flatMap((matrix) => {
    const { key, title, unit } = matrix;
    const { head, rows } = matrixCells(matrix);
    return markdownSection(`${title}, ${unit}`, head, rows, plots.get(key));
  });
  const sections = tables.flatMap((figures) => {
    const { title, unit, work } = figures;
    const { columns, rows } = cellsOf(figures);
    return markdownSection(`${title}, ${unit}`, columns, rows, plots.get(work));
  });
  return [
    `## ${headline(report)}`,
    ...matrices,
    ...sections,
    ...(notes.length === 0 ? [] : [notes.map((note) => `- ${note}`).join('\n')]),
    ...(verdicts.length === 0 ? [] : ['### Targets', verdicts.map(markdownVerdict).join('\n')]),
  ].join('\n\n');
}

function markdownSection(
  title: string,
  head: readonly string[],
  rows: readonly string[][],
  plot: string | undefined,
): string[] {
  return [
    `### ${title}`,
    [
      markdownRow(head),
      markdownRow(head.map((_, i) => (i === 0 ? '---' : '---:'))),
      ...rows.map(markdownRow),
    ].join('\n'),
    ...(plot === undefined ? [] : [`![${title}](${plot})`]),
  ];
}

export function formatTotal(reports: readonly SuiteReport[]): string {
  const verdicts = reports.flatMap((report) => report.verdicts);
  const met = verdicts.filter((verdict) => verdict.met).length;
  return `targets: ${met} of ${verdicts.length} met`;
}

function headline({ suite, title, condition }: SuiteReport): string {
  return `${suite}: ${title}${condition === undefined ? '' : `, ${condition.title}`}`;
}

function drawTable(figures: FigureTable): string {
  const { columns, rows } = cellsOf(figures);
  return draw(columns, rows);
}

function draw(head: string[], rows: string[][]): string {
  const table = new Table({
    head,
    style: { head: [], border: [], compact: true },
    colAligns: head.map((_, i) => (i === 0 ? 'left' : 'right')),
  });
  table.push(...rows);
  return table.toString();
}

function cellsOf(figures: FigureTable): { columns: string[]; rows: string[][] } {
  const { rows, unit, scale } = figures;
  const baselines = BASELINES.filter((name) => rows.some((row) => row.name === name));
  const hasRemarks = rows.some(({ remark }) => remark !== undefined);
  return {
    columns: [
      '',
      `median ${unit}`,
      ...(scale === undefined ? [] : [scale.unit]),
      'min – max',
      'to limit',
      ...baselines.map((name) => `to ${name}`),
      ...(hasRemarks ? ['remark'] : []),
    ],
    rows: rows.map((row) => [
      row.name,
      medianOf(row),
      ...(scale === undefined ? [] : [medianOf(row, scale.value)]),
      spread(row.samples),
      ratio(row, row.limit, figures),
      ...baselines.map((name) => ratio(row, name, figures)),
      ...(hasRemarks ? [row.remark ?? ''] : []),
    ]),
  };
}

function medianOf({ samples }: FigureRow, unit = 1): string {
  return samples.length === 0 ? NOTHING : formatNumber(median(samples) / unit);
}

function ratio({ samples }: FigureRow, to: string | undefined, { rows }: FigureTable): string {
  const divisor = rows.find(({ name }) => name === to)?.samples ?? [];
  if (samples.length === 0 || divisor.length === 0) return NOTHING;
  return `${(median(samples) / median(divisor)).toFixed(2)}x`;
}

function spread(samples: readonly number[]): string {
  if (samples.length < 2) return NOTHING;
  return `${formatNumber(Math.min(...samples))} – ${formatNumber(Math.max(...samples))}`;
}

function terminalVerdict(verdict: Verdict): string {
  return `${verdict.met ? 'met   ' : 'missed'}  ${verdictText(verdict)}`;
}

function markdownVerdict(verdict: Verdict): string {
  return `- ${verdict.met ? 'met' : '**missed**'}: ${verdictText(verdict)}`;
}

function verdictText({ title, value, atMost, atLeast }: Verdict): string {
  const bound = atMost === undefined ? `at least ${atLeast}` : `at most ${atMost}`;
  return `${title}: ${value === undefined ? 'no figure' : value.toFixed(2)} (${bound})`;
}

function markdownRow(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}
