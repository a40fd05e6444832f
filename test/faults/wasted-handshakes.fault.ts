/** Whoever begins handshakes and ends none costs a node a bounded share of its time, and others are served beside it. */
import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'ava';
import { DEFAULT_HALF_OPEN_LIMITS } from '../../src/transport/admission/half-open.js';
import { SOURCE_SHARE } from '../../src/transport/admission/source-budget.js';
import { HANDSHAKE_MS } from '../../src/transport/quic/admission/admission-policy.js';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { HELLO_MS } from '../../src/transport/tcp/listener.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { nodeCert, otherCaCert } from '../helpers/certs.js';
import { recordHello } from '../helpers/record-hello.js';
import { until } from '../helpers/until.js';

const LANES = 32;
const MANY_DROPS = 40;
const HANDSHAKE_TIMEOUT_MS = 500;

test('tcp: a source has so much work to waste', async (t) => {
  const tls = await nodeCert('n2');
  const transport = new TcpTransport({
    tls: () => tls,
    handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
    admission: { silent: 'off' },
  });
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
  const burstMs = 2 * DEFAULT_HALF_OPEN_LIMITS.maxHalfOpenPerSource * HELLO_MS;
  const wastedMs = answered * HELLO_MS;
  t.log(`${answered} ClientHellos answered, ${counters.sourceBudgetDropped} dropped`);
  t.true(wastedMs >= burstMs, `${wastedMs} ms`);
  // What is charged ahead waits for half of the time that a handshake has.
  const paidMs = (performance.now() - beganMs + HANDSHAKE_TIMEOUT_MS) * SOURCE_SHARE;
  t.true(wastedMs <= burstMs + paidMs + LANES * HELLO_MS, `${wastedMs} ms`);

  const certificate = await nodeCert('n1');
  const dialer = new TcpTransport({ cluster: 'test', tls: () => certificate });
  t.teardown(() => dialer.close());
  const target = { ...address, nodeId: 'n2' };
  await Promise.all(Array.from({ length: 5 }, () => dialer.dial(target)));
  await until(() => counters.accepted === 5);
  t.true(await askFrom('127.0.0.3'));
});

test('quic: a source has so much work to waste', async (t) => {
  const tls = await nodeCert('n2');
  const transport = new QuicTransport({
    cluster: 'test',
    tls: () => tls,
    connectTimeoutMs: HANDSHAKE_TIMEOUT_MS,
  });
  t.teardown(() => transport.close());
  const { address } = await transport.listen({ host: '127.0.0.1', port: 0, onConnection() {} });
  const { counters } = transport;
  // It can do all but show a certificate of the cluster.
  const foreign = { ...(await otherCaCert('n1')), ca: tls.ca };
  const stranger = new QuicTransport({
    cluster: 'test',
    tls: () => foreign,
    connectTimeoutMs: 200,
  });
  t.teardown(() => stranger.close());
  const beganMs = performance.now();
  const lane = async () => {
    while ((counters.droppedSourceBudget as number) < MANY_DROPS) {
      await stranger.dial(address).then(
        ({ closed }) => closed,
        () => undefined,
      );
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const burstMs = 2 * DEFAULT_HALF_OPEN_LIMITS.maxHalfOpenPerSource * HANDSHAKE_MS;
  const wastedMs = (counters.refused as number) * HANDSHAKE_MS;
  t.log(`${counters.refused} handshakes, ${counters.droppedSourceBudget} Initials dropped`);
  t.true(wastedMs >= burstMs, `${wastedMs} ms`);
  const paidMs = (performance.now() - beganMs) * SOURCE_SHARE;
  t.true(wastedMs <= burstMs + paidMs + LANES * HANDSHAKE_MS, `${wastedMs} ms`);
});
