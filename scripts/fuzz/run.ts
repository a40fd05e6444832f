/** Runs one target over its inputs, within one process. */
import { MeshError } from '../../src/errors.js';
import { mutated } from './mutate.js';
import { Random } from './random.js';
import type { Step, Target } from './targets.js';

/** The longest that one input may hold up the event loop. */
export const LIMIT_MS = 50;
/** Inputs that other threads work on at the same time. */
const MAX_IN_FLIGHT = 32;
const MAX_FAILURES = 5;
/** A machine has other things to do, and memory to collect: an input is slow if it is slow every time. */
const SECOND_CHANCES = 3;

export interface FuzzRun {
  readonly target: Target;
  readonly seed: number;
  /** Index of the first input, for one seed. */
  readonly first: number;
  readonly inputs: number;
  /** Called before each input, so that whoever watches knows what it was. */
  readonly onInput?: (index: number) => void;
}

/** An input that came to an end that it must not come to. */
export interface Failure {
  readonly index: number | undefined;
  readonly hex: string;
  readonly what: string;
}

export interface TargetReport {
  readonly target: string;
  readonly inputs: number;
  /** How many inputs came to which end: a code, or the target's own name for it. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly slowestUs: number;
  readonly slowestIndex: number;
  readonly failures: readonly Failure[];
}

/** The input of an index: always the same for one seed and one corpus. */
export function inputOf(target: Target, seed: number, index: number): Buffer {
  const random = new Random(seed, index, ...Buffer.from(target.name));
  const input = mutated(target.seeds, random);
  return target.repair === undefined ? input : target.repair(input, random);
}

/** Runs a target. Ends early after some failures. */
export async function runTarget(run: FuzzRun): Promise<TargetReport> {
  const { target, seed, first, inputs, onInput } = run;
  const tally = new Tally();
  const inFlight = new Set<Promise<void>>();
  let index = first;
  for (; index < first + inputs && tally.failures.length < MAX_FAILURES; index += 1) {
    onInput?.(index);
    const input = inputOf(target, seed, index);
    const end = endOf(target, input);
    if (!(end instanceof Promise)) {
      await tally.add(target, input, index, end);
      continue;
    }
    const at = index;
    const done = end
      .then((late) => tally.add(target, input, at, late))
      .finally(() => inFlight.delete(done));
    inFlight.add(done);
    if (inFlight.size >= MAX_IN_FLIGHT) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  return { target: target.name, inputs: index - first, ...tally.report() };
}

/** Runs one given input. */
export async function runInput(target: Target, input: Buffer): Promise<TargetReport> {
  const tally = new Tally();
  await tally.add(target, input, undefined, await endOf(target, input));
  return { target: target.name, inputs: 1, ...tally.report() };
}

/** What became of an input. */
interface End {
  readonly outcome: string;
  /** Why that must not be. */
  readonly failure: string | undefined;
  /** The longest stretch on the event loop. */
  readonly ms: number;
}

class Tally {
  readonly failures: Failure[] = [];
  readonly #outcomes = new Map<string, number>();
  #slowestMs = 0;
  #slowestIndex = 0;

  /** Counts an end. What would be the slowest input so far is run again first. */
  async add(target: Target, input: Buffer, index: number | undefined, end: End): Promise<void> {
    const { outcome, failure } = end;
    let { ms } = end;
    for (let again = 0; ms > this.#slowestMs && again < SECOND_CHANCES; again += 1) {
      ms = Math.min(ms, (await endOf(target, input)).ms);
    }
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    if (ms > this.#slowestMs) {
      this.#slowestMs = ms;
      this.#slowestIndex = index ?? 0;
    }
    const what = failure ?? (ms > LIMIT_MS ? `held up the event loop for ${ms.toFixed(1)} ms` : '');
    if (what !== '') this.failures.push({ index, hex: input.toString('hex'), what });
  }

  report(): Pick<TargetReport, 'outcomes' | 'slowestUs' | 'slowestIndex' | 'failures'> {
    const byCount = [...this.#outcomes].sort(([, a], [, b]) => b - a);
    return {
      outcomes: Object.fromEntries(byCount),
      slowestUs: Math.round(this.#slowestMs * 1000),
      slowestIndex: this.#slowestIndex,
      failures: this.failures,
    };
  }
}

/** Runs an input to its end: at once, unless other threads have a part in it. */
function endOf(target: Target, input: Buffer): End | Promise<End> {
  // Each run gets bytes of its own: decoders may keep or change what they are given.
  const own = Buffer.from(input);
  return follow(target, () => target.run(own), 0);
}

function follow(target: Target, work: () => Step, soFarMs: number): End | Promise<End> {
  const startMs = performance.now();
  let step: Step;
  try {
    step = work();
  } catch (error) {
    return thrown(target, error, Math.max(soFarMs, performance.now() - startMs));
  }
  const ms = Math.max(soFarMs, performance.now() - startMs);
  if (typeof step === 'string') return { outcome: step, failure: undefined, ms };
  return step.then((next) => follow(target, next, ms));
}

function thrown(target: Target, error: unknown, ms: number): End {
  if (error instanceof MeshError && target.codes.includes(error.code)) {
    return { outcome: error.code, failure: undefined, ms };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { outcome: 'failure', failure: text.split('\n').slice(0, 4).join('\n'), ms };
}
