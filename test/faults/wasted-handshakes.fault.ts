/** Whoever begins handshakes and ends none costs a node a bounded share of its time, and others are served beside it. */
import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'ava';
import { DEFAULT_SOURCE_BUDGET } from '../../src/transport/admission/source-budget.js';
import { HELLO_MS } from '../../src/transport/tcp/listener.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { nodeCert } from '../helpers/certs.js';
import { recordHello } from '../helpers/record-hello.js';
import { until } from '../helpers/until.js';

const LANES = 32;
const MANY_DROPS = 40;
const HANDSHAKE_TIMEOUT_MS = 500;

test('tcp: a source has so much work to waste', async (t) => {
  const tls = await nodeCert('n2');
  const transport = new TcpTransport({ tls: () => tls, handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS });
  t.teardown(() => transport.close());
  const { address } = await transport.listen({ host: '127.0.0.1', port: 0, onConnection() {} });
  const { counters } = transport;
  const hello = await recordHello();
  /** @returns whether TLS has answered */
  const askFrom = async (localAddress: string): Promise<boolean> => {
    const socket = connect({ ...address, localAddress });
    let isAnswered = false;
    socket
      .on('error', () => {})
      .on('data', () => {
        isAnswered = true;
        socket.destroy();
      });
    socket.write(hello);
    await once(socket, 'close');
    return isAnswered;
  };

  const beganMs = performance.now();
  let answered = 0;
  const lane = async () => {
    while (counters.sourceBudgetDropped < MANY_DROPS) {
      if (await askFrom('127.0.0.2')) answered += 1;
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const { burstMs, share } = DEFAULT_SOURCE_BUDGET;
  const wastedMs = answered * HELLO_MS;
  t.log(`${answered} ClientHellos answered, ${counters.sourceBudgetDropped} dropped`);
  t.true(wastedMs >= burstMs, `${wastedMs} ms`);
  // What is charged ahead waits for half of the time that a handshake has.
  const paidMs = (performance.now() - beganMs + HANDSHAKE_TIMEOUT_MS) * share;
  t.true(wastedMs <= burstMs + paidMs + LANES * HELLO_MS, `${wastedMs} ms`);

  const certificate = await nodeCert('n1');
  const dialer = new TcpTransport({ tls: () => certificate });
  t.teardown(() => dialer.close());
  const target = { ...address, nodeId: 'n2' };
  await Promise.all(Array.from({ length: 5 }, () => dialer.dial(target)));
  await until(() => counters.accepted === 5);
  t.true(await askFrom('127.0.0.3'));
});
