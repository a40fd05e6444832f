import test from 'ava';
import { createNode, MeshError, type NodeOptions } from '../../src/index.js';
import { resolveOptions } from '../../src/node/options/resolve.js';
import { nodeCert } from '../helpers/certs.js';

const tls = await nodeCert('n1');
const MINIMAL = {
  nodeId: 'n1',
  cluster: 'test',
  tls: { ca: tls.ca, cert: tls.cert, key: tls.key },
} as const;

test('what is not given has the documented default, and the config is frozen', (t) => {
  const config = resolveOptions(MINIMAL);
  t.like(config, {
    transports: ['quic', 'tcp'],
    capabilities: { query: true, replication: true, consensus: true, dataTransfer: true },
    admission: {},
    limits: {
      messageBytes: 16 * 1024 * 1024,
      streams: 1024,
      connections: 4096,
      connectionsPerPeer: 64,
      callsPerPeer: 1024,
    },
    timeouts: {
      connectMs: 5000,
      fallbackDelayMs: 200,
      handshakeMs: 5000,
      idleMs: 30_000,
      keepAliveMs: 10_000,
      drainMs: 5000,
    },
    quic: {
      required: false,
      maxDatagramBytes: 'auto',
      earlyData: true,
      ticketKeyLifetimeMs: 43_200_000,
      migration: true,
      congestionControl: 'cubic',
    },
    renewal: { afterStreams: 4_000_000, afterMs: 86_400_000 },
    compression: { algorithms: ['lz4', 'zstd'], thresholdBytes: 4096 },
    checksum: true,
    retry: {
      attempts: 30,
      minDelayMs: 20,
      maxDelayMs: 1000,
      codes: [],
      budget: 1000,
      budgetRatio: 0.2,
    },
    logger: 'warn',
  });
  t.true(Object.isFrozen(config));
  t.false(resolveOptions({ ...MINIMAL, capabilities: { query: false } }).capabilities.query);
});

const WRONG: Readonly<Record<string, object>> = {
  nodeIdd: { nodeIdd: 'typo' },
  nodeId: { nodeId: 'not a name' },
  cluster: { cluster: '' },
  transports: { transports: [] },
  'transports names a transport twice': { transports: ['quic', 'quic'] },
  'transports.1': { transports: ['quic', { name: 'tcp', dial() {} }] },
  'listen.port': { listen: { host: '127.0.0.1', port: 65_536 } },
  'listen.host': { listen: { host: 'not an address', port: 1 } },
  'tls.key': { tls: { ca: tls.ca, cert: tls.cert } },
  'auth.token': { auth: { token: '' } },
  'limits.streams': { limits: { streams: 0 } },
  'limits.messageBytes': { limits: { messageBytes: 10 } },
  'timeouts.connectMs': { timeouts: { connectMs: 1.5 } },
  'timeouts connect': { timeouts: { connect: 1 } },
  'quic.maxDatagramBytes': { quic: { maxDatagramBytes: 100 } },
  'admission.maxHalfOpen': { admission: { maxHalfOpen: 0 } },
  'admission.retry': { admission: { retry: 'never' } },
  'admission threshold': { admission: { threshold: 1 } },
  'retry.attempts': { retry: { attempts: 0 } },
  'retry.codes': { retry: { codes: ['NodeClosed'] } },
  'retry minDelayMs is above maxDelayMs': { retry: { minDelayMs: 2, maxDelayMs: 1 } },
  'retry.budgetRatio': { retry: { budgetRatio: -1 } },
  'quic.earlyData': { quic: { earlyData: 1 } },
  'quic.sessionStore': { quic: { sessionStore: { put() {} } } },
  'quic.ticketKeyLifetimeMs': { quic: { ticketKeyLifetimeMs: 0 } },
  'renewal.afterStreams': { renewal: { afterStreams: 0 } },
  'compression.algorithms': { compression: { algorithms: ['gzip'] } },
  keyLogFile: { keyLogFile: '' },
  'tls.revoked': { tls: { ...tls, revoked: [1] } },
  logger: { logger: 'loud' },
};

for (const [named, wrong] of Object.entries(WRONG)) {
  test(`InvalidOptions names what is wrong: ${named}`, (t) => {
    const error = t.throws(() => resolveOptions({ ...MINIMAL, ...wrong } as NodeOptions), {
      instanceOf: MeshError,
    });
    t.like(error, { code: 'InvalidOptions', side: 'local', retryable: false });
    for (const word of named.split(' ')) t.true(error?.message.includes(word), error?.message);
  });
}

test('certificates that cannot be used are InvalidOptions, and leave nothing open', async (t) => {
  const listen = { host: '127.0.0.1', port: 0 };
  const other = await nodeCert('n2');
  for (const bad of [
    { ...MINIMAL.tls, ca: 'nothing' },
    { ...MINIMAL.tls, cert: 'nothing' },
    { ...MINIMAL.tls, key: 'nothing' },
    { ...MINIMAL.tls, key: other.key },
  ]) {
    for (const transports of [['quic'], ['tcp']] as const) {
      const created = createNode({ ...MINIMAL, tls: bad, listen, transports, logger: 'silent' });
      t.like(await t.throwsAsync(created), { code: 'InvalidOptions' });
    }
  }
});

test('reloadTls reads certificates again; ones that cannot be read leave the old in force', async (t) => {
  let current: { ca: string; cert: string; key: string } = MINIMAL.tls;
  const node = await createNode({ ...MINIMAL, tls: async () => current, logger: 'silent' });
  t.teardown(() => node.close());
  current = { ...current, ca: 'nothing' };
  t.like(await t.throwsAsync(node.reloadTls()), { code: 'InvalidOptions' });
  current = {} as typeof current;
  t.like(await t.throwsAsync(node.reloadTls()), { code: 'InvalidOptions' });
  current = MINIMAL.tls;
  await t.notThrowsAsync(node.reloadTls());
});

test('a closed node dials nobody', async (t) => {
  const node = await createNode({ ...MINIMAL, logger: 'silent' });
  await node.close();
  const error = await t.throwsAsync(node.connect({ host: '127.0.0.1', port: 1 }));
  t.like(error, { code: 'NodeClosed' });
});
