/** `npm run mesh`: a full mesh of nodes on this machine, each a process of its own, under a mix of all calls. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { textOf } from '../src/base/realms.js';
import type { MeshOptions } from './mesh/phases.js';
import { summaryLines } from './mesh/report.js';
import { toJson } from './mesh/result.js';
import { Screen } from './mesh/screen.js';
import { Stopped, stopSignal } from './mesh/stop.js';

interface CommandOptions extends Omit<MeshOptions, 'seconds'> {
  readonly seconds?: number;
  readonly json: boolean;
}

const BAD_OPTION = 2;
const DEFAULT_SECONDS = 5;
const DEFAULT_PAUSE_SECONDS = 2;
const DEFAULT_ROTATION_PAUSE_SECONDS = 1;
const DEFAULT_RESTART_RATE = 500;

const command = new Command('mesh')
  .description(
    'Start a local mesh of nodes, run calls of every type between all of them, and sum up',
  )
  .option('--nodes <count>', 'nodes, each a process of its own (2 to 32)', wholeNumber(2, 32), 5)
  .option(
    '--seconds <duration>',
    `how long the calls go on (default: ${DEFAULT_SECONDS}); with --rolling-restart and --rotate-certs, before, ` +
      `between and after the steps (default: ${DEFAULT_PAUSE_SECONDS} and ${DEFAULT_ROTATION_PAUSE_SECONDS})`,
    positiveNumber(86_400),
  )
  .option(
    '--rolling-restart',
    'restart one node after the other in good order, while all others go on calling it',
    false,
  )
  .addOption(
    new Option(
      '--rotate-certs',
      'replace all certificates, and then the CA, while all nodes go on calling each other',
    )
      .default(false)
      .conflicts('rollingRestart'),
  )
  .addOption(
    new Option('--transport <name>', 'how the nodes reach each other; auto prefers quic')
      .choices(['quic', 'tcp', 'auto'])
      .default('auto'),
  )
  .option(
    '--concurrency <count>',
    'calls in flight per direction of a link',
    wholeNumber(1, 1000),
    2,
  )
  .addOption(
    new Option(
      '--rate <calls>',
      `calls a second on all links together, in place of --concurrency (default with --rolling-restart ` +
        `and --rotate-certs: ${DEFAULT_RESTART_RATE})`,
    )
      .argParser(positiveNumber(1_000_000))
      .conflicts('concurrency'),
  )
  .option('--file <path>', 'a file that the first node streams to all others afterwards')
  .option('--certs <directory>', 'development certificates; made where missing', 'certs')
  .option(
    '--json',
    'end with one line of JSON on standard output; progress goes to standard error',
    false,
  )
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : BAD_OPTION))
  .parse();

process.exit(await main(command.opts<CommandOptions>()));

/** Runs the mesh and answers with the exit code. */
async function main(given: CommandOptions): Promise<number> {
  const options = withDefaults(given);
  const { file, json } = options;
  if (file !== undefined && !(await isReadableFile(file))) {
    process.stderr.write(`error: --file ${file} is not a file that can be read\n`);
    return BAD_OPTION;
  }
  const screen = new Screen(json ? process.stderr : process.stdout);
  // Nobody reads on, as in `npm run mesh | head`.
  process.stdout.on('error', () => process.exit(1));
  process.stderr.on('error', () => process.exit(1));
  try {
    // The library comes with it. Help and refusals do without.
    const { runMesh } = await import('./mesh/run.js');
    const result = await runMesh(options, screen, stopSignal());
    screen.print('', ...summaryLines(result, screen.style), '');
    if (json) await written(JSON.stringify(toJson(result)));
    return result.failures.length === 0 ? 0 : 1;
  } catch (error) {
    screen.keep();
    const text = textOf(error);
    process.stderr.write(`\nmesh: ${text}\n`);
    return error instanceof Stopped ? error.exitCode : 1;
  }
}

/** Those that depend on one another. */
function withDefaults(given: CommandOptions): CommandOptions & MeshOptions {
  const { rollingRestart, rotateCerts } = given;
  const seconds = given.seconds ?? defaultSeconds(given);
  const byConcurrency = command.getOptionValueSource('concurrency') !== 'default';
  const isPaced = (rollingRestart || rotateCerts) && !byConcurrency;
  const rate = given.rate ?? (isPaced ? DEFAULT_RESTART_RATE : undefined);
  return { ...given, seconds, rate };
}

function defaultSeconds({ rollingRestart, rotateCerts }: CommandOptions): number {
  if (rotateCerts) return DEFAULT_ROTATION_PAUSE_SECONDS;
  return rollingRestart ? DEFAULT_PAUSE_SECONDS : DEFAULT_SECONDS;
}

async function isReadableFile(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

function positiveNumber(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+(\.\d+)?$/.test(text) && value > 0 && value <= max) return value;
    throw new InvalidArgumentError(`It must be a number above 0, at most ${max}.`);
  };
}

/** Fulfils when standard output has taken the line. */
function written(line: string): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(`${line}\n`, () => resolve());
  });
}
