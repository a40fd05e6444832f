/** A node that listens on all addresses answers from the one that was dialed, on both transports. */
import { createSocket } from 'node:dgram';
import test, { type ExecutionContext } from 'ava';
import { freePort } from '../../scripts/mesh/ports.js';
import type { SocketAddress } from '../../src/index.js';
import { runInNamespace } from '../helpers/network/namespace.js';
import { startNode, TEST_TRANSPORTS } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const WILDCARDS = ['0.0.0.0', '::'] as const;

for (const transport of TEST_TRANSPORTS) {
  for (const host of WILDCARDS) {
    test(`a listener on ${host} is reached over ${transport} at each of its addresses`, async (t) => {
      const transports = [transport];
      const n2 = await startNode(t, 'n2', { listen: { host, port: 0 }, transports });
      n2.handle('request', ({ method }) => ({ body: method }));
      const { addresses, address } = n2;
      t.deepEqual(addresses[0], address);
      t.true(addresses.every((each) => each.host !== host && each.port === address?.port));
      t.true(addresses.some((each) => each.host === '127.0.0.1'));
      // 127.0.0.2 is no interface's address, and this machine's all the same on some systems.
      const others = process.platform === 'linux' ? ['127.0.0.2', '127.1.2.3'] : [];
      const port = address?.port ?? 0;
      for (const to of [...addresses, ...others.map((other) => ({ host: other, port }))]) {
        const n1 = await startNode(t, 'n1', { transports, listen: undefined });
        const peer = await n1.connect({ nodeId: 'n2', ...to });
        t.deepEqual(peer.connections[0]?.remoteAddress, to);
        const { body } = await peer.request({ type: 'request', method: to.host });
        t.is(body, to.host);
        await n1.close();
      }
    });

    test(`two that listen on ${host} and dial each other over ${transport} make calls both ways`, async (t) => {
      const transports = [transport];
      const options = { listen: { host, port: 0 }, transports };
      const n1 = await startNode(t, 'n1', options);
      const n2 = await startNode(t, 'n2', options);
      for (const node of [n1, n2]) node.handle('request', () => ({ body: node.nodeId }));
      for (const { host: dialed } of n2.addresses) {
        const peer = await n1.connect({ nodeId: 'n2', host: dialed, port: n2.address?.port ?? 0 });
        t.is((await peer.request({ type: 'request', method: 'm' })).body, 'n2');
        const back = await n2.peer('n1')?.request({ type: 'request', method: 'm' });
        t.is(back?.body, 'n1');
        await peer.close();
      }
    });
  }
}

test('a port that a wildcard listener has is taken, for a wildcard and for any address', async (t) => {
  for (const host of WILDCARDS) {
    for (const transport of TEST_TRANSPORTS) {
      const transports = [transport];
      const port = await freePort();
      const first = await startNode(t, 'n1', { listen: { host, port }, transports });
      for (const other of [...WILDCARDS, '127.0.0.1', ...(host === '::' ? ['::1'] : [])]) {
        await t.throwsAsync(startNode(t, 'n2', { listen: { host: other, port }, transports }), {
          code: 'ConnectFailed',
          message: /EADDRINUSE/,
        });
      }
      await first.close();
      // And free again.
      const second = await startNode(t, 'n1', { listen: { host, port }, transports });
      await second.close();
    }
  }
});

test('a port that one address has is taken for a wildcard listener', async (t) => {
  const first = await startNode(t, 'n1', { transports: ['quic'] });
  const listen = { host: '0.0.0.0', port: first.address?.port ?? 0 };
  await t.throwsAsync(startNode(t, 'n2', { listen, transports: ['quic'] }), {
    code: 'ConnectFailed',
    message: /EADDRINUSE/,
  });
});

for (const host of WILDCARDS) {
  test(`Retry and version negotiation of a listener on ${host} come from the address that was dialed`, async (t) => {
    const transports = ['quic'] as const;
    const listen = { host, port: 0 };
    // A silent node offers strangers no versions.
    const admission = { retry: 'always', silent: 'off' } as const;
    const n2 = await startNode(t, 'n2', { listen, transports, admission });
    n2.handle('request', ({ method }) => ({ body: method }));
    const n1 = await startNode(t, 'n1', { transports, listen: undefined });
    for (const to of n2.addresses) {
      const peer = await n1.connect({ nodeId: 'n2', ...to });
      t.is((await peer.request({ type: 'request', method: to.host })).body, to.host);
      await peer.close();
      t.is(await versionsOffered(t, to), to.host);
    }
    // More, where a dialer did not wait for its answer.
    t.true((n2.counters.transports.quic?.retriesSent ?? 0) >= n2.addresses.length);
  });

  test(`addresses that come and go under a listener on ${host} lose no connection`, async (t) => {
    const told = await runInNamespace(t, 'test/helpers/network/addresses-change.ts', {
      args: [host],
      commands: ['ss'],
    });
    if (told === undefined) return;
    t.deepEqual(told, {
      atNewAddress: 'over quic',
      whenItsSocketCame: { answer: 'x', connections: 1 },
      atOldAddress: { answer: 'x', connections: 1 },
      whenTheAddressWasBack: { answer: 'x', connections: 1 },
      addressesAtTheEnd: ['first', 'new'],
    });
  });
}

test('a machine with more addresses than a listener has sockets for is reached with and without', async (t) => {
  const told = await runInNamespace(t, 'test/helpers/network/many-addresses.ts', {
    commands: ['ss'],
  });
  if (told === undefined) return;
  // The wildcard's own is one more.
  t.deepEqual(told, { addresses: 301, sockets: 257, reached: 11 });
});

/** Whom the answer to a datagram of another version comes from. */
async function versionsOffered(t: ExecutionContext, to: SocketAddress): Promise<string> {
  const socket = createSocket(to.host.includes(':') ? 'udp6' : 'udp4');
  t.teardown(() => socket.close());
  let from = '';
  socket.on('message', (_datagram, { address }) => {
    from = address;
  });
  const [version, ids] = [Buffer.from('1a2a3a4a', 'hex'), Buffer.from([8, ...Buffer.alloc(8, 1)])];
  const unknown = Buffer.concat([Buffer.of(0xc0), version, ids, ids, Buffer.alloc(1200)]);
  socket.send(unknown, to.port, to.host);
  await until(() => from !== '');
  return from;
}
