/** A suite's report for people: a table, then each target with whether it was met. */
import Table from 'cli-table3';
import { isMet, type SuiteReport, type Target } from './suite.js';

export function formatReport({ title, columns, rows, targets }: SuiteReport): string {
  const table = new Table({
    head: [...columns],
    style: { head: [], border: [], compact: true },
    colAligns: columns.map((_, i) => (i === 0 ? 'left' : 'right')),
  });
  for (const row of rows) table.push([...row]);
  return [title, table.toString(), ...targets.map(formatTarget)].join('\n');
}

function formatTarget(target: Target): string {
  const { name, value, atMost, atLeast } = target;
  const bound = atMost === undefined ? `at least ${atLeast}` : `at most ${atMost}`;
  return `${isMet(target) ? 'met   ' : 'missed'}  ${name}: ${value.toFixed(2)} (${bound})`;
}
