import test from 'ava';
import {
  createNode,
  type Discovery,
  MeshError,
  type NodeOptions,
  type TlsMaterial,
} from '../../src/index.js';
import type { Agree, Differences } from '../../src/node/options/agreement.js';
import { resolveOptions, resolveTlsMaterial } from '../../src/node/options/resolve.js';
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
      peerSockets: 128,
      congestionControl: 'cubic',
      initialWindowBytes: 54_000,
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

const PATH_HINT =
  "this looks like a file path: pass the file's content, e.g. readFileSync(path, 'utf8')";
const MILLISECONDS = 'must be a whole number of milliseconds from 1 to 2147483647';

/** Wrong options, and all that is said of them. */
const MESSAGES: readonly (readonly [wrong: object, message: string])[] = [
  [
    { nodeId: undefined },
    'nodeId: must be text: the name that the certificate of this node carries',
  ],
  [{ cluster: 'c'.repeat(254) }, 'cluster: must be text of 1 to 253 characters'],
  [
    { tls: 'certs' },
    'tls: must be an object with ca, cert and key as PEM texts, or a function that gives one',
  ],
  [{ checksum: 1 }, 'checksum: must be true or false'],
  [{ tls: { ...MINIMAL.tls, ca: './certs/ca.crt' } }, `tls.ca: ${PATH_HINT}`],
  [{ tls: { ...MINIMAL.tls, cert: 'n1.pem' } }, `tls.cert: ${PATH_HINT}`],
  [{ tls: { ...MINIMAL.tls, key: 'C:\\certs\\n1' } }, `tls.key: ${PATH_HINT}`],
  [{ tls: { ...MINIMAL.tls, crl: ['/etc/revoked'] } }, `tls.crl: ${PATH_HINT}`],
  [
    { tls: { ...MINIMAL.tls, cert: Buffer.from(tls.cert) } },
    "tls.cert: must be PEM text, not bytes: read the file as text, e.g. readFileSync(path, 'utf8')",
  ],
  [
    { tls: { ...MINIMAL.tls, ca: [tls.ca] } },
    'tls.ca: must be PEM text, not an array: join several by newlines',
  ],
  [
    { tls: { ...MINIMAL.tls, crl: [1] } },
    'tls.crl: must be a CRL as PEM text or DER bytes, or an array of them',
  ],
  [
    { tls: { ...MINIMAL.tls, revoked: tls.cert } },
    'tls.revoked: must be an array of fingerprints or serial numbers in hex, or of certificates as PEM texts',
  ],
  [
    { tls: { ...MINIMAL.tls, passphrase: 'x' } },
    "tls: unknown key 'passphrase' (allowed: ca, cert, key, revoked, crl)",
  ],
  [
    { listen: { host: 'localhost', port: 1 } },
    "listen.host: must be an IP address, such as '127.0.0.1', or '0.0.0.0' or '::' for all interfaces",
  ],
  [{ listen: { host: '::', port: -1 } }, 'listen.port: must be a whole number from 0 to 65535'],
  [{ listen: 7001 }, 'listen: must be an object (allowed keys: host, port)'],
  [
    { transports: 'quic' },
    "transports: must be an array of 'quic', 'tcp' and transports of your own",
  ],
  [{ transports: [] }, "transports: must name at least one, such as 'quic' or 'tcp'"],
  [
    { transports: ['udp', null] },
    ['transports.0', 'transports.1']
      .map(
        (at) =>
          `${at}: must be 'quic', 'tcp' or an object with name, dial, listen, counters and close`,
      )
      .join('; '),
  ],
  [
    { discovery: 'dns' },
    'discovery: must be an object with the method resolve, as dnsDiscovery() and staticDiscovery() give',
  ],
  [
    { timeouts: { connectTimeoutMs: 1, idle: 2 } },
    "timeouts: unknown keys 'connectTimeoutMs', 'idle' (allowed: connectMs, fallbackDelayMs, handshakeMs, idleMs, keepAliveMs, drainMs)",
  ],
  [
    { timeouts: { connectMs: '5 s', drainMs: Number.POSITIVE_INFINITY } },
    `timeouts.connectMs: ${MILLISECONDS}; timeouts.drainMs: ${MILLISECONDS}`,
  ],
  [
    { limits: { messageBytes: 1 } },
    'limits.messageBytes: must be a whole number of bytes from 131072 to 268435456',
  ],
  [{ auth: {} }, 'auth: must have a token, verify or authorize'],
  [{ auth: { verify: 'yes' } }, 'auth.verify: must be a function'],
  [{ admission: { retry: 'never' } }, "admission.retry: must be 'auto' or 'always'"],
  [
    { quic: { maxDatagramBytes: 1199 } },
    "quic.maxDatagramBytes: must be 'auto', or a whole number of bytes from 1200 to 65527",
  ],
  [
    { quic: { congestionControl: 'vegas' } },
    "quic.congestionControl: must be 'cubic', 'reno' or 'bbr'",
  ],
  [
    { quic: { initialWindowBytes: 11_999 } },
    'quic.initialWindowBytes: must be a whole number of bytes from 12000 to 655270',
  ],
  [
    { quic: { sessionStore: {} } },
    'quic.sessionStore: must be an object with the methods put and take',
  ],
  [
    { pool: { strategy: 'random' } },
    "pool.strategy: must be 'leastLoaded', 'roundRobin' or 'firstAvailable'",
  ],
  [{ pool: { min: 3, max: 2 } }, 'pool: min is above max'],
  [
    { retry: { codes: ['NodeClosed'] } },
    "retry.codes.0: must be the code of an error that peers answer with, such as 'Overloaded'",
  ],
  [{ retry: { budgetRatio: 1.5 } }, 'retry.budgetRatio: must be a number from 0 to 1'],
  [
    { compression: { algorithms: ['lz4', 'lz4'] } },
    'compression.algorithms: names an algorithm twice',
  ],
  [{ compression: { algorithms: ['gzip'] } }, "compression.algorithms.0: must be 'lz4' or 'zstd'"],
  [
    { compression: { algorithms: 'lz4' } },
    "compression.algorithms: must be an array of 'lz4' and 'zstd', or [] for none",
  ],
  [{ keyLogFile: '' }, 'keyLogFile: must be the path of a file'],
  [
    { logger: 'loud' },
    "logger: must be a pino logger, or 'silent', 'error', 'warn', 'info' or 'debug'",
  ],
];

for (const [wrong, message] of MESSAGES) {
  test(`what is wrong is told with what is allowed: ${message}`, (t) => {
    const error = t.throws(() => resolveOptions({ ...MINIMAL, ...wrong } as NodeOptions));
    t.is(error?.message, message);
  });
}

test('everything that is wrong is told at once, in the order of the options', (t) => {
  const wrong = { cluster: 1, pool: { min: 0, max: 11, idel: 1 }, retry: { codes: [1, 'x'] } };
  const error = t.throws(() => resolveOptions({ ...MINIMAL, ...wrong } as never as NodeOptions));
  t.deepEqual(
    error?.message.split('; ').map((problem) => problem.split(':')[0]),
    ['cluster', 'pool.min', 'pool.max', 'pool', 'retry.codes.0', 'retry.codes.1'],
  );
});

test('options are copied, and a key that is undefined is one that was not given', (t) => {
  const algorithms: ('lz4' | 'zstd')[] = ['zstd'];
  const given = { ...MINIMAL, compression: { algorithms }, listen: undefined, checksum: undefined };
  const config = resolveOptions(given as unknown as NodeOptions);
  algorithms.push('lz4');
  t.deepEqual(config.compression.algorithms, ['zstd']);
  t.true(Object.isFrozen(config.compression.algorithms));
  t.true(config.checksum);
  t.false('listen' in config);
});

test('keys that an object inherits are its own, known or not', (t) => {
  const inherited = Object.create({ ...MINIMAL.tls, passphrase: 'x' }) as TlsMaterial;
  const error = t.throws(() => resolveOptions({ ...MINIMAL, tls: inherited }));
  t.regex(error?.message as string, /^tls: unknown key 'passphrase'/);
});

test('an unknown key at the top is told with all that there are', (t) => {
  const error = t.throws(() => resolveOptions({ ...MINIMAL, maxStreams: 1 } as NodeOptions));
  t.regex(error?.message as string, /^options: unknown key 'maxStreams' \(allowed: nodeId, /);
  for (const key of Object.keys(resolveOptions(MINIMAL))) t.true(error?.message.includes(key), key);
});

test('a discovery whose resolve is no method is refused', (t) => {
  const discovery = { resolve: 5 } as unknown as Discovery;
  t.throws(() => resolveOptions({ ...MINIMAL, discovery }), { message: /^discovery: must be/ });
});

test('what is no options at all is InvalidOptions', (t) => {
  for (const nothing of [undefined, null, 'n1', []] as unknown[]) {
    t.like(
      t.throws(() => resolveOptions(nothing as NodeOptions)),
      { message: 'options: must be an object with at least nodeId, cluster and tls' },
    );
  }
});

test('what a function of tls gave is checked as tls is', (t) => {
  t.throws(() => resolveTlsMaterial(undefined), { message: /^tls: must be an object/ });
  t.throws(() => resolveTlsMaterial({ ...tls, ca: '/ca.pem' }), {
    message: `tls.ca: ${PATH_HINT}`,
  });
});

test('the compiler names a key that types and schema do not both have, or have by other types', (t) => {
  const lacking: Differences<{ a: 1; b?: 2 }, { a: 1 }> = 'b';
  const unlike: Differences<{ a: 1 | 2 }, { a: 1 }> = 'a';
  const optional: Differences<{ a?: 1 }, { a: 1 }> = 'a';
  // @ts-expect-error A difference is nothing to agree on.
  const disagreement: Agree<Differences<{ a: 1 }, { a: 2 }>> = 'a';
  t.deepEqual([lacking, unlike, optional, disagreement], ['b', 'a', 'a', 'a']);
  const none = (nothing: Agree<Differences<{ a?: 1 }, { a?: 1 }>>): never => nothing;
  t.is(typeof none, 'function');
});

test('text around a certificate makes no path of it, and neither does base64', (t) => {
  for (const ca of [`/etc/ca.pem\n${tls.ca}`, tls.ca.replaceAll('\n', '\r\n'), 'MIIB/x+y=']) {
    t.is((resolveOptions({ ...MINIMAL, tls: { ...MINIMAL.tls, ca } }).tls as TlsMaterial).ca, ca);
  }
});

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
