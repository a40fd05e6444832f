/** A short run of `npm run fuzz`, and what it says when something does fail. */
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { TYPESCRIPT } from '../../scripts/children/typescript.js';
import { runTargets } from '../../scripts/fuzz/processes.js';
import { failureLines } from '../../scripts/fuzz/report.js';
import {
  inputOf,
  LIMIT_MS,
  runInput,
  runTarget,
  type TargetReport,
} from '../../scripts/fuzz/run.js';
import { type Step, TARGETS, type Target } from '../../scripts/fuzz/targets.js';
import { MeshError } from '../../src/errors.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function fuzz(...args: string[]): Promise<Ended> {
  const command = [...TYPESCRIPT, 'scripts/fuzz.ts', ...args];
  return new Promise((resolve) => {
    const options = { cwd: ROOT, timeout: 120_000 };
    const child = execFile(process.execPath, command, options, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

/** A target of the test's own. */
function targetOf(run: (input: Buffer) => Step): Target {
  const seeds = [Buffer.from('seed'), Buffer.alloc(40, 1)];
  return { name: 'mine', share: 1, seeds, codes: ['MalformedMessage'], run };
}

function runMine(run: (input: Buffer) => Step, inputs = 100): Promise<TargetReport> {
  return runTarget({ target: targetOf(run), seed: 1, first: 0, inputs });
}

test('20,000 inputs of a fresh seed, over all targets, and none fails', async (t) => {
  const seed = randomInt(2 ** 31);
  t.log(`seed ${seed}`);
  const { code, stdout, stderr } = await fuzz('--inputs', '20000', '--seed', `${seed}`);
  t.is(stderr, '');
  t.is(code, 0, stdout);
  t.true(stdout.includes(`seed ${seed}`));
  t.true(TARGETS.length >= 6);
  for (const { name } of TARGETS) t.regex(stdout, new RegExp(`^  ${name} +[\\d,]+ `, 'm'));
  const [, inputs] = stdout.match(/✓ ([\d,]+) inputs in/) as RegExpMatchArray;
  t.true(Number((inputs as string).replaceAll(',', '')) >= 20_000);
});

test('every target has seeds that come to good ends, and some that are refused', async (t) => {
  for (const target of TARGETS) {
    const ends = new Set<string>();
    for (const seed of target.seeds) {
      const { outcomes, failures } = await runInput(target, seed);
      t.deepEqual(failures, [], target.name);
      for (const end of Object.keys(outcomes)) ends.add(end);
    }
    const codes = [...ends].filter((end) => (target.codes as readonly string[]).includes(end));
    t.true(ends.size - codes.length >= 1, target.name);
    if (target.codes.length > 0) t.true(codes.length >= 2, `${target.name}: ${codes}`);
  }
});

test('one input can be run alone', async (t) => {
  const good = await fuzz('--target', 'cbor', '--hex', 'a1647479706564706f6e67');
  t.is(good.code, 0);
  t.regex(good.stdout, /cbor +1 .* pong 1/);
});

test('the same seed and index give the same input, others give others', (t) => {
  for (const target of TARGETS) {
    const inputs = Array.from({ length: 100 }, (_, index) =>
      inputOf(target, 7, index).toString('hex'),
    );
    t.true(new Set(inputs).size > 50, target.name);
    t.is(inputOf(target, 7, 42).toString('hex'), inputs[42] as string);
    const others = inputs.map((_, index) => inputOf(target, 8, index).toString('hex'));
    t.notDeepEqual(inputs, others);
  }
});

const THROWN: Readonly<Record<string, () => never>> = {
  'an error that is no MeshError': () => {
    throw new TypeError('x is not a function');
  },
  'a MeshError with a code that does not belong there': () => {
    throw new MeshError('InternalError', 'out of luck');
  },
};

for (const [what, fail] of Object.entries(THROWN)) {
  test(`${what} is a failure, at once or later, and ends the run after a few`, async (t) => {
    const later = async () => fail;
    for (const run of [fail, later]) {
      const { failures, inputs } = await runMine(run);
      t.true(failures.length >= 5 && inputs < 100);
      t.regex(failures[0]?.what as string, /^(TypeError: x is not|MeshError: out of luck)/);
      t.is(failures[0]?.hex, inputOf(targetOf(run), 1, failures[0]?.index ?? 0).toString('hex'));
    }
  });
}

test('a code that belongs there is an end like others', async (t) => {
  const { outcomes, failures } = await runMine((input) => {
    if (input.length % 2 === 0) return 'even';
    throw new MeshError('MalformedMessage', 'odd');
  });
  t.deepEqual(failures, []);
  t.deepEqual(Object.keys(outcomes).sort(), ['MalformedMessage', 'even']);
});

test('an input that holds up the event loop every time is a failure, one that did once is not', async (t) => {
  const always = await runInput(
    targetOf(() => busyFor(LIMIT_MS + 10)),
    Buffer.of(1),
  );
  t.regex(always.failures[0]?.what as string, /held up the event loop for \d+/);
  t.true(always.slowestUs > LIMIT_MS * 1000);
  let times = 0;
  const once = await runInput(
    targetOf(() => {
      times += 1;
      return times === 1 ? busyFor(LIMIT_MS + 10) : 'done';
    }),
    Buffer.of(1),
  );
  t.true(times > 1);
  t.deepEqual(once.failures, []);
  t.true(once.slowestUs < LIMIT_MS * 1000);
});

test('work after other threads is timed as well, waiting for them is not', async (t) => {
  const run = (): Step =>
    new Promise((resolve) => setTimeout(() => resolve(() => busyFor(LIMIT_MS + 10)), 100));
  const { failures, slowestUs } = await runInput(targetOf(run), Buffer.of(1));
  t.is(failures.length, 1);
  t.true(slowestUs > LIMIT_MS * 1000);
  const waiting = await runInput(
    targetOf(() => new Promise((resolve) => setTimeout(() => resolve(() => 'done'), 100))),
    Buffer.of(1),
  );
  t.deepEqual(waiting.failures, []);
});

test('a failure says what, the input, and how to run it again', async (t) => {
  const { failures } = await runInput(
    targetOf(THROWN['an error that is no MeshError']!),
    Buffer.of(1, 2),
  );
  const report = {
    target: 'mine',
    inputs: 1,
    outcomes: {},
    slowestUs: 1,
    slowestIndex: 0,
    failures,
  };
  const lines = failureLines(report, 7);
  t.regex(lines[0] as string, /^mine: TypeError: x is not a function/);
  t.deepEqual(lines.slice(1), ['  input 0102', '  again npm run fuzz -- --target mine --hex 0102']);
  const long = [{ index: 9, hex: '00'.repeat(5000), what: 'slow' }];
  t.deepEqual(failureLines({ ...report, failures: long }, 7).slice(2), [
    '  again npm run fuzz -- --target mine --seed 7 --first 9 --inputs 1',
  ]);
});

test('a process that is lost is reported', async (t) => {
  const reports: TargetReport[] = [];
  const lost = { ...(TARGETS[0] as Target), name: 'none-such' };
  await runTargets([lost], { seed: 1, inputs: 10, first: 5 }, (report) => reports.push(report));
  t.is(reports.length, 1);
  t.regex(reports[0]?.failures[0]?.what as string, /^the process ended by code 2 at this input/);
  t.is(reports[0]?.failures[0]?.index, 5);
});

for (const args of [
  ['--inputs', 'many'],
  ['--seed', '-1'],
  ['--target', 'none-such'],
  ['--hex', '0'],
  ['--hex', '00'],
]) {
  test(`${args.join(' ')} is refused`, async (t) => {
    const { code, stdout, stderr } = await fuzz(...args);
    t.is(code, 2);
    t.regex(stderr, /^error: [^\n]+\n$/);
    t.is(stdout, '');
  });
}

function busyFor(ms: number): string {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
  return 'done';
}
