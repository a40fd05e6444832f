/** `npm run bench -- SUITE`: quicmesh beside others and beside what is possible, in one run. */
import { Argument, Command, InvalidArgumentError } from 'commander';
import { textOf } from '../src/base/realms.js';
import { CONTENDER_NAMES, type ContenderName } from './bench/contenders/registry.js';
import { runSuites } from './bench/runner.js';
import { bulkSuite } from './bench/suites/bulk.js';
import { codecSuite } from './bench/suites/codec.js';
import { connectSuite } from './bench/suites/connect.js';
import { fairnessSuite } from './bench/suites/fairness.js';
import { lossSuite } from './bench/suites/loss.js';
import { memorySuite } from './bench/suites/memory.js';
import { prioritySuite } from './bench/suites/priority.js';
import { startSuite } from './bench/suites/start.js';
import type { Suite } from './bench/suites/suite.js';
import { unarySuite } from './bench/suites/unary.js';
import { Stopped, stopSignal } from './mesh/stop.js';

const SUITES: readonly Suite[] = [
  codecSuite,
  unarySuite,
  bulkSuite,
  connectSuite,
  startSuite,
  lossSuite,
  fairnessSuite,
  memorySuite,
  prioritySuite,
];
const ALL = 'all';

interface CommandOptions {
  readonly quick: boolean;
  readonly json: boolean;
  readonly rounds?: number;
  readonly peers?: readonly ContenderName[];
  readonly works?: readonly string[];
  readonly namespaces?: readonly [string, string];
  readonly profile: boolean;
  readonly out: string;
}

const command = new Command('bench')
  .description('measures quicmesh beside others, in one run')
  .addArgument(new Argument('<suite>').choices([...SUITES.map(({ name }) => name), ALL]))
  .option('--quick', 'fewer and shorter rounds', false)
  .option('--peers <names>', `only these, of ${CONTENDER_NAMES.join(', ')}`, contenderNames)
  .option('--works <keys>', `only these parts of suites: ${worksText()}`, workKeys)
  .option('--rounds <count>', 'rounds in place of the number of each suite', wholeNumber)
  .option(
    '--namespaces <server,client>',
    'connect and loss: network namespaces that a link of yours joins, such as `ip netns add A; ip netns add B;' +
      ' ip link add l0 netns A type veth peer name l0 netns B` with addresses, and `tc qdisc add dev l0 root netem`' +
      ' in each; without it, loss makes its links itself, which needs Linux, root and a C compiler',
    twoNames,
  )
  .option('--profile', 'CPU profiles of every process, and what took most time', false)
  .option('--out <directory>', 'where the reports go', 'bench-results')
  .option('--json', 'the reports as one JSON object on standard output', false)
  .parse();

process.exit(await main(command.args[0] ?? ALL, command.opts<CommandOptions>()));

/** Runs the suites and answers with the exit code. */
async function main(wanted: string, { json, out, ...options }: CommandOptions): Promise<number> {
  // Nobody reads on, as in `npm run bench | head`.
  process.stdout.on('error', () => process.exit(1));
  try {
    const report = await runSuites({
      ...options,
      suites: SUITES.filter(({ name }) => wanted === ALL || wanted === name),
      directory: out,
      signal: stopSignal(),
      tell: (text) => void process.stderr.write(`${text}\n`),
      show: (text) => void (json || process.stdout.write(`${text}\n`)),
    });
    if (json) await written(JSON.stringify(report));
    return 0;
  } catch (error) {
    process.stderr.write(`bench: ${textOf(error)}\n`);
    return error instanceof Stopped ? error.exitCode : 1;
  }
}

function worksText(): string {
  return SUITES.map(({ name, works }) => `${name} (${Object.keys(works).join(', ')})`).join(', ');
}

function contenderNames(text: string): ContenderName[] {
  return text.split(',').map((name) => {
    const known = CONTENDER_NAMES.find((candidate) => candidate === name);
    if (known === undefined) throw new InvalidArgumentError(`There is no ${name}.`);
    return known;
  });
}

function workKeys(text: string): string[] {
  const known = SUITES.flatMap(({ works }) => Object.keys(works));
  return text.split(',').map((key) => {
    if (!known.includes(key)) throw new InvalidArgumentError(`There is no ${key}.`);
    return key;
  });
}

function wholeNumber(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1 to 9999.');
}

function twoNames(text: string): [string, string] {
  const [server, client, ...rest] = text.split(',');
  if (server && client && rest.length === 0) return [server, client];
  throw new InvalidArgumentError('It must be two names with a comma between them.');
}

/** Fulfils when standard output has taken the line. */
function written(line: string): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(`${line}\n`, () => resolve());
  });
}
