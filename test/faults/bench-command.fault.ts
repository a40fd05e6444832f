import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { TYPESCRIPT } from '../../scripts/children/typescript.js';

const run = promisify(execFile);
const BENCH = [...TYPESCRIPT, 'scripts/bench.ts'];

interface Row {
  readonly name: string;
  readonly samples: readonly number[];
}

interface RunReport {
  readonly quick: boolean;
  readonly machine: string;
  readonly reports: readonly {
    readonly suite: string;
    readonly tables: readonly { readonly work: string; readonly rows: readonly Row[] }[];
    readonly notes: readonly string[];
    readonly verdicts: readonly { readonly title: string; readonly value?: number }[];
  }[];
}

async function resultsDirectory(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}

async function bench(t: ExecutionContext, ...options: string[]) {
  const directory = await resultsDirectory(t);
  const { stdout } = await run(
    process.execPath,
    [...BENCH, ...options, '--quick', '--json', '--out', directory],
    { timeout: 100_000 },
  );
  return { directory, report: JSON.parse(stdout) as RunReport };
}

test('the codec suite reports its figures as JSON', async (t) => {
  const { report } = await bench(t, 'codec', '--rounds', '3');
  t.true(report.quick);
  t.true(report.machine.includes(process.versions.node));
  const [codec] = report.reports;
  t.is(codec?.suite, 'codec');
  t.is(codec?.tables[0]?.rows.length, 3);
  // Whether it is fast enough is for people to read; a busy machine must not fail a test.
  t.true((codec?.verdicts[0]?.value ?? 0) > 0);
});

test('contenders run in processes of their own, and their figures become files', async (t) => {
  const { directory, report } = await bench(
    t,
    ...['unary', '--rounds', '2', '--works', 'many', '--peers', 'quicmesh-quic,bare-quic'],
  );
  const [unary] = report.reports;
  t.deepEqual(
    unary?.tables.map(({ work }) => work),
    ['many'],
  );
  t.deepEqual(
    unary?.tables[0]?.rows.map(({ name }) => name),
    ['quicmesh-quic', 'bare-quic'],
  );
  for (const { samples } of unary?.tables[0]?.rows ?? []) {
    t.is(samples.length, 2);
    t.true(samples.every((callsPerS) => callsPerS > 0));
  }
  // Of the targets only the one between these two.
  t.is(unary?.verdicts.length, 1);
  t.deepEqual((await readdir(directory)).sort(), ['unary-many.svg', 'unary.json', 'unary.md']);
  t.regex(await readFile(join(directory, 'unary-many.svg'), 'utf8'), /^<svg.*quicmesh-quic/s);
  t.regex(await readFile(join(directory, 'unary.md'), 'utf8'), /\| quicmesh-quic \|/);
});

test('the connect suite counts round trips of a link that delays', async (t) => {
  const { report } = await bench(
    t,
    ...['connect', '--rounds', '2', '--peers', 'quicmesh-quic,quicmesh-tcp'],
  );
  const [connect] = report.reports;
  t.deepEqual(
    connect?.tables.map(({ work }) => work),
    ['round-trips', 'time'],
  );
  const [, time] = connect?.tables ?? [];
  for (const { name, samples } of time?.rows ?? []) {
    t.is(samples.length, 2);
    // TLS takes a round trip of 50 ms unless it is resumed, TCP one before it, and the call one after it.
    const leastMs = { 'quicmesh-quic-resumed': 50, 'quicmesh-quic': 100 }[name] ?? 150;
    t.true(samples.every((sampleMs) => sampleMs >= leastMs));
  }
  t.true(connect?.verdicts.every(({ value = 0 }) => value > 0));
});

test('the start suite counts from the start of a process to its first reply', async (t) => {
  const peers = ['quicmesh-quic', 'bare-tls'];
  const { report } = await bench(t, 'start', '--rounds', '1', '--peers', peers.join(','));
  const [start] = report.reports;
  t.deepEqual(
    start?.tables.map(({ work }) => work),
    ['reply', 'cpu'],
  );
  for (const { rows } of start?.tables ?? []) {
    t.deepEqual(
      rows.map(({ name }) => name),
      peers,
    );
    // A process without work in it takes some milliseconds to begin.
    for (const { samples } of rows) t.true((samples[0] ?? 0) > 5);
  }
});

test('the loss suite measures over links that it makes, and removes', async (t) => {
  const { report } = await bench(
    t,
    ...['loss', '--rounds', '1', '--peers', 'quicmesh-quic,bare-tls'],
    ...['--works', 'calls-10ms-5,bulk-10mbit-0'],
  );
  const [loss] = report.reports;
  if (!(await canMakeLinks())) {
    t.regex(loss?.notes[0] ?? '', /^failed: /);
    t.log('skipped: it takes Linux, root, /dev/net/tun, a C compiler and network namespaces');
    return;
  }
  t.deepEqual(
    loss?.tables.map(({ work }) => work),
    ['calls-10ms-5-p50', 'calls-10ms-5-p99', 'bulk-10mbit-0'],
  );
  const [p50, , bulk] = loss?.tables ?? [];
  for (const { samples } of p50?.rows ?? []) t.true((samples[0] ?? 0) >= 10);
  // The link does what it says: about 98 of 1,000 are lost there or back.
  const note = loss?.notes.find((text) => text.startsWith('calls-10ms-5')) ?? '';
  const [, rttMs, lostPercent] = /: ([\d.]+) ms round trip, ([\d.]+) % lost/.exec(note) ?? [];
  t.true(Number(rttMs) >= 10);
  t.true(Number(lostPercent) > 3);
  // Nobody carries more than the link does.
  for (const { samples } of bulk?.rows ?? []) t.true((samples[0] ?? 11) <= 10);
  const { stdout } = await run('ip', ['netns', 'list']);
  const namesOfLiving = stdout.match(/quicmesh-bench-(\d+)/g) ?? [];
  for (const name of namesOfLiving) t.true(isAlive(Number(name.split('-').at(-1))));
});

test('the fairness suite tells what a flow of the kernel keeps beside ours', async (t) => {
  const { report } = await bench(
    t,
    ...['fairness', '--rounds', '1', '--works', 'cubic', '--peers', 'quicmesh-quic'],
  );
  const [fairness] = report.reports;
  if (!(await canMakeLinks())) {
    t.regex(fairness?.notes[0] ?? '', /^failed: /);
    t.log('skipped: as the loss suite');
    return;
  }
  t.deepEqual(
    fairness?.tables.map(({ work }) => work),
    ['cubic', 'cubic-both'],
  );
  const [kept, both] = fairness?.tables.map(({ rows }) => rows[0]) ?? [];
  t.is(kept?.name, 'quicmesh-quic');
  const [keptPercent = 0] = kept?.samples ?? [];
  const [bothPercent = 0] = both?.samples ?? [];
  // Both have a part of the link, whichever that is.
  t.true(keptPercent > 0);
  t.true(bothPercent > keptPercent);
});

test('a run that is stopped ends at once and leaves no process', async (t) => {
  const directory = await resultsDirectory(t);
  const parameters = ['unary', '--peers', 'bare-tls', '--out', directory];
  const child = spawn(process.execPath, [...BENCH, ...parameters], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'exit') as Promise<[number | null]>;
  let told = '';
  child.stderr.setEncoding('utf8');
  for await (const text of child.stderr) {
    told += text;
    if (told.includes('warm-up')) break;
  }
  const workers = await childrenOf(child.pid ?? 0);
  if (process.platform === 'linux') t.true(workers.length >= 2);
  child.kill('SIGINT');
  const [code] = await ended;
  t.is(code, 130);
  for (let tries = 0; tries < 50 && workers.some(isAlive); tries += 1) await sleep(20);
  t.false(workers.some(isAlive));
});

test('an unknown suite, contender or part is one clear line and a failure', async (t) => {
  for (const [parameters, line] of [
    [['speed'], /speed.*codec/],
    [['unary', '--peers', 'carrier-pigeon'], /no carrier-pigeon/],
    [['unary', '--works', 'little'], /no little/],
  ] as const) {
    const failure = await t.throwsAsync(run(process.execPath, [...BENCH, ...parameters]));
    const { stderr } = failure as Error & { stderr: string };
    t.regex(stderr, line);
  }
});

async function canMakeLinks(): Promise<boolean> {
  const name = `quicmesh-bench-test-${process.pid}`;
  const attempt = `command -v cc && test -c /dev/net/tun && ip netns add ${name} && ip netns delete ${name}`;
  const isMade = run('sh', ['-c', attempt]).then(
    () => true,
    () => false,
  );
  return process.platform === 'linux' && isMade;
}

/** Process ids, where the system has them as files. */
async function childrenOf(pid: number): Promise<number[]> {
  if (process.platform !== 'linux') return [];
  const list = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => undefined);
  if (list !== undefined) return list.trim().split(' ').filter(Boolean).map(Number);
  const { stdout } = await run('ps', ['-o', 'pid=', '--ppid', String(pid)]);
  return stdout.trim().split(/\s+/).map(Number);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
