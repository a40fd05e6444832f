/** Families and how many cases each has, by outcome. */
import Table from 'cli-table3';
import { TEST_TRANSPORTS } from '../helpers/nodes.js';
import type { Family, Outcome } from './case.js';

const KINDS: readonly Outcome['kind'][] = ['dropped', 'refused', 'closed', 'served', 'answered'];
const kindOf = ({ kind }: Outcome) => (kind === 'refusedOne' ? 'refused' : kind);

export function tableOf(families: readonly Family[]): string {
  const table = new Table({
    head: ['family', 'cases', ...TEST_TRANSPORTS, ...KINDS],
    style: { head: [], border: [] },
  });
  const totals = new Array(1 + TEST_TRANSPORTS.length + KINDS.length).fill(0);
  for (const { name, cases } of families) {
    const counts = [
      cases.length,
      ...TEST_TRANSPORTS.map(
        (transport) =>
          cases.filter(({ transports = TEST_TRANSPORTS }) => transports.includes(transport)).length,
      ),
      ...KINDS.map((kind) => cases.filter(({ outcome }) => kindOf(outcome) === kind).length),
    ];
    for (const [i, count] of counts.entries()) totals[i] += count;
    table.push([name, ...counts]);
  }
  table.push(['all', ...totals]);
  return table.toString();
}
