import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';

const run = promisify(execFile);

test('the codec suite reports its figures as JSON', async (t) => {
  const args = ['--import', 'tsx', 'scripts/bench.ts', 'codec', '--quick', '--json'];
  const { stdout } = await run(process.execPath, args, { timeout: 120_000 });
  const { reports, machine, quick } = JSON.parse(stdout) as {
    reports: { suite: string; rows: string[][]; targets: { value: number }[] }[];
    machine: string;
    quick: boolean;
  };
  t.true(quick);
  t.true(machine.includes(process.versions.node));
  const [codec] = reports;
  t.is(codec?.suite, 'codec');
  t.is(codec?.rows.length, 3);
  // Whether it is fast enough is for people to read; a busy machine must not fail a test.
  t.true((codec?.targets[0]?.value ?? 0) > 0);
});

test('an unknown suite is one clear line and a failure', async (t) => {
  const failure = await t.throwsAsync(
    run(process.execPath, ['--import', 'tsx', 'scripts/bench.ts', 'speed']),
  );
  const { stderr } = failure as Error & { stderr: string };
  t.regex(stderr, /speed.*codec/);
});
