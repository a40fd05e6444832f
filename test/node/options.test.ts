import test from 'ava';
import { createNode, MeshError, type NodeOptions } from '../../src/index.js';
import { resolveOptions } from '../../src/node/options.js';
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
    maxMessageBytes: 16 * 1024 * 1024,
    maxStreams: 1024,
    checksum: true,
    connectTimeoutMs: 5000,
    handshakeTimeoutMs: 5000,
    idleTimeoutMs: 30_000,
    keepAliveMs: 10_000,
    drainTimeoutMs: 5000,
    maxDatagramBytes: 'auto',
    door: {},
    retry: {
      attempts: 30,
      minDelayMs: 20,
      maxDelayMs: 1000,
      codes: [],
      budget: 1000,
      budgetRatio: 0.2,
    },
    earlyData: true,
    ticketKeyLifetimeMs: 43_200_000,
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
  authToken: { authToken: '' },
  maxStreams: { maxStreams: 0 },
  maxMessageBytes: { maxMessageBytes: 10 },
  connectTimeoutMs: { connectTimeoutMs: 1.5 },
  maxDatagramBytes: { maxDatagramBytes: 100 },
  'door.maxHalfOpen': { door: { maxHalfOpen: 0 } },
  'door.retry': { door: { retry: 'never' } },
  'door threshold': { door: { threshold: 1 } },
  'retry.attempts': { retry: { attempts: 0 } },
  'retry.codes': { retry: { codes: ['NodeClosed'] } },
  'retry minDelayMs is above maxDelayMs': { retry: { minDelayMs: 2, maxDelayMs: 1 } },
  'retry.budgetRatio': { retry: { budgetRatio: -1 } },
  earlyData: { earlyData: 1 },
  sessionStore: { sessionStore: { put() {} } },
  ticketKeyLifetimeMs: { ticketKeyLifetimeMs: 0 },
  tlsKeyLogFile: { tlsKeyLogFile: '' },
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
