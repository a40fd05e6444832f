/**
 * Estimates of the round trip on paced connections: they follow the path where it becomes short under load, and stay true where
 * calls one at a time lose packets, however long. Where they do not, losses are repaired late, and bulk data stands still.
 */
import test, { type ExecutionContext } from 'ava';
import { Alarms } from '../../src/base/alarms.js';
import { MeshError } from '../../src/errors.js';
import { DEFAULT_STREAM_LIMITS } from '../../src/transport/connection.js';
import { resolveAdmissionLimits } from '../../src/transport/quic/admission/admission-policy.js';
import { createNativeConfig } from '../../src/transport/quic/binding/config.js';
import { DEFAULT_INITIAL_WINDOW_BYTES } from '../../src/transport/quic/binding/congestion-control.js';
import { loadNative } from '../../src/transport/quic/binding/native.js';
import type { QuicConnection } from '../../src/transport/quic/connection/connection.js';
import { QuicEndpoint } from '../../src/transport/quic/endpoint/endpoint.js';
import { newEndpointCounters } from '../../src/transport/quic/io/counters.js';
import { TrustStore } from '../../src/transport/trust/identity.js';
import { nodeCert, type TestNodeId } from '../helpers/certs.js';
import type { ChaosSettings } from '../helpers/chaos-proxy/faults.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';

const HOST = '127.0.0.1';
const PAYLOAD = Buffer.alloc(1000, 7);
const AT_ONCE = 16;
/** An estimate below does little harm. */
const SHORT_MS = 50;
const LOSSY_CALLS = 500;

test('once the round trip becomes short under load, the estimate follows at both ends', async (t) => {
  t.timeout(120_000);
  await using path = await connectThrough(t, { delayMs: 150 });
  const { dialed, accepted, proxy } = path;
  const isOver = { value: false };
  const asking = askAndAsk(dialed, isOver);
  await sleep(4000);
  t.true((dialed.rttMs ?? 0) > 150);

  proxy.change({ delayMs: 0 });
  for (const connection of [dialed, accepted()]) {
    t.true(await within(60, () => (connection.rttMs ?? Number.POSITIVE_INFINITY) < SHORT_MS));
  }
  isOver.value = true;
  await asking;
});

test('calls one at a time over a path of a millisecond that loses 3 % each way leave the estimate true', async (t) => {
  t.timeout(120_000);
  await using path = await connectThrough(t, { delayMs: 0.5, loss: 0.03 });
  const { dialed, accepted } = path;
  const estimates: number[] = [];
  for (let call = 0; call < LOSSY_CALLS; call += 1) {
    await ask(dialed);
    for (const { rttMs = 0 } of [dialed, accepted()]) estimates.push(rttMs);
  }
  estimates.sort((a, b) => a - b);
  const p90 = estimates[Math.floor(0.9 * estimates.length)] as number;
  t.log(`p90 ${p90.toFixed(1)} ms, most ${estimates.at(-1)?.toFixed(1)} ms`);
  t.true(p90 < SHORT_MS);
  t.false(dialed.needsReplacement);
});

/** A dialed connection and its other end, through a proxy with these faults. */
async function connectThrough(t: ExecutionContext, faults: ChaosSettings) {
  const acceptor = await bindPaced(t, 'n1');
  const dialer = await bindPaced(t, 'n2');
  const ends: QuicConnection[] = [];
  acceptor.endpoint.acceptor = {
    onConnection: (connection) => {
      ends.push(connection);
      answerAll(connection);
    },
  };
  const target = acceptor.endpoint.localAddress;
  const proxy = await ChaosProxy.start({ target, protocols: ['udp'], faults, seed: 1 });
  const dialed = await dialer.dial(proxy.address);
  return {
    proxy,
    dialed,
    accepted: () => ends[0] as QuicConnection,
    [Symbol.asyncDispose]: () => proxy.close(),
  };
}

/** An endpoint whose connections are paced though they are on loopback. */
async function bindPaced(t: ExecutionContext, nodeId: TestNodeId) {
  const native = await loadNative();
  const tls = await nodeCert(nodeId);
  const limits = DEFAULT_STREAM_LIMITS;
  const tuning = { limits, idleTimeoutMs: 30_000, maxDatagramBytes: 1350, isPaced: true };
  const config = createNativeConfig(native, tls, tuning);
  const trust = new TrustStore(tls.ca);
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
      initialWindowBytes: DEFAULT_INITIAL_WINDOW_BYTES,
      isPaced: () => true,
      verifyDialer: (chain) => trust.verify(chain, 'dialer', Date.now()),
    },
    newEndpointCounters(),
  );
  t.teardown(() => endpoint.close(new MeshError('NoError', 'test is over')));
  return {
    endpoint,
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
