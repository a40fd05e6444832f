/** Two QUIC transports with a chaos proxy between them, and one connection; closed when the test ends. */
import type { ExecutionContext } from 'ava';
import type { Connection } from '../../../src/transport/connection.js';
import { QuicTransport, type QuicTransportOptions } from '../../../src/transport/quic/transport.js';
import { nodeCert } from '../certs.js';
import { ChaosProxy, type ChaosProxyOptions } from '../chaos-proxy/proxy.js';

export interface QuicStage {
  /** Of n1, which dials, and n2, which listens. */
  readonly transports: { readonly n1: QuicTransport; readonly n2: QuicTransport };
  readonly proxy: ChaosProxy;
  dial(): Promise<Connection>;
  /** The next connection that n2 accepts. */
  accepted(): Promise<Connection>;
}

export interface QuicPair extends QuicStage {
  readonly dialer: Connection;
  readonly acceptor: Connection;
}

export async function quicStage(
  t: ExecutionContext,
  options: Partial<QuicTransportOptions> = {},
  proxyOptions: Omit<ChaosProxyOptions, 'target'> = {},
): Promise<QuicStage> {
  const [tls1, tls2] = [await nodeCert('n1'), await nodeCert('n2')];
  const n1 = new QuicTransport({ cluster: 'test', tls: () => tls1, ...options });
  const n2 = new QuicTransport({ cluster: 'test', tls: () => tls2, ...options });
  let accept: (connection: Connection) => void = () => {};
  const { address } = await n2.listen({
    host: '127.0.0.1',
    port: 0,
    onConnection: (connection) => accept(connection),
  });
  const proxy = await ChaosProxy.start({ ...proxyOptions, target: address, protocols: ['udp'] });
  t.teardown(() => Promise.all([n1.close(), n2.close(), proxy.close()]));
  t.log(`seed ${proxy.seed}`);
  return {
    transports: { n1, n2 },
    proxy,
    dial: () => n1.dial({ ...proxy.address, nodeId: 'n2' }),
    accepted: () =>
      new Promise((resolve) => {
        accept = resolve;
      }),
  };
}

export async function quicPair(
  t: ExecutionContext,
  options: Partial<QuicTransportOptions> = {},
  proxyOptions: Omit<ChaosProxyOptions, 'target'> = {},
): Promise<QuicPair> {
  const stage = await quicStage(t, options, proxyOptions);
  const accepted = stage.accepted();
  const dialer = await stage.dial();
  return { ...stage, dialer, acceptor: await accepted };
}
