/** Figures that are to stay on one side of a number. A benchmark reports; it does not fail over a target. */
import { median } from './measure.js';
import type { FigureTable, SuiteFindings } from './suites/suite.js';

export interface TargetSpec {
  /** The work of the table that has the figure. */
  readonly work: string;
  readonly of: string;
  /** The row that the figure is divided by; without it the figure itself is judged. */
  readonly to?: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  /** Keys of the conditions that it is meant for; all by default. */
  readonly under?: readonly string[];
}

export interface Verdict extends TargetSpec {
  readonly title: string;
  /** `undefined` when one of the rows has no figures. */
  readonly value: number | undefined;
  readonly met: boolean;
}

export function judge(
  targets: readonly TargetSpec[],
  { tables, condition }: SuiteFindings,
): readonly Verdict[] {
  return targets.flatMap((target) => {
    if (target.under !== undefined && !target.under.includes(condition?.key ?? '')) return [];
    const table = tables.find(({ work }) => work === target.work);
    if (table === undefined) return [];
    const figure = figureOf(table, target.of);
    const divisor = target.to === undefined ? 1 : figureOf(table, target.to);
    // Who does not take part is not judged; who fails is.
    if (figure === 'absent' || divisor === 'absent') return [];
    const value = figure === undefined || divisor === undefined ? undefined : figure / divisor;
    return [{ ...target, title: titleOf(target, table), value, met: isMet(target, value) }];
  });
}

function figureOf(table: FigureTable, name: string): number | undefined | 'absent' {
  const row = table.rows.find((candidate) => candidate.name === name);
  if (row === undefined) return 'absent';
  return row.samples.length === 0 ? undefined : median(row.samples);
}

function titleOf({ of, to }: TargetSpec, { title, unit }: FigureTable): string {
  return to === undefined ? `${title}: ${of}, ${unit}` : `${title}: ${of} / ${to}`;
}

function isMet({ atLeast, atMost }: TargetSpec, value: number | undefined): boolean {
  if (value === undefined) return false;
  return (atMost === undefined || value <= atMost) && (atLeast === undefined || value >= atLeast);
}
