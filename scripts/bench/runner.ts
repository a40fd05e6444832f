/** Runs suites one after another, and writes what they found: for a terminal, for a page, and for programs. */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { textOf } from '../../src/base/realms.js';
import { generateDevCerts } from '../../src/certs/index.js';
import { CLIENT_NAME, SERVER_NAME } from './contenders/contender.js';
import { type ContenderName, contenderEntry } from './contenders/registry.js';
import { matricesOf } from './matrix.js';
import { plotMatrix, plotTable } from './plot.js';
import { formatReport, formatTotal, markdownReport } from './report.js';
import type { Suite, SuiteOptions, SuiteReport } from './suites/suite.js';
import { judge } from './targets.js';
import { buildWorker, type WorkerBuild } from './worker-build.js';

export interface RunOptions {
  readonly suites: readonly Suite[];
  readonly quick: boolean;
  readonly rounds?: number | undefined;
  /** Contenders that take part; all by default. */
  readonly peers?: readonly ContenderName[] | undefined;
  /** Keys of works; all by default. */
  readonly works?: readonly string[] | undefined;
  readonly namespaces?: readonly [server: string, client: string] | undefined;
  readonly profile: boolean;
  /** Where the reports go. */
  readonly directory: string;
  readonly signal: AbortSignal;
  /** Tells what goes on. */
  readonly tell: (text: string) => void;
  /** Shows a report, or the end of the run. */
  readonly show: (text: string) => void;
}

export interface RunReport {
  readonly date: string;
  readonly machine: string;
  readonly command: string;
  readonly quick: boolean;
  readonly reports: readonly SuiteReport[];
}

/** @throws the signal's reason; Error when the reports cannot be written */
export async function runSuites(options: RunOptions): Promise<RunReport> {
  const { suites, directory, show } = options;
  await mkdir(directory, { recursive: true });
  await using build = await buildWorker();
  const suiteOptions = await resolveSuiteOptions(options, build);
  const run = {
    date: new Date().toISOString(),
    machine: machineText(),
    command: commandText(),
    quick: options.quick,
  };
  const reports: SuiteReport[] = [];
  for (const suite of suites) {
    if (!Object.keys(suite.works).some(suiteOptions.wants)) continue;
    const report = await runSuite(suite, suiteOptions);
    reports.push(report);
    show(`${formatReport(report)}\n`);
    await writeReport(directory, report, run);
  }
  show(`${formatTotal(reports)}\n${run.machine}\nreports: ${directory}`);
  return { ...run, reports };
}

async function resolveSuiteOptions(options: RunOptions, build: WorkerBuild): Promise<SuiteOptions> {
  const { quick, rounds, peers, works, namespaces, profile, directory, signal, tell } = options;
  const { ca, nodes } = await generateDevCerts([SERVER_NAME, CLIENT_NAME]);
  return {
    quick,
    rounds,
    namespaces,
    program: build.program,
    firstReplyProgram: build.firstReplyProgram,
    signal,
    tell,
    takesPart: (name) => peers?.includes(name) ?? !(quick && contenderEntry(name).isExtra),
    wants: (work) => works === undefined || works.includes(work),
    names: (work) => works?.includes(work) ?? false,
    tls: { server: { ca, ...nodes[SERVER_NAME] }, client: { ca, ...nodes[CLIENT_NAME] } },
    profileDirectory: profile ? directory : undefined,
  };
}

/** A suite that cannot run says why in its report: the others run all the same. */
async function runSuite(suite: Suite, options: SuiteOptions): Promise<SuiteReport> {
  const { name, title, targets } = suite;
  try {
    const findings = await suite.run(options);
    return { suite: name, title, ...findings, verdicts: judge(targets, findings) };
  } catch (thrown) {
    options.signal.throwIfAborted();
    const reason = textOf(thrown);
    return { suite: name, title, tables: [], notes: [`failed: ${reason}`], verdicts: [] };
  }
}

async function writeReport(
  directory: string,
  report: SuiteReport,
  run: Omit<RunReport, 'reports'>,
): Promise<void> {
  const { suite, condition, tables } = report;
  const name = condition === undefined ? suite : `${suite}-${condition.key}`;
  const plots = new Map<string, string>();
  for (const table of tables) {
    const svg = await plotTable(table);
    if (svg === undefined) continue;
    const file = `${name}-${table.work}.svg`;
    await writeFile(join(directory, file), svg);
    plots.set(table.work, file);
  }
  for (const matrix of matricesOf(tables)) {
    const svg = await plotMatrix(matrix);
    if (svg === undefined) continue;
    const file = `${name}-${matrix.key}.svg`;
    await writeFile(join(directory, file), svg);
    plots.set(matrix.key, file);
  }
  const origin = `${run.date}, ${run.machine}, \`${run.command}\``;
  await writeFile(join(directory, `${name}.md`), `${markdownReport(report, plots)}\n\n${origin}\n`);
  const json = JSON.stringify({ ...run, reports: [report] }, undefined, 2);
  await writeFile(join(directory, `${name}.json`), `${json}\n`);
}

function machineText(): string {
  const all = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  const model = (all[0]?.model ?? 'unknown processor').trim();
  const { platform, arch, versions } = process;
  return `${platform}-${arch} ${release()}, ${all.length} cores (${model}), ${memory}, Node.js ${versions.node}`;
}

function commandText(): string {
  return `npm run bench -- ${process.argv.slice(2).join(' ')}`;
}
