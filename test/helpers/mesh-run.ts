/** The mesh command as tests run it: to its end, or until they end it. */
import type { ExecutionContext } from 'ava';
import { type CallCounts, zeroCounts } from '../../scripts/mesh/protocol.js';
import type { MessageType } from '../../src/index.js';
import { MeshCommand, stillAlive } from './mesh-command.js';

/** A test's directory, and where the certificates of its meshes are made and found. */
export interface MeshDirectories {
  directory: string;
  certs: string;
}

/** What `--json` ends with. */
export interface Summary {
  nodes: number;
  seconds: number;
  links: { from: string; to: string; transport: string; rttMs: number }[];
  calls: CallCounts & { byType: Record<MessageType, CallCounts> };
  latencyMs: { p50: number; p99: number };
  transfer: { bytes: number; sha256: string; verifiedBy: string[] } | null;
}

/** A mesh of three, whose links are all over the transport that is expected. */
export async function assertAllLinked(
  t: ExecutionContext<MeshDirectories>,
  transport: string,
  expected: string,
): Promise<void> {
  const { summary, stderr } = await runToEnd(t, ['--nodes', '3', '--transport', transport]);
  t.like(summary, { nodes: 3, seconds: 1, transfer: null });
  t.deepEqual(
    summary.links.map(({ from, to, transport: over }) => [from, to, over]),
    [
      ['n1', 'n2', expected],
      ['n1', 'n3', expected],
      ['n2', 'n3', expected],
    ],
  );
  for (const { rttMs } of summary.links) t.true(rttMs > 0 && rttMs < 1000);
  assertCalls(t, summary, 3);
  t.regex(stderr, new RegExp(`3 links over ${expected} in \\d+ ms`));
  t.regex(stderr, /✓ 3 links up, no call failed/);
}

/** The command, with the certificates of the test. */
export function command(
  t: ExecutionContext<MeshDirectories>,
  args: readonly string[],
): MeshCommand {
  return new MeshCommand(t, ['--certs', t.context.certs, ...args]);
}

/** A mesh of three in the middle of a long workload. */
export async function running(t: ExecutionContext<MeshDirectories>): Promise<MeshCommand> {
  const mesh = command(t, ['--nodes', '3', '--seconds', '60', '--json']);
  await mesh.said(/of 60 s +[1-9]/);
  t.is(mesh.nodePids.length, 3);
  t.deepEqual(await stillAlive(mesh.nodePids, 0), mesh.nodePids);
  return mesh;
}

/** One second of calls, up to the summary that the last line of standard output holds. */
export async function runToEnd(
  t: ExecutionContext<MeshDirectories>,
  args: readonly string[],
): Promise<{ summary: Summary; stderr: string }> {
  const mesh = command(t, ['--seconds', '1', '--json', ...args]);
  t.deepEqual(await mesh.ended, { code: 0, signal: null }, mesh.stderr);
  t.regex(mesh.stdout, /^\{.*\}\n$/, 'one line and nothing else');
  t.deepEqual(await stillAlive(mesh.nodePids, 0), []);
  return { summary: JSON.parse(mesh.stdout) as Summary, stderr: mesh.stderr };
}

/** No call has failed, and there were calls of every type. */
export function assertCalls(
  t: ExecutionContext,
  { calls, latencyMs }: Summary,
  links: number,
): void {
  t.is(calls.failed, 0);
  t.is(calls.sent, calls.succeeded);
  t.deepEqual(Object.keys(calls.byType), Object.keys(zeroCounts()));
  for (const [type, { sent, succeeded, failed }] of Object.entries(calls.byType)) {
    t.true(sent > 0, type);
    t.is(succeeded, sent, type);
    t.is(failed, 0, type);
  }
  t.is(calls.byType.handshakeRequest.sent, links);
  t.is(calls.byType.pong.sent, calls.byType.ping.sent);
  t.true(latencyMs.p50 > 0 && latencyMs.p99 >= latencyMs.p50);
}
