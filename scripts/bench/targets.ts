/** Figures that are to stay on one side of a number. A benchmark reports; it does not fail over a target. */
import { median } from './measure.js';
import type { FigureTable, SuiteFindings } from './suites/suite.js';

export interface TargetSpec {
  /** The work of the table that has the figure. */
  readonly work: string;
  readonly of: string;
  /** The row that the figure is divided by; without it, and without `toWork`, the figure itself is judged. */
  readonly to?: string;
  /** The work of the table that has the divisor, where it is another one. */
  readonly toWork?: string;
  /** The row of which only what the figure has beyond it is judged. */
  readonly beyond?: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  /** Judges the worst round in place of the median. */
  readonly inEveryRound?: true;
  /** Judges the figure in the table's other unit. */
  readonly inScale?: true;
}

export interface Verdict extends TargetSpec {
  readonly title: string;
  /** `undefined` when one of the rows has no figures. */
  readonly value: number | undefined;
  readonly met: boolean;
}

export function judge(
  targets: readonly TargetSpec[],
  { tables }: SuiteFindings,
): readonly Verdict[] {
  return targets.flatMap((target) => {
    const table = tables.find(({ work }) => work === target.work);
    const other = tables.find(({ work }) => work === (target.toWork ?? target.work));
    if (table === undefined || other === undefined) return [];
    const figure = figureOf(table, target.of, target.inEveryRound ? worstOf(target) : median);
    const { beyond, to = target.toWork === undefined ? undefined : target.of } = target;
    const unit = target.inScale ? table.scale?.value : 1;
    const divisor = to === undefined ? unit : figureOf(other, to, median);
    const base = beyond === undefined ? 0 : figureOf(table, beyond, median);
    // Who does not take part is not judged; who fails is.
    if (figure === 'absent' || divisor === 'absent' || base === 'absent') return [];
    const isKnown = figure !== undefined && divisor !== undefined && base !== undefined;
    const value = isKnown ? (figure - base) / divisor : undefined;
    return [{ ...target, title: titleOf(target, table, other), value, met: isMet(target, value) }];
  });
}

/** `undefined` where the row has no figures. */
function figureOf(
  table: FigureTable,
  name: string,
  choose: (samples: readonly number[]) => number,
): number | undefined | 'absent' {
  const row = table.rows.find((candidate) => candidate.name === name);
  if (row === undefined) return 'absent';
  return row.samples.length === 0 ? undefined : choose(row.samples);
}

function worstOf({ atMost }: TargetSpec): (samples: readonly number[]) => number {
  return (samples) => (atMost === undefined ? Math.min(...samples) : Math.max(...samples));
}

function titleOf(
  { of, to, toWork, beyond, inEveryRound, inScale }: TargetSpec,
  { title, unit, scale }: FigureTable,
  other: FigureTable,
): string {
  const rounds = inEveryRound ? ', in every round' : '';
  if (toWork !== undefined) return `${title}: ${of} / ${to ?? of} of ${other.title}${rounds}`;
  if (to !== undefined) return `${title}: ${of} / ${to}${rounds}`;
  return `${title}: ${of}${beyond === undefined ? '' : ` beyond ${beyond}`}, ${inScale ? scale?.unit : unit}${rounds}`;
}

function isMet({ atLeast, atMost }: TargetSpec, value: number | undefined): boolean {
  if (value === undefined) return false;
  return (atMost === undefined || value <= atMost) && (atLeast === undefined || value >= atLeast);
}
