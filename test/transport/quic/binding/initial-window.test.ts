/** The unit of the congestion window is apart from the size of datagrams. */
import { randomBytes } from 'node:crypto';
import test from 'ava';
import { DEFAULT_STREAM_LIMITS } from '../../../../src/transport/connection.js';
import { createNativeConfig } from '../../../../src/transport/quic/binding/config.js';
import { DEFAULT_INITIAL_WINDOW_BYTES } from '../../../../src/transport/quic/binding/congestion-control.js';
import { loadNative } from '../../../../src/transport/quic/binding/native.js';
import { nodeCert } from '../../../helpers/certs.js';

const NOWHERE = { host: '127.0.0.1', port: 9 };

/** The window of a new connection, and its first datagram, which the peer never answers. */
async function begin(maxDatagramBytes: number, initialWindowBytes?: number) {
  const native = await loadNative();
  const config = createNativeConfig(native, await nodeCert('n1'), {
    limits: DEFAULT_STREAM_LIMITS,
    idleTimeoutMs: 30_000,
    maxDatagramBytes,
    initialWindowBytes,
  });
  const client = native.Connection.connect(null, randomBytes(16), NOWHERE, NOWHERE, config);
  const sent = client.send(Buffer.alloc(16_000));
  return { windowBytes: client.pathStats()[0]?.cwnd, sentBytes: sent?.[0] };
}

test('a connection begins with the window of its configuration, in datagrams as small as ever', async (t) => {
  const sentBytes = 1200;
  t.deepEqual(await begin(1232), { windowBytes: DEFAULT_INITIAL_WINDOW_BYTES, sentBytes });
  t.deepEqual(await begin(1452, 14_600), { windowBytes: 14_600, sentBytes });
  t.deepEqual(await begin(1232, 655_270), { windowBytes: 655_270, sentBytes });
});

test('the window is never less than ten of the largest datagrams, and eight bytes for each', async (t) => {
  t.is((await begin(1452, 12_000)).windowBytes, 10 * (1452 + 8));
  t.is((await begin(1452, 0)).windowBytes, 10 * (1452 + 8));
  t.is((await begin(16_000)).windowBytes, 10 * (16_000 + 8));
});
