/** The mesh demonstration as its users run it, while all its nodes restart one after the other. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { CallCounts } from '../../scripts/mesh/protocol.js';
import type { MessageType } from '../../src/index.js';
import { MeshCommand } from '../helpers/mesh-command.js';

/** What `--json` ends with, as far as it is looked at here. */
interface Summary {
  readonly calls: CallCounts & { byType: Record<MessageType, CallCounts> };
  readonly restarts: readonly {
    readonly nodeId: string;
    readonly drainedInMs: number;
    readonly awayMs: number;
    readonly linksUpInMs: number;
    readonly calls: { readonly made: number; readonly failed: number; readonly longestMs: number };
  }[];
}

test('nodes restart one after the other under load, and no call fails', async (t) => {
  const certs = await mkdtemp(join(tmpdir(), 'quicmesh-mesh-'));
  t.teardown(() => rm(certs, { recursive: true, force: true }));
  const mesh = new MeshCommand(t, [
    ...['--rolling-restart', '--nodes', '3', '--rate', '150', '--seconds', '0.5', '--json'],
    ...['--certs', certs],
  ]);
  t.deepEqual(await mesh.ended, { code: 0, signal: null }, mesh.stderr);
  const { calls, restarts } = JSON.parse(mesh.stdout) as Summary;
  t.true(calls.sent > 0);
  t.like(calls, { succeeded: calls.sent, failed: 0 });
  t.is(calls.byType.handshakeRequest.sent, 3 + 3 * 2, 'links formed, and formed again');
  t.deepEqual(
    restarts.map(({ nodeId }) => nodeId),
    ['n1', 'n2', 'n3'],
  );
  for (const { drainedInMs, awayMs, linksUpInMs, calls: during } of restarts) {
    t.true(drainedInMs > 0 && awayMs >= 1000 && linksUpInMs > 0);
    t.true(during.made > 0 && during.longestMs > 0);
    t.is(during.failed, 0);
  }
  t.regex(mesh.stderr, /n2 +drained in [\d,]+ ms, away [\d,]+ ms, links up in [\d,]+ ms/);
  t.regex(mesh.stderr, /✓ 3 nodes restarted, 3 links up, no call failed/);
});
