/** The mesh demonstration as its users run it, while all certificates and then the CA are replaced. */
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { CallCounts } from '../../scripts/mesh/protocol.js';
import { MeshCommand } from '../helpers/mesh-command.js';

/** What `--json` ends with, as far as it is looked at here. */
interface Summary {
  readonly calls: CallCounts;
  readonly rotation: {
    readonly steps: readonly {
      readonly step: string;
      readonly tookMs: number;
      readonly calls: {
        readonly made: number;
        readonly failed: number;
        readonly longestMs: number;
      };
    }[];
    readonly oldCertificate: readonly {
      readonly transport: string;
      readonly refusedWith: string;
    }[];
  };
}

for (const transport of ['auto', 'tcp'] as const) {
  test(`--transport ${transport}: certificates and CA are replaced under load, no call fails, and old ones are refused`, async (t) => {
    t.timeout(120_000);
    const certs = await mkdtemp(join(tmpdir(), 'quicmesh-mesh-'));
    t.teardown(() => rm(certs, { recursive: true, force: true }));
    const mesh = new MeshCommand(t, [
      ...['--rotate-certs', '--nodes', '3', '--rate', '150', '--seconds', '0.3', '--json'],
      ...['--transport', transport, '--certs', certs],
    ]);
    t.deepEqual(await mesh.ended, { code: 0, signal: null }, mesh.stderr);
    const { calls, rotation } = JSON.parse(mesh.stdout) as Summary;
    t.true(calls.sent > 0);
    t.like(calls, { succeeded: calls.sent, failed: 0 });
    const each = (what: string) => ['n1', 'n2', 'n3'].map((nodeId) => `${nodeId} gets ${what}`);
    t.deepEqual(
      rotation.steps.map(({ step }) => step),
      [
        ...each('another certificate'),
        'all trust the new CA as well',
        ...each('a certificate of the new CA'),
        'all trust the new CA alone',
      ],
    );
    for (const { tookMs, calls: during } of rotation.steps) {
      t.true(tookMs > 0 && during.made > 0 && during.longestMs > 0);
      t.is(during.failed, 0);
    }
    const over = transport === 'auto' ? ['quic', 'tcp'] : ['tcp'];
    t.deepEqual(
      rotation.oldCertificate,
      over.map((name) => ({ transport: name, refusedWith: 'CertificateUntrusted' })),
    );
    t.regex(mesh.stderr, /n2 gets a certificate of the new CA +in [\d,]+ ms +[\d,]+ calls/);
    t.regex(mesh.stderr, /✓ certificates and CA replaced, 3 links up, no call failed/);
    // The directory's own are as they were: what was replaced are copies.
    const [ca, n1] = await Promise.all(
      ['ca.pem', 'n1.pem'].map(
        async (name) => new X509Certificate(await readFile(join(certs, name))),
      ),
    );
    t.true(n1?.checkIssued(ca as X509Certificate));
  });
}
