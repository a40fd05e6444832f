/** `npm run bench -- SUITE`: benchmarks, each contestant in turn within one run, medians and ratios. */
import { cpus } from 'node:os';
import { Argument, Command } from 'commander';
import { codecSuite } from './bench/codec.js';
import { formatReport } from './bench/report.js';
import type { Suite, SuiteReport } from './bench/suite.js';

const SUITES: readonly Suite[] = [codecSuite];
const names = SUITES.map(({ name }) => name);

const program = new Command('bench')
  .description('measures quicmesh beside others, in one run')
  .addArgument(new Argument('<suite>').choices([...names, 'all']))
  .option('--quick', 'fewer and shorter rounds', false)
  .option('--json', 'the reports as one JSON object on standard output', false)
  .parse();

const { quick, json } = program.opts<{ quick: boolean; json: boolean }>();
const [wanted] = program.args;
const machine = `${process.platform}-${process.arch}, ${cpus().length} cores, Node.js ${process.versions.node}`;
const reports: SuiteReport[] = [];

for (const suite of SUITES) {
  if (wanted !== 'all' && wanted !== suite.name) continue;
  const report = await suite.run({ quick });
  reports.push(report);
  if (!json) console.log(`${formatReport(report)}\n`);
}

if (json) console.log(JSON.stringify({ date: new Date().toISOString(), machine, quick, reports }));
else console.log(machine);
