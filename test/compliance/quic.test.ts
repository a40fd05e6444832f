/** The compliance suite over QUIC v1, on loopback. */
import test from 'ava';
import type { Connection } from '../../src/transport/connection.js';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { nodeCert } from '../helpers/certs.js';
import { connectionSuite, type PairOptions } from './connection-suite.js';

connectionSuite(test, 'quic', async ({ limits }: PairOptions) => {
  const [n1, n2] = await Promise.all([nodeCert('n1'), nodeCert('n2')]);
  const dialing = new QuicTransport({ cluster: 'test', tls: () => n1, limits });
  const listening = new QuicTransport({ cluster: 'test', tls: () => n2, limits });
  let accept: (connection: Connection) => void = () => {};
  const accepted = new Promise<Connection>((resolve) => {
    accept = resolve;
  });
  const listener = await listening.listen({ host: '127.0.0.1', port: 0, onConnection: accept });
  const dialer = await dialing.dial({ ...listener.address, nodeId: 'n2' });
  const acceptor = await accepted;
  return {
    dialer,
    acceptor,
    close: async () => {
      await Promise.all([dialing.close(), listening.close()]);
    },
  };
});
