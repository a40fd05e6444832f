/** A client in Python, written from SPEC.md alone, is served and refused as SPEC.md says. Needs python3 and cbor2. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import test from 'ava';
import { TYPESCRIPT } from '../../scripts/children/typescript.js';

const run = promisify(execFile);
/** Debian's python3-cbor2 belongs to Debian's own Python, which need not be the first on the path. */
const PYTHONS = ['/usr/bin/python3', 'python3'];

const SCENARIOS = [
  'handshake',
  'bulk',
  'ping',
  'query',
  'request',
  'error',
  'unknown-type',
  'unknown-field',
  'upload',
  'download',
  'damaged-upload',
  'resumed-upload',
  'both',
  'one-way',
  'cancel',
  'parallel',
  'redundant',
  'silence',
  'refused-cluster',
  'refused-version',
  'refused-order',
  'bad-checksum',
  'bad-flags',
  'bad-version',
  'too-large',
  'bad-id',
  'over-credit',
  'go-away',
  'bad-stream',
  'bad-go-away',
  'close',
];

const python = PYTHONS.find((candidate) => {
  try {
    execFileSync(candidate, ['-c', 'import cbor2, ssl, zlib'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
});

test('a client written from SPEC.md alone is served over TCP, and refused where it must be', async (t) => {
  if (python === undefined) {
    t.is(process.env.CI, undefined, 'CI must be able to run it: install python3-cbor2');
    t.log('skipped: python3 or its module cbor2 is missing');
    return;
  }
  const server = spawn(process.execPath, [...TYPESCRIPT, 'test/interop/server.ts'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => server.kill());
  const [line] = (await once(createInterface(server.stdout), 'line')) as [string];
  const { port, goingAwayPort, nodeId, ...same } = JSON.parse(line) as Record<string, string>;
  for (const [to, scenarios] of [
    [port, SCENARIOS],
    [goingAwayPort, ['gone-away']],
  ] as const) {
    const options = { ...same, port: to, 'node-id': nodeId };
    const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const { stdout } = await run(python, ['test/interop/client.py', ...args, ...scenarios], {
      timeout: 50_000,
    });
    const results = stdout
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text) as { scenario: string; ok: boolean });
    for (const result of results) t.true(result.ok, JSON.stringify(result));
    t.deepEqual(
      results.map(({ scenario }) => scenario),
      scenarios,
    );
  }
  server.stdin.end();
  const [code] = (await once(server, 'exit')) as [number | null];
  t.is(code, 0);
});

test('it makes and judges knocks as the vectors say', async (t) => {
  if (python === undefined) {
    t.is(process.env.CI, undefined, 'CI must be able to run it: install python3-cbor2');
    t.log('skipped: python3 or its module cbor2 is missing');
    return;
  }
  const args = ['test/interop/client.py', '--vectors', 'test/vectors/knocks.json'];
  const { stdout } = await run(python, args, { timeout: 50_000 });
  const result = JSON.parse(stdout) as { ok: boolean; vectors: number };
  t.true(result.ok, stdout);
  t.true(result.vectors >= 30, stdout);
});
