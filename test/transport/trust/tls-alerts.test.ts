/** Peers of another TLS library refuse certificates by an alert: nodes learn the same of it as of a refusal of ours. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { MeshError, MeshErrorCode } from '../../../src/errors.js';
import type { NodeEvent, TlsMaterial } from '../../../src/index.js';
import { errorOfClose } from '../../../src/transport/quic/binding/close-codes.js';
import { TLS_ALERTS } from '../../../src/transport/trust/tls-alerts.js';
import { handshakeError } from '../../../src/transport/trust/tls-errors.js';
import {
  certNamed,
  expiredCert,
  nodeCert,
  notYetValidCert,
  otherCaCert,
  wrongUsageCert,
} from '../../helpers/certs.js';
import { startNode, targetOf } from '../../helpers/nodes.js';
import { until } from '../../helpers/until.js';

/** What the node shows, and what it learns of the alert that OpenSSL sends. */
const SHOWN: Record<string, [() => Promise<TlsMaterial>, MeshErrorCode]> = {
  'of another CA': [() => otherCaCert('n2'), 'CertificateUntrusted'],
  'that has expired': [() => expiredCert('n2'), 'CertificateExpired'],
  'for mail': [() => wrongUsageCert('n2'), 'CertificateUsage'],
  // OpenSSL has no better alert.
  'to come': [() => notYetValidCert('n2'), 'CertificateInvalid'],
};

for (const [title, [material, code]] of Object.entries(SHOWN)) {
  test(`an acceptor with a certificate ${title} learns ${code} of OpenSSL's alert`, async (t) => {
    const n2 = await startNode(t, 'n2', {
      tls: await withDevCa(material()),
      transports: ['tcp'],
      // OpenSSL's command does not knock.
      admission: { silent: 'off' },
    });
    const refused = nextRefusal(n2.status());
    const { host, port } = targetOf(n2);
    await openssl(t, ['s_client', '-connect', `${host}:${port}`, '-quiet']);
    t.like(await refused, { code, side: 'remote' });
  });

  test(`a dialer with a certificate ${title} learns ${code} of OpenSSL's alert`, async (t) => {
    const server = await openssl(t, ['s_server', '-accept', '127.0.0.1:0', '-Verify', '5']);
    const port = await listeningPort(server);
    const tls = await withDevCa(material());
    const n2 = await startNode(t, 'n2', { tls, transports: ['tcp'] });
    const dialed = n2.connect({ nodeId: 'n1', host: '127.0.0.1', port });
    t.like(await t.throwsAsync(dialed), { code, side: 'remote' });
  });
}

test('both transports have the same codes for all alerts', (t) => {
  for (const [number, { code, name, text }] of TLS_ALERTS) {
    const ofTcp = handshakeError(Object.assign(new Error('x'), { code: `ERR_SSL_${name}` }));
    const close = { isApp: false, errorCode: 0x100 + number, reason: new Uint8Array() };
    const ofQuic = errorOfClose(close, 'remote', false);
    for (const error of [ofTcp, ofQuic]) t.like(error, { code, message: text, side: 'remote' });
  }
  const unknown = { isApp: false, errorCode: 0x100 + 51, reason: new Uint8Array() };
  t.is(errorOfClose(unknown, 'remote', false).code, 'TlsFailure');
  const ofTcp = Object.assign(new Error('x'), { code: 'ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR' });
  t.like(handshakeError(ofTcp), { code: 'TlsFailure', side: 'remote' });
});

/** The other side's CA, so that only one refuses. */
async function withDevCa(material: Promise<TlsMaterial>): Promise<TlsMaterial> {
  return { ...(await material), ca: (await nodeCert('n1')).ca };
}

/** OpenSSL as n1, which trusts the CA of test nodes and demands what it can. */
async function openssl(t: ExecutionContext, args: readonly string[]): Promise<ChildProcess> {
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-alerts-'));
  const { ca, cert, key } = await certNamed('n1');
  const files = { ca, cert, key };
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(directory, `${name}.pem`), text);
  }
  const own = ['-cert', 'cert.pem', '-key', 'key.pem', '-CAfile', 'ca.pem'];
  const child = spawn('openssl', [...args, ...own, '-verify_return_error', '-alpn', 'quicmesh/1'], {
    cwd: directory,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(directory, { recursive: true, force: true });
  });
  return child;
}

async function listeningPort({ stdout }: ChildProcess): Promise<number> {
  let said = '';
  stdout?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const port = () => /ACCEPT 127\.0\.0\.1:(\d+)/.exec(said)?.[1];
  await until(() => port() !== undefined);
  return Number(port());
}

async function nextRefusal(events: AsyncIterable<NodeEvent>): Promise<MeshError | undefined> {
  for await (const event of events) {
    if (event.kind === 'refused') return event.error;
  }
  return undefined;
}
