/** `npm run fuzz`: two million damaged inputs for everything that reads a peer's bytes. */
import { randomInt } from 'node:crypto';
import { Command, InvalidArgumentError, Option } from 'commander';
import { runTargets } from './fuzz/processes.js';
import { failureLines, tableLines } from './fuzz/report.js';
import { LIMIT_MS, runInput, type TargetReport } from './fuzz/run.js';
import { TARGETS } from './fuzz/targets.js';
import { plural } from './mesh/format.js';
import { Screen } from './mesh/screen.js';

interface FuzzOptions {
  readonly seed: number;
  readonly inputs: number;
  readonly first: number;
  readonly target?: string;
  readonly hex?: Buffer;
}

const BAD_OPTION = 2;

const command = new Command('fuzz')
  .description(
    'Feed mutated test vectors to all that reads bytes of a peer, and see that nothing crashes, hangs, ' +
      `holds up the event loop for more than ${LIMIT_MS} ms or fails in another way than SPEC.md says`,
  )
  .addOption(
    new Option('--seed <number>', 'what the inputs are made from')
      .argParser(wholeNumber)
      .default(randomInt(2 ** 31), 'another one each time'),
  )
  .option('--inputs <count>', 'inputs in all', wholeNumber, 2_000_000)
  .addOption(
    new Option('--target <name>', 'this target only').choices(TARGETS.map(({ name }) => name)),
  )
  .option('--first <index>', 'begin with the input of this index', wholeNumber, 0)
  .option('--hex <bytes>', 'run this one input, for a target', hexBytes)
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : BAD_OPTION))
  .parse();

process.exitCode = await main(command.opts<FuzzOptions>());

/** Runs what the options say and answers with the exit code. */
async function main(options: FuzzOptions): Promise<number> {
  const targets = TARGETS.filter(({ name }) => name === (options.target ?? name));
  const screen = new Screen(process.stdout);
  const reports: TargetReport[] = [];
  const startMs = performance.now();
  if (options.hex !== undefined) {
    const [target] = targets;
    if (options.target === undefined || target === undefined) {
      process.stderr.write('error: --hex needs a --target\n');
      return BAD_OPTION;
    }
    reports.push(await runInput(target, options.hex));
  } else {
    screen.print(screen.style.bold('fuzz') + screen.style.dim(`   seed ${options.seed}`), '');
    await runTargets(targets, options, (report) => reports.push(report));
  }
  const order = targets.map(({ name }) => name);
  reports.sort((a, b) => order.indexOf(a.target) - order.indexOf(b.target));
  const failures = reports.flatMap((report) => failureLines(report, options.seed));
  const inputs = reports.reduce((sum, report) => sum + report.inputs, 0);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  screen.print(
    ...tableLines(reports, screen.style),
    '',
    failures.length === 0
      ? `  ${screen.style.green('✓')} ${plural(inputs, 'input')} in ${seconds} s, none failed`
      : `  ${screen.style.red('✗')} ${plural(inputs, 'input')} in ${seconds} s; with seed ${options.seed}:`,
    ...failures.map((line) => `    ${line}`),
  );
  return failures.length === 0 ? 0 : 1;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError('It must be a whole number.');
}

function hexBytes(text: string): Buffer {
  if (/^([0-9a-f]{2})*$/i.test(text)) return Buffer.from(text, 'hex');
  throw new InvalidArgumentError('It must be bytes in hex.');
}
