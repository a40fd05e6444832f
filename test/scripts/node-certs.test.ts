/** Certificate files that are replaced under a running node come into force by themselves. */
import { X509Certificate } from 'node:crypto';
import { rm } from 'node:fs/promises';
import test from 'ava';
import { CertFiles, digestOf } from '../../scripts/mesh/cert-files.js';
import { NodeCerts } from '../../scripts/mesh/node-certs.js';
import { EventLog } from '../helpers/calling.js';
import { certNamed, nodeCert } from '../helpers/certs.js';
import { startNode } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

test('files that change are read once they rest; what cannot be used waits for the next change', async (t) => {
  await using files = await CertFiles.create();
  const [first, second, third] = [
    await nodeCert('n1'),
    await certNamed('n1'),
    await certNamed('n1'),
  ];
  await files.write('n1', first);
  const certs = new NodeCerts(files.of('n1'));
  const node = await startNode(t, 'n1', { tls: certs.read });
  const log = new EventLog(node);
  t.teardown(certs.follow(node));
  t.is(certs.report(node).inForce, digestOf(first));

  await files.write('n1', second);
  const { fingerprint256 } = await log.next('tlsReloaded');
  t.is(fingerprint256, new X509Certificate(second.cert).fingerprint256);
  await until(() => certs.report(node).inForce === digestOf(second));

  await files.write('n1', { ...third, key: first.key });
  await until(() => certs.report(node).flaw !== null);
  t.regex(certs.report(node).flaw as string, /does not belong/);
  t.is(certs.report(node).inForce, digestOf(second));

  // A file that is gone for a while changes nothing.
  await rm(files.of('n1').cert);
  await files.write('n1', third);
  await until(() => certs.report(node).inForce === digestOf(third));
  t.is(certs.report(node).flaw, null);
  t.is(log.events.filter(({ kind }) => kind === 'tlsReloaded').length, 2);
});
