/** A silent listener answers who knocks, over whatever network, and looks like a closed port to everybody else. */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import test, { type ExecutionContext } from 'ava';
import { createKnock, KNOCK_SLOT_MS, knockKeyOfCa } from '../../../../src/protocol/knock.js';
import type {
  Connection,
  SocketAddress,
  TlsMaterial,
} from '../../../../src/transport/connection.js';
import {
  QuicTransport,
  type QuicTransportOptions,
} from '../../../../src/transport/quic/transport.js';
import { knockRoots } from '../../../../src/transport/trust/knock-roots.js';
import { nodeCert } from '../../../helpers/certs.js';
import { echoAcceptor, request } from '../../../helpers/frame-client.js';
import { opensslCerts } from '../../../helpers/openssl-certs.js';
import { OpensslPki } from '../../../helpers/openssl-pki.js';
import { createForger, strangerAt } from '../../../helpers/quic/forger.js';
import { until } from '../../../helpers/until.js';

type Options = Partial<QuicTransportOptions>;

test('a stranger gets no answer to anything, and the listener keeps nothing of it', async (t) => {
  const { transport, address } = await listenWith(t);
  const forger = await createForger(await nodeCert('n1'));
  const stranger = await strangerAt('127.0.0.1');
  t.teardown(() => stranger.close());
  const version2 = forger.initial();
  version2.writeUInt32BE(0x6b33_43cf, 1);
  const handshake = forger.initial();
  handshake[0] = 0xe0;
  const short = Buffer.concat([Buffer.of(0x41), randomBytes(1199)]);
  const kinds = [
    () => forger.initial(),
    () => forger.initial({ sourceId: randomBytes(20) }),
    () => forger.initial({ sourceId: Buffer.alloc(0) }),
    () => version2,
    () => handshake,
    () => short,
    () => randomBytes(1200),
  ];
  const rounds = 20;
  for (let i = 0; i < rounds; i += 1) {
    for (const kind of kinds) await stranger.send(kind(), address);
  }
  const { counters } = transport;
  await until(() => counters.datagramsReceived === rounds * kinds.length);
  t.true(counters.droppedWithoutKnock >= 4 * rounds, `${counters.droppedWithoutKnock}`);
  for (const name of ['datagramsSent', 'accepted', 'refused', 'retriesSent'] as const) {
    t.is(counters[name], 0, name);
  }
  const dialer = await transportOf(t, 'n1');
  await calls(t, await dialer.dial({ ...address, nodeId: 'n2' }));
  t.is(stranger.received.length, 0);
});

test('who knocks is answered, whether it knows whom it dials or not', async (t) => {
  const { transport, address } = await listenWith(t);
  const dialer = await transportOf(t, 'n1');
  for (const target of [address, { ...address, nodeId: 'n2' }, { ...address, nodeId: 'N2' }]) {
    await calls(t, await dialer.dial(target));
  }
  t.is(transport.counters.droppedWithoutKnock, 0);
  t.is(transport.counters.accepted, 3);
});

for (const [title, knocks] of Object.entries({
  'of another cluster': knockWith({ cluster: 'other' }),
  'for another node': knockWith({ nodeId: 'n3' }),
  'of two slots ago': knockWith({ laterMs: -2 * KNOCK_SLOT_MS }),
  // One more than would do: a slot may end before it arrives.
  'of three slots ahead': knockWith({ laterMs: 3 * KNOCK_SLOT_MS }),
  'for TCP': knockWith({ transport: 'tcp' }),
})) {
  test(`a knock ${title} is a stranger's`, async (t) => {
    const { transport, address } = await listenWith(t);
    const tls = await nodeCert('n1');
    const forger = await createForger(tls);
    const stranger = await strangerAt('127.0.0.1');
    t.teardown(() => stranger.close());
    await stranger.send(forger.initial({ sourceId: knocks(tls) }), address);
    await until(() => transport.counters.droppedWithoutKnock === 1);
    t.is(transport.counters.datagramsSent, 0);
  });
}

test('a peer of another version that knocks learns which one is spoken here', async (t) => {
  const { transport, address } = await listenWith(t);
  const tls = await nodeCert('n1');
  const forger = await createForger(tls);
  const member = await strangerAt('127.0.0.1');
  t.teardown(() => member.close());
  const version2 = forger.initial({ sourceId: knockWith({})(tls) });
  version2.writeUInt32BE(0x6b33_43cf, 1);
  await member.send(version2, address);
  await until(() => member.received.length === 1);
  t.is(transport.counters.versionNegotiationsSent, 1);
});

test('a first flight that was seen leads to nothing: at another address, and after its connection', async (t) => {
  const { transport, address } = await listenWith(t);
  const relay = await Relay.to(t, address);
  const dialer = await transportOf(t, 'n1');
  const connection = await dialer.dial({ ...relay.address, nodeId: 'n2' });
  await calls(t, connection);
  const [flight] = relay.fromDialer;
  const { counters } = transport;
  const observer = await strangerAt('127.0.0.1');
  t.teardown(() => observer.close());

  // While the connection lives, the connection ID leads to it.
  await connection.close();
  await until(() => {
    if (counters.droppedReplayedKnock === 0) relay.repeat(flight as Buffer);
    return counters.droppedReplayedKnock > 0;
  });
  for (let i = 0; i < 10; i += 1) await observer.send(flight as Buffer, address);
  await until(() => counters.droppedReplayedKnock >= 10);
  t.is(observer.received.length, 0);
  t.is(counters.accepted + counters.refused, 1);
});

test('a knock that was answered by Retry belongs to that address', async (t) => {
  const { transport, address } = await listenWith(t, { admission: { retry: 'always' } });
  const tls = await nodeCert('n1');
  const forger = await createForger(tls);
  const [member, observer] = [await strangerAt('127.0.0.1'), await strangerAt('127.0.0.2')];
  t.teardown(() => [member, observer].forEach((each) => void each.close()));
  const flight = forger.initial({ sourceId: knockWith({})(tls) });
  await member.send(flight, address);
  await until(() => member.received.length === 1);
  await observer.send(flight, address);
  await until(() => transport.counters.droppedReplayedKnock === 1);
  await member.send(flight, address);
  await until(() => member.received.length === 2);
  t.is(observer.received.length, 0);
  t.is(transport.counters.retriesSent, 2);
});

for (const [title, retry] of [
  ['without Retry', 'auto'],
  ['with Retry', 'always'],
] as const) {
  test(`a dialer whose first flights are lost, and repeated, gets in ${title}`, async (t) => {
    const { transport, address } = await listenWith(t, { admission: { retry } });
    const relay = await Relay.to(t, address);
    relay.toDrop = 1;
    const dialer = await transportOf(t, 'n1');
    await calls(t, await dialer.dial({ ...relay.address, nodeId: 'n2' }));
    t.is(transport.counters.accepted, 1);
  });
}

test('a dialer whose NAT gives it another port after its first flight was lost gets in', async (t) => {
  const { transport, address } = await listenWith(t);
  const relay = await Relay.to(t, address);
  relay.toDrop = 1;
  const dialer = await transportOf(t, 'n1');
  const dialed = dialer.dial({ ...relay.address, nodeId: 'n2' });
  await until(() => relay.toDrop === 0);
  await relay.rebind();
  await calls(t, await dialed);
  t.is(transport.counters.droppedReplayedKnock, 0);
});

test('with a secret, only those get in who have it; both are taken while it is replaced', async (t) => {
  const [old, next] = ['the first secret of this test', 'the second secret of this test'];
  const { address } = await listenWith(t, { admission: { secret: [old, next] } });
  for (const [secret, getsIn] of [
    [old, true],
    [next, true],
    [[next, old], true],
    ['another secret altogether', false],
    [undefined, false],
  ] as const) {
    const admission = { secret };
    const dialer = await transportOf(t, 'n1', { admission, connectTimeoutMs: 700 });
    const dialed = dialer.dial(
      { ...address, nodeId: 'n2' },
      getsIn ? { connectTimeoutMs: 5000 } : {},
    );
    if (getsIn) await calls(t, await dialed);
    else t.like(await t.throwsAsync(dialed), { code: 'ConnectTimeout' });
  }
});

test('with silence off everybody is answered', async (t) => {
  const { transport, address } = await listenWith(t, { admission: { silent: 'off' } });
  const elsewhere = await transportOf(t, 'n1', { cluster: 'other' });
  await calls(t, await elsewhere.dial({ ...address, nodeId: 'n2' }));
  t.is(transport.counters.droppedWithoutKnock, 0);
});

test('chains with an intermediate knock by their root', async (t) => {
  const { ca, nodes } = await opensslCerts({ kind: 'chain', nodeIds: ['n1', 'n2'] });
  const { address } = await listenWith(t, { tls: () => ({ ca, ...nodes.n2 }) });
  const dialer = await transportOf(t, 'n1', { tls: () => ({ ca, ...nodes.n1 }) });
  await calls(t, await dialer.dial({ ...address, nodeId: 'n2' }));
});

test('a root is renewed: the dialer that has both finds the one that a listener still has', async (t) => {
  const pki = await OpensslPki.create();
  t.teardown(() => pki.close());
  const extensions = 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign';
  await pki.certificate({ name: 'old', subject: '/CN=root', key: 'root', extensions });
  await pki.certificate({ name: 'new', subject: '/CN=root', key: 'root', extensions });
  const certs = new Map<string, TlsMaterial>();
  for (const name of ['n1', 'n2']) {
    const request = { name, issuer: 'old', extensions: `subjectAltName=DNS:${name}` };
    const cert = await pki.certificate(request);
    certs.set(name, { ca: await pki.bundle(['old']), cert, key: await pki.key(name) });
  }
  const own = certs.get('n1') as TlsMaterial;
  const both = { ...own, ca: await pki.bundle(['new', 'old']) };
  const { address } = await listenWith(t, { tls: () => certs.get('n2') as TlsMaterial });
  const dialer = await transportOf(t, 'n1', { tls: () => both });
  const target = { ...address, nodeId: 'n2' };
  const first = dialer.dial(target, { connectTimeoutMs: 300 });
  t.like(await t.throwsAsync(first), { code: 'ConnectTimeout' });
  await calls(t, await dialer.dial(target));
  await calls(t, await dialer.dial(target));
});

interface KnockChanges {
  readonly cluster?: string;
  readonly nodeId?: string;
  readonly laterMs?: number;
  readonly transport?: 'quic' | 'tcp';
}

/** A knock at n2, good but for the changes. */
function knockWith({ cluster = 'test', nodeId = 'n2', laterMs = 0, ...rest }: KnockChanges) {
  return (tls: TlsMaterial): Buffer => {
    const key = knockKeyOfCa(knockRoots(tls).own[0] as Uint8Array, cluster);
    const target = { transport: rest.transport ?? 'quic', nodeId } as const;
    return createKnock(key, target, Date.now() + laterMs, randomBytes(8));
  };
}

async function transportOf(
  t: ExecutionContext,
  nodeId: 'n1' | 'n2',
  options: Options = {},
): Promise<QuicTransport> {
  const tls = await nodeCert(nodeId);
  const transport = new QuicTransport({ cluster: 'test', tls: () => tls, ...options });
  t.teardown(() => transport.close());
  return transport;
}

async function listenWith(t: ExecutionContext, options: Options = {}) {
  const transport = await transportOf(t, 'n2', options);
  const at = { host: '127.0.0.1', port: 0 };
  const { address } = await transport.listen({ ...at, onConnection: echoAcceptor });
  return { transport, address };
}

async function calls(t: ExecutionContext, connection: Connection): Promise<void> {
  const payload = randomBytes(100);
  t.deepEqual(await request(connection, payload), payload);
}

/** A NAT: it has one port for dialers, and others that the listener sees. */
class Relay {
  readonly address: SocketAddress;
  /** Every datagram of the dialer's. */
  readonly fromDialer: Buffer[] = [];
  /** How many datagrams of the dialer's are lost. */
  toDrop = 0;
  readonly #inside: Socket;
  readonly #target: SocketAddress;
  readonly #t: ExecutionContext;
  #outside: Socket;
  #dialerPort = 0;

  static async to(t: ExecutionContext, target: SocketAddress): Promise<Relay> {
    return new Relay(t, await open(t), await open(t), target);
  }

  private constructor(t: ExecutionContext, inside: Socket, outside: Socket, target: SocketAddress) {
    this.#t = t;
    this.#inside = inside;
    this.#outside = outside;
    this.#target = target;
    this.address = { host: '127.0.0.1', port: inside.address().port };
    inside.on('message', (datagram, { port }) => {
      this.#dialerPort = port;
      this.fromDialer.push(datagram);
      if (this.toDrop > 0) this.toDrop -= 1;
      else this.repeat(datagram);
    });
    this.#forwardFrom(outside);
  }

  repeat(datagram: Buffer): void {
    this.#outside.send(datagram, this.#target.port, this.#target.host);
  }

  /** What comes by the old port is still forwarded. */
  async rebind(): Promise<void> {
    this.#outside = await open(this.#t);
    this.#forwardFrom(this.#outside);
  }

  #forwardFrom(outside: Socket): void {
    outside.on('message', (datagram) => {
      this.#inside.send(datagram, this.#dialerPort, '127.0.0.1');
    });
  }
}

async function open(t: ExecutionContext): Promise<Socket> {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return socket;
}
