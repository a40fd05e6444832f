/** What the command shows, as lines. */
import { calmTable, plural, whole } from '../mesh/format.js';
import type { Style } from '../mesh/screen.js';
import type { Failure, TargetReport } from './run.js';

/** Ends that are shown in full; the others are summed up. */
const SHOWN_OUTCOMES = 4;
/** A longer input is shown as far as that; its index gives it again. */
const SHOWN_HEX = 2048;

/** A row for each target. */
export function tableLines(reports: readonly TargetReport[], style: Style): string[] {
  const table = calmTable(
    ['target', 'inputs', 'slowest µs', 'at', 'ends'],
    ['left', 'right', 'right', 'right', 'left'],
    style,
  );
  for (const { target, inputs, slowestUs, slowestIndex, outcomes, failures } of reports) {
    const name = failures.length > 0 ? style.red(target) : target;
    const slowest = [whole(slowestUs), style.dim(`#${slowestIndex}`)];
    table.push([name, whole(inputs), ...slowest, outcomesText(outcomes)]);
  }
  return table.toString().split('\n');
}

/** What failed, with the input and the command that runs it again. */
export function failureLines(report: TargetReport, seed: number): string[] {
  return report.failures.flatMap((failure) => [
    `${report.target}: ${failure.what}`,
    `  input ${shownHex(failure.hex)}`,
    `  again ${replayCommand(report.target, failure, seed)}`,
  ]);
}

function replayCommand(target: string, { hex, index }: Failure, seed: number): string {
  const command = `npm run fuzz -- --target ${target}`;
  if (index === undefined || hex.length <= SHOWN_HEX) return `${command} --hex ${hex || "''"}`;
  return `${command} --seed ${seed} --first ${index} --inputs 1`;
}

function shownHex(hex: string): string {
  if (hex.length <= SHOWN_HEX) return hex === '' ? '(empty)' : hex;
  return `${hex.slice(0, SHOWN_HEX)}… (${plural(hex.length / 2, 'byte')})`;
}

function outcomesText(outcomes: Readonly<Record<string, number>>): string {
  const entries = Object.entries(outcomes);
  const shown = entries.slice(0, SHOWN_OUTCOMES).map(([name, count]) => `${name} ${whole(count)}`);
  const others = entries.slice(SHOWN_OUTCOMES);
  const rest = others.reduce((sum, [, count]) => sum + count, 0);
  if (others.length > 0) shown.push(`${plural(others.length, 'other')} ${whole(rest)}`);
  return shown.join('\n');
}
