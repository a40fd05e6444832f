/** A node's own certificates: the forms in which it takes them, and what it says of those that cannot serve. */
import { X509Certificate } from 'node:crypto';
import { Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { createNode, type MeshError, type MeshNode, type NodeOptions } from '../../src/index.js';
import type { TlsMaterial } from '../../src/transport/connection.js';
import { CA, CA_WITH_IDS } from '../helpers/certificate-cases.js';
import { devCerts, expiredCert, nodeCert, notYetValidCert, otherCaCert } from '../helpers/certs.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { opensslCerts } from '../helpers/openssl-certs.js';
import { OpensslPki } from '../helpers/openssl-pki.js';

const BOM = '\u{feff}';
const TRUNCATED = '-----BEGIN CERTIFICATE-----\nMIIB';

/** Forms of PEM that tools and editors make, of certificates and keys. */
const FORMS: Record<string, (pem: string) => string> = {
  'a byte order mark': (pem) => BOM + pem,
  'lines of Windows': (pem) => pem.replaceAll('\n', '\r\n'),
  'lines of Windows behind a byte order mark': (pem) => BOM + pem.replaceAll('\n', '\r\n'),
  indentation: (pem) => pem.replaceAll(/^(?=.)/gm, '    '),
  'text around': (pem) => `Bag Attributes\n    friendlyName: x - y\n${pem}that was all\0-----\n`,
  'no line end': (pem) => pem.trimEnd(),
  'labels of old': (pem) => pem.replaceAll(' CERTIFICATE-----', ' X509 CERTIFICATE-----'),
};

for (const transport of TEST_TRANSPORTS) {
  for (const [title, form] of Object.entries(FORMS)) {
    test.serial(`${transport}: PEM with ${title} is read`, async (t) => {
      const formed = ({ ca, cert, key }: TlsMaterial): TlsMaterial => ({
        ca: form(ca),
        cert: form(cert),
        key: form(key),
      });
      const options = { transports: [transport] };
      const n1 = await startNode(t, 'n1', { tls: formed(await nodeCert('n1')), ...options });
      const n2 = await startNode(t, 'n2', { tls: formed(await nodeCert('n2')), ...options });
      t.true((await (await n1.connect(targetOf(n2))).ping()) >= 0);
    });
  }

  test.serial(`${transport}: the CA may be anywhere in a PEM text`, async (t) => {
    const [{ ca: other }, own] = await Promise.all([otherCaCert('n9'), nodeCert('n2')]);
    for (const ca of [BOM + own.ca + other, other + BOM + own.ca]) {
      const n2 = await startNode(t, 'n2', { tls: { ...own, ca }, transports: [transport] });
      const n1 = await startNode(t, 'n1', { transports: [transport] });
      t.true((await (await n1.connect(targetOf(n2))).ping()) >= 0);
    }
  });
}

/** What can never serve, and a word of why. */
const REFUSED: Record<string, [() => Promise<TlsMaterial>, RegExp]> = {
  'a truncated certificate in the CAs': [
    async () => withCa((await nodeCert('n1')).ca + TRUNCATED),
    /PEM/,
  ],
  "a truncated certificate in one's own": [
    async () => {
      const own = await nodeCert('n1');
      return { ...own, cert: own.cert + TRUNCATED };
    },
    /PEM/,
  ],
  'a format of OpenSSL': [
    async () => withCa((await nodeCert('n1')).ca.replaceAll('BEGIN ', 'BEGIN TRUSTED ')),
    /TRUSTED CERTIFICATE/,
  ],
  'CAs that have expired': [
    async () => withCa(await made({ name: 'root', extensions: CA_WITH_IDS, from: -48, to: -24 })),
    /CN=root expired/,
  ],
  'an intermediate without its root': [
    async () => {
      const { issuer } = await opensslCerts({ kind: 'chain', nodeIds: ['n1'] });
      return withCa(issuer.ca);
    },
    /self-signed/,
  ],
  'a leaf among the CAs': [
    async () => {
      const { ca } = await nodeCert('n1');
      return withCa(ca + (await nodeCert('n2')).cert);
    },
    /CN=n2 may not issue/,
  ],
  'a CA that may not issue': [
    async () => withCa(await made({ name: 'root', extensions: 'basicConstraints = CA:FALSE' })),
    /may not issue/,
  ],
  'a CA without keyCertSign': [
    async () =>
      withCa(
        await made({ name: 'root', extensions: 'basicConstraints = CA:TRUE\nkeyUsage = cRLSign' }),
      ),
    /may not issue/,
  ],
  'a CA with a short key': [
    async () => withCa(await made({ name: 'root', kind: 'rsa-1024', extensions: CA_WITH_IDS })),
    /too short/,
  ],
  'a key that may not sign': [
    async () => {
      const extensions = 'keyUsage = critical, keyAgreement\nsubjectAltName = DNS:n1';
      return { ...(await selfSigned({ kind: 'ec', extensions })), ca: (await nodeCert('n1')).ca };
    },
    /digitalSignature/,
  ],
};

for (const [title, [material, why]] of Object.entries(REFUSED)) {
  test.serial(
    `${title}: InvalidOptions, at the start and at a reload, which changes nothing`,
    async (t) => {
      const bad = await material();
      const options = { nodeId: 'n1', cluster: 'test', logger: 'silent' } as const;
      for (const transports of [['quic'], ['tcp']] as const) {
        const error = await t.throwsAsync(createNode({ ...options, tls: bad, transports }));
        t.is((error as MeshError).code, 'InvalidOptions');
        t.regex((error as MeshError).message, why);
      }
      let tls: TlsMaterial = await nodeCert('n1');
      const n1 = await startNode(t, 'n1', { tls: () => tls });
      tls = bad;
      t.like(await t.throwsAsync(n1.reloadTls()), { code: 'InvalidOptions' });
      const n2 = await startNode(t, 'n2');
      t.true((await (await n1.connect(targetOf(n2))).ping()) >= 0);
    },
  );
}

for (const kind of ['rsa-pss', 'ed448'] as const) {
  test.serial(
    `a key of type ${kind} serves over TCP, both ways, and is InvalidOptions with QUIC`,
    async (t) => {
      const extensions = `${CA}, digitalSignature\nsubjectAltName = DNS:n1`;
      const own = await selfSigned({ kind, extensions });
      const { ca } = await devCerts();
      const n1 = await startNode(t, 'n1', { tls: { ...own, ca }, transports: ['tcp'] });
      for (const dialer of [n1, undefined]) {
        const judge = await nodeCert('n2');
        const tls = { ...judge, ca: judge.ca + own.cert };
        const n2 = await startNode(t, 'n2', { tls, transports: ['tcp'] });
        const peer =
          dialer === undefined ? await n2.connect(targetOf(n1)) : await n1.connect(targetOf(n2));
        t.true((await peer.ping()) >= 0);
        await n2.close();
      }
      const create = createNode({ nodeId: 'n1', cluster: 'test', tls: own, logger: 'silent' });
      const error = await t.throwsAsync(create);
      t.like(error, { code: 'InvalidOptions' });
      t.regex((error as MeshError).message, /QUIC/);
      let tls: TlsMaterial = await nodeCert('n1');
      const both = await startNode(t, 'n1', { tls: () => tls });
      tls = own;
      t.like(await t.throwsAsync(both.reloadTls()), { code: 'InvalidOptions' });
    },
  );
}

/** What is legal for a while, or where it is meant so, and what the log says. */
const DOUBTS: Record<string, [() => Promise<TlsMaterial>, object | undefined]> = {
  'certificates that are right': [() => nodeCert('n1'), undefined],
  'a certificate of a CA that this node does not trust yet': [
    async () => ({ ...(await nodeCert('n1')), ca: (await otherCaCert('n1')).ca }),
    { code: 'CertificateUntrusted' },
  ],
  'a certificate that has expired': [() => expiredCert('n1'), { code: 'CertificateExpired' }],
  'a certificate to come': [() => notYetValidCert('n1'), { code: 'CertificateNotYetValid' }],
  'a certificate that this node has revoked': [
    async () => {
      const own = await nodeCert('n1');
      return { ...own, revoked: [new X509Certificate(own.cert).fingerprint256] };
    },
    { code: 'CertificateRevoked' },
  ],
  'a CA to come': [
    async () => withCa(await made({ name: 'root', extensions: CA_WITH_IDS, from: 1, to: 2 })),
    { msg: 'no CA in tls.ca is valid yet: is the clock right?' },
  ],
};

for (const [title, [material, line]] of Object.entries(DOUBTS)) {
  test.serial(
    `${title}: the node starts, and ${line === undefined ? 'says nothing' : 'warns'}`,
    async (t) => {
      const tls = await material();
      const { node, lines } = await startLogged(t, { tls });
      await node.reloadTls();
      if (line === undefined) {
        t.deepEqual(lines, []);
        return;
      }
      for (const at of [lines.slice(0, lines.length / 2), lines.slice(lines.length / 2)]) {
        t.true(
          at.some((said) => {
            return Object.entries(line).every(([key, value]) => said[key] === value);
          }),
          JSON.stringify(lines),
        );
      }
    },
  );
}

async function startLogged(
  t: ExecutionContext,
  options: Partial<NodeOptions>,
): Promise<{ node: MeshNode; lines: Record<string, unknown>[] }> {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
      done();
    },
  });
  const logger = pino({ level: 'warn' }, stream);
  return { node: await startNode(t, 'n1', { logger, ...options }), lines };
}

async function withCa(ca: string): Promise<TlsMaterial> {
  return { ...(await nodeCert('n1')), ca };
}

/** One certificate of a new PKI. */
async function made(request: Parameters<OpensslPki['certificate']>[0]): Promise<string> {
  const pki = await OpensslPki.create();
  try {
    return await pki.certificate(request);
  } finally {
    await pki.close();
  }
}

/** A certificate that is its own CA. */
async function selfSigned(request: {
  kind: 'ec' | 'rsa-pss' | 'ed448';
  extensions: string;
}): Promise<TlsMaterial> {
  const pki = await OpensslPki.create();
  try {
    const digest = request.kind === 'ed448' ? 'null' : 'sha256';
    const cert = await pki.certificate({ name: 'own', digest, ...request });
    return { ca: cert, cert, key: await pki.key('own') };
  } finally {
    await pki.close();
  }
}
