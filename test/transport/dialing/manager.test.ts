import { createServer } from 'node:net';
import test from 'ava';
import { MeshError, type MeshErrorCode } from '../../../src/errors.js';
import type {
  Connection,
  ListenOptions,
  Transport,
  TransportName,
} from '../../../src/transport/connection.js';
import { TransportManager } from '../../../src/transport/dialing/manager.js';
import { unprovedFailure } from '../../../src/transport/unproved.js';
import { startNode, targetOf } from '../../helpers/nodes.js';

const TARGET = { host: '127.0.0.1', port: 1 };

/** A transport that does what a test says and keeps the order of calls. */
function scripted(
  name: TransportName,
  calls: string[],
  outcome: MeshErrorCode | MeshError | 'connects',
): Transport {
  const act = async (call: string) => {
    calls.push(`${name} ${call}`);
    if (outcome === 'connects') return;
    if (typeof outcome !== 'string') throw outcome;
    throw new MeshError(outcome, `${name} is made to fail`);
  };
  return {
    name,
    counters: { dialed: 7 },
    dial: () => act('dial').then(() => ({ transport: name }) as Connection),
    listen: ({ host, port }: ListenOptions) =>
      act(`listen ${port}`).then(() => ({
        address: { host, port: port || 4242 },
        close: async () => {
          calls.push(`${name} stops`);
        },
      })),
    close: async () => {
      calls.push(`${name} closes`);
    },
  };
}

test('the first transport that reaches the peer carries the connection', async (t) => {
  for (const failure of [
    'ConnectTimeout',
    'ConnectFailed',
    'ConnectionLost',
    'TransportUnavailable',
  ] as const) {
    const calls: string[] = [];
    const manager = new TransportManager({
      transports: [scripted('quic', calls, failure), scripted('tcp', calls, 'connects')],
    });
    t.is((await manager.dial(TARGET)).transport, 'tcp');
    t.deepEqual(calls, ['quic dial', 'tcp dial']);
  }
});

test("the peer's refusal is final, and so is a fault of this side: another transport would end the same", async (t) => {
  for (const failure of [
    new MeshError('CertificateUntrusted', 'no', { side: 'remote' }),
    new MeshError('InvalidOptions', 'no key'),
    new MeshError('Cancelled', 'enough'),
  ]) {
    const calls: string[] = [];
    const manager = new TransportManager({
      transports: [scripted('quic', calls, failure), scripted('tcp', calls, 'connects')],
    });
    t.is(await t.throwsAsync(manager.dial(TARGET)), failure);
    t.deepEqual(calls, ['quic dial']);
  }
});

test('who is not the peer says nothing of it: the next transport is tried', async (t) => {
  for (const code of ['CertificateUntrusted', 'CertificateNameMismatch', 'TlsFailure'] as const) {
    const calls: string[] = [];
    const manager = new TransportManager({
      transports: [scripted('quic', calls, code), scripted('tcp', calls, 'connects')],
    });
    t.is((await manager.dial(TARGET)).transport, 'tcp');
    t.deepEqual(calls, ['quic dial', 'tcp dial']);
  }
});

test('where nothing connects, what tells most is told: a finding, what anybody answered, the last failure', async (t) => {
  const finding = new MeshError('CertificateUntrusted', 'not it');
  const answered = unprovedFailure(new MeshError('CertificateRevoked', 'gone', { side: 'remote' }));
  const silence = new MeshError('ConnectTimeout', 'nothing');
  for (const [first, second, told] of [
    [finding, answered, finding],
    [answered, finding, finding],
    [answered, silence, answered],
    [silence, answered, answered],
  ] as const) {
    const manager = new TransportManager({
      transports: [scripted('quic', [], first), scripted('tcp', [], second)],
    });
    t.is(await t.throwsAsync(manager.dial(TARGET)), told);
  }
});

test('when no transport reaches the peer, the last failure is what is told', async (t) => {
  const manager = new TransportManager({
    transports: [scripted('quic', [], 'ConnectTimeout'), scripted('tcp', [], 'ConnectFailed')],
  });
  t.like(await t.throwsAsync(manager.dial(TARGET)), { code: 'ConnectFailed' });
});

test('where QUIC gets through to nobody, a peer never dialed before is dialed over TCP first', async (t) => {
  const calls: string[] = [];
  const manager = new TransportManager({
    transports: [scripted('quic', calls, 'ConnectTimeout'), scripted('tcp', calls, 'connects')],
  });
  for (const port of [1, 2, 3]) await manager.dial({ ...TARGET, port });
  calls.length = 0;
  t.is((await manager.dial({ ...TARGET, port: 4 })).transport, 'tcp');
  t.deepEqual(calls, ['tcp dial']);
});

test('a dial by nothing but better transports needs one that is better', async (t) => {
  const manager = new TransportManager({ transports: [scripted('quic', [], 'connects')] });
  const error = await t.throwsAsync(manager.dial(TARGET, { betterThan: 'quic' }));
  t.like(error, { code: 'InvalidArgument' });
});

test('all transports listen on the port that the first one got', async (t) => {
  const calls: string[] = [];
  const manager = new TransportManager({
    transports: [scripted('quic', calls, 'connects'), scripted('tcp', calls, 'connects')],
  });
  const listener = await manager.listen({ host: '127.0.0.1', port: 0, onConnection() {} });
  t.deepEqual(listener.address, { host: '127.0.0.1', port: 4242 });
  await listener.close();
  t.deepEqual(calls, ['quic listen 0', 'tcp listen 4242', 'quic stops', 'tcp stops']);
});

test('where a transport has no build for the platform, the others serve and somebody is told', async (t) => {
  const calls: string[] = [];
  const told: string[] = [];
  const manager = new TransportManager({
    transports: [
      scripted('quic', calls, 'TransportUnavailable'),
      scripted('tcp', calls, 'connects'),
    ],
    onUnavailable: ({ name }, error) => told.push(`${name} ${error.code}`),
  });
  t.is((await manager.dial(TARGET)).transport, 'tcp');
  t.deepEqual(told, ['quic TransportUnavailable']);
  await manager.listen({ host: '127.0.0.1', port: 5, onConnection() {} });
  await manager.dial(TARGET);
  t.is(told.length, 1, 'one line in the log is enough');
  const alone = new TransportManager({
    transports: [scripted('quic', [], 'TransportUnavailable')],
  });
  const error = await t.throwsAsync(
    alone.listen({ host: '127.0.0.1', port: 5, onConnection() {} }),
  );
  t.like(error, { code: 'TransportUnavailable' });
});

test('a port that is taken fails at once, and nothing is left listening', async (t) => {
  const calls: string[] = [];
  const manager = new TransportManager({
    transports: [scripted('quic', calls, 'connects'), scripted('tcp', calls, 'ConnectFailed')],
  });
  const error = await t.throwsAsync(
    manager.listen({ host: '127.0.0.1', port: 5, onConnection() {} }),
  );
  t.like(error, { code: 'ConnectFailed' });
  t.deepEqual(calls, ['quic listen 5', 'tcp listen 5', 'quic stops']);
});

test('there must be a transport, and counters go by its name', (t) => {
  t.like(
    t.throws(() => new TransportManager({ transports: [] })),
    { code: 'InvalidOptions' },
  );
  const manager = new TransportManager({ transports: [scripted('quic', [], 'connects')] });
  t.deepEqual(manager.counters, { quic: { dialed: 7 } });
});

test('a node whose QUIC nobody answers is reached over TCP', async (t) => {
  const tcpOnly = await startNode(t, 'n2', { transports: ['tcp'] });
  const both = await startNode(t, 'n1', {
    transports: ['quic', 'tcp'],
    timeouts: { connectMs: 300 },
  });
  const peer = await both.connect(targetOf(tcpOnly));
  t.is(peer.transport, 'tcp');
});

test('a node listens on UDP and TCP under one number, and says when that is taken', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const error = await t.throwsAsync(startNode(t, 'n1', { listen: { host: '127.0.0.1', port } }));
  t.like(error, { code: 'ConnectFailed' });
});
