/** Peers that are elsewhere by now: somebody else answers at an address, or there are more addresses than one dial tries. */
import test, { type ExecutionContext } from 'ava';
import { freePort } from '../../scripts/mesh/ports.js';
import type {
  Discovery,
  MeshNode,
  NodeEvent,
  NodeOptions,
  SocketAddress,
} from '../../src/index.js';
import { certNamed, expiredCert, nodeCert, otherCaCert } from '../helpers/certs.js';
import { lastingAddress, startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

/** From there on a delay is that of a refusal. */
const REFUSED_MS = 30_000;

type DialFailed = Extract<NodeEvent, { kind: 'dialFailed' }>;

function followFailures(node: MeshNode): DialFailed[] {
  const failures: DialFailed[] = [];
  const events = node.status();
  void (async () => {
    for await (const event of events) if (event.kind === 'dialFailed') failures.push(event);
  })();
  return failures;
}

/** Names from a table that may change; counts how often it is asked. */
class Names implements Discovery {
  asked = 0;
  addresses: readonly SocketAddress[] = [];

  async resolve(): Promise<readonly SocketAddress[]> {
    this.asked += 1;
    return this.addresses;
  }
}

/** Who takes the address that a peer has left, and what its dialer finds. */
const SUCCESSORS: readonly {
  readonly title: string;
  readonly code: string;
  readonly tls: () => Promise<NodeOptions['tls']>;
}[] = [
  { title: 'another node', code: 'CertificateNameMismatch', tls: () => nodeCert('n3') },
  {
    title: 'a node of another CA',
    code: 'CertificateUntrusted',
    tls: () => otherCaCert('n3'),
  },
  { title: 'an expired node', code: 'CertificateExpired', tls: () => expiredCert('n3') },
  {
    title: 'a node that may be either',
    code: 'NodeIdMismatch',
    tls: () => certNamed('n3', { extraHosts: ['n2'] }),
  },
];

/** A silent one looks like nobody at all, and is met like that. */
const admission = { silent: 'off' } as const;

for (const transport of TEST_TRANSPORTS) {
  const transports = [transport];

  for (const { title, code, tls } of SUCCESSORS) {
    test(`${transport}: where ${title} has taken a peer's old address, the peer is looked up again soon`, async (t) => {
      const names = new Names();
      const old = await startNode(t, 'n2', { transports, listen: await lastingAddress() });
      names.addresses = [targetOf(old)];
      const n1 = await startNode(t, 'n1', { transports, discovery: names });
      const failures = followFailures(n1);
      const peer = await n1.connect({ nodeId: 'n2', addresses: [{ host: 'n2.example' }] });
      const { host, port } = targetOf(old);
      await old.close();
      await startNode(t, 'n3', { transports, admission, tls: await tls(), listen: { host, port } });
      const call = peer.request({ type: 'ping' }, { timeoutMs: 60_000 });
      await until(() => failures.filter(({ error }) => error.code === code).length >= 2);
      const { asked } = names;
      await until(() => names.asked > asked);
      names.addresses = [targetOf(await startNode(t, 'n2', { transports }))];
      t.like(await call, { type: 'pong' }, 'what waits is not failed by who answered instead');
      for (const { error, retryInMs = 0 } of failures) {
        t.true(retryInMs < REFUSED_MS, `${error.code}: ${retryInMs} ms`);
      }
    });

    test(`${transport}: where ${title} answers at the first address, the second is tried`, async (t) => {
      const other = await startNode(t, 'n3', { transports, admission, tls: await tls() });
      const n2 = await startNode(t, 'n2', { transports });
      const n1 = await startNode(t, 'n1', { transports });
      const addresses = [targetOf(other), targetOf(n2)];
      const peer = await n1.connect({ nodeId: 'n2', addresses });
      t.is(await peer.request({ type: 'ping' }, {}).then(({ type }) => type), 'pong');
      t.is(peer.connections[0]?.remoteAddress.port, targetOf(n2).port);
      t.is(n2.counters.handshakes.accepted, 1);
    });

    test(`${transport}: where ${title} answers at every address, the dial tells so`, async (t) => {
      const others = await Promise.all(
        ['n3', 'n3'].map(async () =>
          startNode(t, 'n3', { transports, admission, tls: await tls() }),
        ),
      );
      const n1 = await startNode(t, 'n1', { transports });
      const addresses = others.map(targetOf);
      t.like(await t.throwsAsync(n1.connect({ nodeId: 'n2', addresses })), { code });
    });
  }

  test(`${transport}: of more addresses than one dial tries, the last is reached as well`, async (t) => {
    const { n1, n2, addresses } = await withDeadAddresses(t, transports);
    const peer = await n1.connect({ nodeId: 'n2', addresses }, { retry: true });
    t.is(peer.connections[0]?.remoteAddress.port, targetOf(n2).port);
    const { dialsFailed } = peer.statistics;
    t.true(dialsFailed >= 2, `${dialsFailed}`);
    await n2.close();
    await until(() => !peer.isConnected);
    await startNode(t, 'n2', { transports, listen: addresses.at(-1) });
    await until(() => peer.isConnected);
    t.is(peer.connections[0]?.remoteAddress.port, addresses.at(-1)?.port, 'and found again');
  });

  test(`${transport}: of a name with more addresses than one dial tries, the last is reached as well`, async (t) => {
    const names = new Names();
    const { n1, n2, addresses } = await withDeadAddresses(t, transports, { discovery: names });
    names.addresses = addresses;
    const peer = await n1.connect({ nodeId: 'n2', host: 'n2.example', port: 1 }, { retry: true });
    t.is(peer.connections[0]?.remoteAddress.port, targetOf(n2).port);
  });
}

test('a node that answers under another way of writing its address is met once, not without end', async (t) => {
  const transports = ['tcp'] as const;
  const tls = await certNamed('n3', { extraHosts: ['n2'] });
  const listen = { host: '::1', port: 0 };
  const n3 = await startNode(t, 'n3', { transports, tls, listen, admission });
  const n1 = await startNode(t, 'n1', { transports, listen: undefined });
  const { port } = targetOf(n3);
  const target = { nodeId: 'n2', host: '0:0:0:0:0:0:0:1', port };
  t.like(await t.throwsAsync(n1.connect(target)), { code: 'NodeIdMismatch' });
  t.is(n3.counters.handshakes.accepted, 1);
});

test('however many addresses a discovery comes up with, a dial that meets but others ends', async (t) => {
  const transports = ['tcp'] as const;
  const tls = await certNamed('n3', { extraHosts: ['n2'] });
  const listen = { host: '0.0.0.0', port: 0 };
  const n3 = await startNode(t, 'n3', { transports, tls, listen, admission });
  let asked = 0;
  const discovery = {
    resolve: async () => {
      asked += 1;
      return [{ host: `127.79.0.${asked}`, port: targetOf(n3).port }];
    },
  };
  const n1 = await startNode(t, 'n1', { transports, discovery, listen: undefined });
  const connecting = n1.connect({ nodeId: 'n2', host: 'n2.example', port: 1 });
  t.like(await t.throwsAsync(connecting), { code: 'NodeIdMismatch' });
  t.is(asked, 17);
});

/** A node whose address comes behind 39 at which nobody listens. */
async function withDeadAddresses(
  t: ExecutionContext,
  transports: NodeOptions['transports'],
  options: Partial<NodeOptions> = {},
) {
  const n2 = await startNode(t, 'n2', { transports, listen: await lastingAddress() });
  const { host, port } = targetOf(n2);
  const dead = await freePort();
  // All of 127.0.0.0/8 is loopback: nobody else listens there on a port of these tests.
  const addresses = Array.from({ length: 39 }, (_, i) => ({
    host: `127.77.0.${i + 1}`,
    port: dead,
  }));
  const n1 = await startNode(t, 'n1', {
    transports,
    timeouts: { connectMs: 500, fallbackDelayMs: 5 },
    reconnect: { maxDelayMs: 200 },
    ...options,
  });
  return { n1, n2, addresses: [...addresses, { host, port }] };
}
