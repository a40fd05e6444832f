import test from 'ava';
import type { Connection } from '../../src/transport/connection.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { nodeCert } from '../helpers/certs.js';
import { type ConnectionPair, connectionSuite, type PairOptions } from './connection-suite.js';

connectionSuite(test, 'tcp', tcpPair);

async function tcpPair({ limits }: PairOptions): Promise<ConnectionPair> {
  const [dialerTls, acceptorTls] = await Promise.all([nodeCert('n1'), nodeCert('n2')]);
  const dialing = new TcpTransport({ tls: () => dialerTls, limits });
  const accepting = new TcpTransport({ tls: () => acceptorTls, limits });
  const { promise: accepted, resolve: onConnection } = withResolvers<Connection>();
  const { address } = await accepting.listen({ host: '127.0.0.1', port: 0, onConnection });
  const [dialer, acceptor] = await Promise.all([
    dialing.dial({ ...address, nodeId: 'n2' }),
    accepted,
  ]);
  return {
    dialer,
    acceptor,
    close: async () => {
      await Promise.all([dialing.close(), accepting.close()]);
    },
  };
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((onFulfilled) => {
    resolve = onFulfilled;
  });
  return { promise, resolve };
}
