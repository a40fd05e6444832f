/** Runs targets in processes of their own, so that a crash or an endless loop of one is seen and named. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from '../children/child.js';
import { inputOf, type TargetReport } from './run.js';
import { TARGETS, type Target } from './targets.js';

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url));
const CHECK_EVERY_MS = 1000;
/** An input that takes longer has hung. */
const HUNG_MS = 30_000;
/** Native code may have had so many inputs at once when it crashed. */
const SUSPECTS = 32;

/** What a worker is told, as JSON in its argument. */
export interface Assignment {
  readonly target: string;
  readonly seed: number;
  readonly first: number;
  readonly inputs: number;
  /** File that holds the index of the input at work. */
  readonly progress: string;
}

/**
 * Runs each target over its share of the inputs, some at a time.
 * @param onReport called as targets end
 */
export async function runTargets(
  targets: readonly Target[],
  options: { readonly seed: number; readonly inputs: number; readonly first: number },
  onReport: (report: TargetReport) => void,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-fuzz-'));
  const shares = targets.reduce((sum, { share }) => sum + share, 0);
  // The largest first, so that the last to end is a small one.
  const queue = [...targets].sort((a, b) => b.share - a.share);
  const runQueue = async (): Promise<void> => {
    for (let target = queue.shift(); target !== undefined; target = queue.shift()) {
      const inputs = Math.ceil((options.inputs * target.share) / shares);
      const progress = join(directory, target.name);
      onReport(await runWorker({ ...options, target: target.name, inputs, progress }));
    }
  };
  try {
    const runners = Math.max(1, Math.min(targets.length, availableParallelism()));
    await Promise.all(Array.from({ length: runners }, runQueue));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** One worker's report, or one that says how it was lost. */
async function runWorker(assignment: Assignment): Promise<TargetReport> {
  writeProgress(openSync(assignment.progress, 'w'), assignment.first, true);
  let report: TargetReport | undefined;
  const worker = new Child({
    program: WORKER,
    args: [JSON.stringify(assignment)],
    isShown: true,
    onMessage: (message) => {
      report = message as TargetReport;
    },
  });
  let isHung = false;
  let lastIndex = -1;
  let sinceMs = performance.now();
  const timer = setInterval(() => {
    const index = readProgress(assignment.progress);
    if (index !== lastIndex) sinceMs = performance.now();
    lastIndex = index;
    if (performance.now() - sinceMs < HUNG_MS || report !== undefined) return;
    isHung = true;
    worker.kill();
  }, CHECK_EVERY_MS);
  const { code, signal, error } = await worker.gone;
  clearInterval(timer);
  if (error !== undefined) throw error;
  const how = isHung ? `hung for ${HUNG_MS / 1000} s` : `ended by ${signal ?? `code ${code}`}`;
  return report ?? lostReport(assignment, how);
}

function lostReport({ target, seed, first, progress }: Assignment, how: string): TargetReport {
  const index = readProgress(progress);
  const found = TARGETS.find(({ name }) => name === target);
  const hex = found === undefined ? '' : inputOf(found, seed, index).toString('hex');
  const from = Math.max(first, index - SUSPECTS + 1);
  const what = `the process ${how} at this input, or at one since ${from}`;
  return {
    target,
    inputs: index - first,
    outcomes: { lost: 1 },
    slowestUs: 0,
    slowestIndex: index,
    failures: [{ index, hex, what }],
  };
}

/** Writes an index to a progress file. */
export function writeProgress(file: number, index: number, isLast = false): void {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(index);
  writeSync(file, bytes, 0, 8, 0);
  if (isLast) closeSync(file);
}

function readProgress(path: string): number {
  const file = openSync(path, 'r');
  const bytes = Buffer.alloc(8);
  readSync(file, bytes, 0, 8, 0);
  closeSync(file);
  return bytes.readDoubleBE();
}
