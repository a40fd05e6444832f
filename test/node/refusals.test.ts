/** Every way of not being let in: each has its own code, the same on both transports, and both sides see it. */
import { X509Certificate } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { Alarms } from '../../src/base/alarms.js';
import { MeshError, type MeshErrorCode } from '../../src/errors.js';
import type { MeshNode, NodeEvent, NodeOptions, TlsMaterial } from '../../src/index.js';
import { MessageCodec } from '../../src/protocol/codec.js';
import type { Connection, DialTarget } from '../../src/transport/connection.js';
import { DEFAULT_STREAM_LIMITS } from '../../src/transport/connection.js';
import { dialHandshake } from '../../src/transport/dialing/handshaker.js';
import { resolveAdmissionLimits } from '../../src/transport/quic/admission/admission-policy.js';
import { createNativeConfig } from '../../src/transport/quic/binding/config.js';
import { DEFAULT_INITIAL_WINDOW_BYTES } from '../../src/transport/quic/binding/congestion-control.js';
import { loadNative } from '../../src/transport/quic/binding/native.js';
import { QuicEndpoint } from '../../src/transport/quic/endpoint/endpoint.js';
import { newEndpointCounters } from '../../src/transport/quic/io/counters.js';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { TrustStore } from '../../src/transport/trust/identity.js';
import {
  certNamed,
  devCerts,
  expiredCert,
  nodeCert,
  notYetValidCert,
  otherCaCert,
  wrongUsageCert,
} from '../helpers/certs.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { opensslCrl } from '../helpers/openssl-crls.js';
import { newKnock } from '../helpers/quic/knocking.js';

/** Dials with options of its own; n2 is the listener, and n3 is always welcome. */
interface Case {
  readonly title: string;
  readonly code: MeshErrorCode;
  readonly dialer?: () => Promise<Partial<NodeOptions>>;
  readonly listener?: () => Promise<Partial<NodeOptions>>;
  /** Who finds out: the other side is told. Default the listener. */
  readonly refusedBy?: 'dialer' | 'listener';
  /** To a silent node it is a stranger. */
  readonly answersStrangers?: boolean;
}

const withGoodCa = async (bad: Promise<TlsMaterial>): Promise<Partial<NodeOptions>> => {
  const { ca } = await devCerts();
  return { tls: { ...(await bad), ca } };
};

async function crlOf(nodeId: 'n1' | 'n2'): Promise<Uint8Array> {
  const { ca, caKey, nodes } = await devCerts();
  return (await opensslCrl({ ca, caKey, revoked: [nodes[nodeId].cert] })).der;
}

const CASES: readonly Case[] = [
  {
    title: 'a dialer with a certificate of another CA',
    code: 'CertificateUntrusted',
    dialer: () => withGoodCa(otherCaCert('n1')),
  },
  {
    title: 'a listener with a certificate of another CA',
    code: 'CertificateUntrusted',
    listener: () => withGoodCa(otherCaCert('n2')),
    refusedBy: 'dialer',
  },
  {
    title: 'a dialer whose certificate has expired',
    code: 'CertificateExpired',
    dialer: () => withGoodCa(expiredCert('n1')),
  },
  {
    title: 'a listener whose certificate has expired',
    code: 'CertificateExpired',
    listener: () => withGoodCa(expiredCert('n2')),
    refusedBy: 'dialer',
  },
  {
    title: 'a dialer whose certificate is not valid yet',
    code: 'CertificateNotYetValid',
    dialer: () => withGoodCa(notYetValidCert('n1')),
  },
  {
    title: 'a dialer whose certificate is for something else',
    code: 'CertificateUsage',
    dialer: () => withGoodCa(wrongUsageCert('n1')),
  },
  {
    title: 'a dialer whose certificate was revoked',
    code: 'CertificateRevoked',
    listener: async () => {
      const { cert } = await nodeCert('n1');
      const revoked = [new X509Certificate(cert).fingerprint256];
      return { tls: { ...(await nodeCert('n2')), revoked } };
    },
  },
  {
    title: 'a listener whose certificate was revoked',
    code: 'CertificateRevoked',
    dialer: async () => {
      const { cert } = await nodeCert('n2');
      const revoked = [new X509Certificate(cert).serialNumber];
      return { tls: { ...(await nodeCert('n1')), revoked } };
    },
    refusedBy: 'dialer',
  },
  {
    title: 'a dialer whose certificate is on a CRL',
    code: 'CertificateRevoked',
    listener: async () => ({ tls: { ...(await nodeCert('n2')), crl: await crlOf('n1') } }),
  },
  {
    title: 'a listener whose certificate is on a CRL',
    code: 'CertificateRevoked',
    dialer: async () => ({ tls: { ...(await nodeCert('n1')), crl: await crlOf('n2') } }),
    refusedBy: 'dialer',
  },
  {
    title: 'a dialer that claims a node id its certificate does not have',
    code: 'CertificateNameMismatch',
    dialer: () => withGoodCa(certNamed('n4')),
  },
  {
    title: 'a listener whose certificate does not have the dialed node id',
    code: 'CertificateNameMismatch',
    listener: () => withGoodCa(certNamed('n4')),
    refusedBy: 'dialer',
  },
  {
    title: 'a dialer of another cluster',
    code: 'ClusterMismatch',
    dialer: async () => ({ cluster: 'another' }),
    answersStrangers: true,
  },
  {
    title: 'a dialer without the auth token',
    code: 'AuthTokenRejected',
    listener: async () => ({ auth: { token: 'secret' } }),
  },
];

for (const transport of TEST_TRANSPORTS) {
  for (const { title, code, dialer, listener, ...rest } of CASES) {
    const { refusedBy = 'listener', answersStrangers = false } = rest;
    const admission = answersStrangers ? ({ silent: 'off' } as const) : undefined;
    test(`${transport}: ${title} is refused with ${code}, known to both sides`, async (t) => {
      const n2Options = { transports: [transport], admission, ...(await listener?.()) };
      const n2 = await startNode(t, 'n2', n2Options);
      const n1 = await startNode(t, 'n1', { transports: [transport], ...(await dialer?.()) });
      const refusals = n2.status();
      const error = await t.throwsAsync(n1.connect(targetOf(n2)));
      const seen = await nextRefusal(refusals);
      if (refusedBy === 'listener') {
        t.like(error, { code, side: 'remote' });
        t.like(seen, { code, side: 'local' });
      } else {
        t.like(error, { code, side: 'local' });
        t.like(seen, { code, side: 'remote' });
      }
      t.is(n2.counters.handshakes.refused, 1);
      t.deepEqual(n2.peers, []);
      if (listener === undefined) await assertServesNext(t, n2, transport);
    });
  }

  test(`${transport}: a dialer without any certificate is refused with CertificateRequired`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const refusals = n2.status();
    const error = await t.throwsAsync(dialWithoutCertificate(t, transport, targetOf(n2)));
    t.like(error, { code: 'CertificateRequired', side: 'remote' });
    t.like(await nextRefusal(refusals), { code: 'CertificateRequired', side: 'local' });
    await assertServesNext(t, n2, transport);
  });

  test(`${transport}: a dialer of another version is refused with VersionUnsupported`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const refusals = n2.status();
    const tls = await nodeCert('n1');
    const own =
      transport === 'quic'
        ? new QuicTransport({ cluster: 'test', tls: () => tls })
        : new TcpTransport({ cluster: 'test', tls: () => tls });
    t.teardown(() => own.close());
    const connection = await own.dial(targetOf(n2));
    const error = await t.throwsAsync(handshake(connection, [2, 3]));
    t.like(error, { code: 'VersionUnsupported', side: 'remote' });
    t.like(await nextRefusal(refusals), { code: 'VersionUnsupported', side: 'local' });
    await assertServesNext(t, n2, transport);
  });

  test(`${transport}: a dialer that never shakes hands is let go with HandshakeTimeout`, async (t) => {
    const n2 = await startNode(t, 'n2', {
      transports: [transport],
      timeouts: { handshakeMs: 100 },
    });
    const refusals = n2.status();
    const tls = await nodeCert('n1');
    const own =
      transport === 'quic'
        ? new QuicTransport({ cluster: 'test', tls: () => tls })
        : new TcpTransport({ cluster: 'test', tls: () => tls });
    t.teardown(() => own.close());
    const connection = await own.dial(targetOf(n2));
    t.like(await connection.closed, { code: 'HandshakeTimeout', side: 'remote' });
    t.like(await nextRefusal(refusals), { code: 'HandshakeTimeout', side: 'local' });
    await assertServesNext(t, n2, transport);
  });
}

async function nextRefusal(events: AsyncIterator<NodeEvent>): Promise<MeshError | undefined> {
  for (;;) {
    const { value, done } = await events.next();
    if (done) return undefined;
    if (value.kind === 'refused') return value.error;
  }
}

async function assertServesNext(
  t: ExecutionContext,
  node: MeshNode,
  transport: TestTransport,
): Promise<void> {
  const n3 = await startNode(t, 'n3', { transports: [transport] });
  const peer = await n3.connect(targetOf(node));
  t.true((await peer.ping()) >= 0);
}

function handshake(connection: Connection, versions?: readonly number[]): Promise<unknown> {
  return dialHandshake(connection, {
    codec: new MessageCodec(),
    timeoutMs: 10_000,
    config: {
      nodeId: 'n1',
      cluster: 'test',
      ...(versions === undefined ? {} : { versions }),
      capabilities: {
        query: true,
        replication: true,
        consensus: true,
        dataTransfer: true,
        maxStreams: 100,
        maxMessageBytes: 1024 * 1024,
        compressions: [],
        checksum: true,
      },
    },
  });
}

/** A client that trusts the CA and shows nothing of its own: what no option of the library allows. */
async function dialWithoutCertificate(
  t: ExecutionContext,
  transport: TestTransport,
  target: DialTarget,
): Promise<unknown> {
  const { ca } = await devCerts();
  if (transport === 'tcp') {
    const own = new TcpTransport({ cluster: 'test', tls: () => ({ ca, cert: '', key: '' }) });
    t.teardown(() => own.close());
    return handshake(await own.dial(target));
  }
  const native = await loadNative();
  const bare = Object.create(native, {
    Config: {
      value: {
        withBoringSslCtx: (verify: boolean, allowFail: boolean) =>
          native.Config.withBoringSslCtx(verify, allowFail, null, null, null, null),
      },
    },
  });
  const tuning = { limits: DEFAULT_STREAM_LIMITS, idleTimeoutMs: 10_000, maxDatagramBytes: 1350 };
  const config = createNativeConfig(bare, { ca, cert: '', key: '' }, tuning);
  const trust = new TrustStore(ca);
  const endpoint = await QuicEndpoint.bind(
    { host: '127.0.0.1', port: 0 },
    {
      native,
      alarms: new Alarms(),
      limits: DEFAULT_STREAM_LIMITS,
      connectTimeoutMs: 5000,
      keepAliveMs: 5000,
      idleTimeoutMs: 30_000,
      admission: resolveAdmissionLimits({}),
      resetKey: 'none',
      migration: true,
      datagramLimits: () => ({ maxBytes: 1350, isFixed: true }),
      configFor: () => config,
      initialWindowBytes: DEFAULT_INITIAL_WINDOW_BYTES,
      isPaced: () => false,
      verifyDialer: (chain) => trust.verify(chain, 'dialer', Date.now()),
    },
    newEndpointCounters(),
  );
  t.teardown(async () => {
    await endpoint.close(new MeshError('NoError', 'test is over'));
  });
  const { connection, ready } = endpoint.dial(
    { host: target.host, port: target.port },
    {
      connectTimeoutMs: 5000,
      knock: newKnock({ ca }),
      verifyPeer: (chain) => trust.verify(chain, 'acceptor', Date.now()),
    },
  );
  await ready;
  return handshake(connection);
}
