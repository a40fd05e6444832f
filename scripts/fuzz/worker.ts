/** A process that runs one target, writes down which input it is at, and sends its report. */
import { openSync } from 'node:fs';
import { type Assignment, writeProgress } from './processes.js';
import { runTarget } from './run.js';
import { TARGETS } from './targets.js';

/** Exit code for a target that there is not. */
const NO_TARGET = 2;

const assignment = JSON.parse(process.argv[2] as string) as Assignment;
const target = TARGETS.find(({ name }) => name === assignment.target);
if (target === undefined) process.exit(NO_TARGET);

const progress = openSync(assignment.progress, 'r+');
const { seed, first, inputs } = assignment;
const report = await runTarget({
  target,
  seed,
  first,
  inputs,
  onInput: (index) => writeProgress(progress, index),
});
process.send?.(report, () => process.disconnect());
