/** Connections that keep the pacer's clock: it must not run ahead for ever where the round trip becomes short. */
import test, { type ExecutionContext } from 'ava';
import { Alarms } from '../../src/base/alarms.js';
import { MeshError } from '../../src/errors.js';
import { DEFAULT_STREAM_LIMITS } from '../../src/transport/connection.js';
import { resolveAdmissionLimits } from '../../src/transport/quic/admission/admission-policy.js';
import { createNativeConfig } from '../../src/transport/quic/binding/config.js';
import { loadNative } from '../../src/transport/quic/binding/native.js';
import type { QuicConnection } from '../../src/transport/quic/connection/connection.js';
import { QuicEndpoint } from '../../src/transport/quic/endpoint/endpoint.js';
import { newEndpointCounters } from '../../src/transport/quic/io/counters.js';
import { PacerClocks } from '../../src/transport/quic/paths/pacer-clocks.js';
import { TrustStore } from '../../src/transport/trust/identity.js';
import { nodeCert, type TestNodeId } from '../helpers/certs.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';

const HOST = '127.0.0.1';
const PAYLOAD = Buffer.alloc(1000, 7);
const AT_ONCE = 16;
/** An estimate below does little harm. */
const SHORT_MS = 50;

test('once the round trip becomes short under load, the estimate follows, or the connection is to be renewed', async (t) => {
  t.timeout(120_000);
  const acceptor = await bindPaced(t, 'n1');
  const dialer = await bindPaced(t, 'n2');
  let accepted: QuicConnection | undefined;
  acceptor.endpoint.acceptor = {
    onConnection: (connection) => {
      accepted = connection;
      answerAll(connection);
    },
  };
  const proxy = await ChaosProxy.start({
    target: acceptor.endpoint.localAddress,
    faults: { delayMs: 150 },
  });
  t.teardown(() => proxy.close());
  const connection = await dialer.dial(proxy.address);
  const isOver = { value: false };
  const asking = askAndAsk(connection, isOver);
  t.false(await within(6, () => connection.needsReplacement || acceptor.clocks.found));

  proxy.change({ delayMs: 0 });
  const isShort = ({ rttMs = 0 }: QuicConnection) => rttMs < SHORT_MS;
  t.true(await within(60, () => connection.needsReplacement || isShort(connection)));
  t.true(await within(30, () => acceptor.clocks.found || isShort(accepted as QuicConnection)));
  t.log(`estimates stayed: dialer ${dialer.clocks.found}, acceptor ${acceptor.clocks.found}`);
  isOver.value = true;
  await asking;
});

class Clocks extends PacerClocks {
  found = false;
  override ranAhead(): void {
    this.found = true;
  }
}

/** An endpoint whose connections keep the clock though they are on loopback. */
async function bindPaced(t: ExecutionContext, nodeId: TestNodeId) {
  const native = await loadNative();
  const tls = await nodeCert(nodeId);
  const limits = DEFAULT_STREAM_LIMITS;
  const tuning = { limits, idleTimeoutMs: 30_000, maxDatagramBytes: 1350, paces: true };
  const config = createNativeConfig(native, tls, tuning);
  const trust = new TrustStore(tls.ca);
  const clocks = new Clocks();
  const endpoint = await QuicEndpoint.bind(
    { host: HOST, port: 0 },
    {
      native,
      alarms: new Alarms(),
      limits,
      connectTimeoutMs: 10_000,
      keepAliveMs: 10_000,
      idleTimeoutMs: 30_000,
      admission: resolveAdmissionLimits({}),
      resetKey: tls.key,
      migration: true,
      datagramLimits: () => ({ maxBytes: 1350, isFixed: true }),
      configFor: () => config,
      pacerClocks: clocks,
      verifyDialer: (chain) => trust.verify(chain, 'dialer', Date.now()),
    },
    newEndpointCounters(),
  );
  t.teardown(() => endpoint.close(new MeshError('NoError', 'test is over')));
  return {
    endpoint,
    clocks,
    async dial(remote: { host: string; port: number }): Promise<QuicConnection> {
      const { connection, ready } = endpoint.dial(remote, {
        connectTimeoutMs: 10_000,
        verifyPeer: (chain) => trust.verify(chain, 'acceptor', Date.now()),
      });
      await ready;
      return connection;
    },
  };
}

function answerAll(connection: QuicConnection): void {
  connection.onStream = (stream) => ({
    onFrame: ({ payload }) => void stream.send(payload, { end: true }),
    onEnd() {},
    onReset() {},
  });
}

/** Requests without pause, so many at once. */
async function askAndAsk(
  connection: QuicConnection,
  isOver: { readonly value: boolean },
): Promise<void> {
  const lane = async () => {
    while (!isOver.value) await ask(connection);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

function ask(connection: QuicConnection): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = connection.openStream({
      onFrame() {},
      onEnd: resolve,
      onReset: reject,
    });
    stream.send(PAYLOAD, { end: true });
  });
}

/** Whether something becomes true within so many seconds. */
async function within(seconds: number, isSo: () => boolean): Promise<boolean> {
  for (let second = 0; second < seconds; second += 1) {
    await sleep(1000);
    if (isSo()) return true;
  }
  return false;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
