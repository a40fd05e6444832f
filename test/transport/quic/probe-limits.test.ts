/** Probes of the path's size, and peers of another stack that take only small datagrams. */
import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, NodeOptions } from '../../../src/index.js';
import { loadNative, type NativeConfig } from '../../../src/transport/quic/binding/native.js';
import { nodeCert } from '../../helpers/certs.js';
import { ChaosProxy } from '../../helpers/chaos-proxy/proxy.js';
import { startNode, targetOf } from '../../helpers/nodes.js';
import { PlainClient } from '../../helpers/quic/plain-client.js';
import { until } from '../../helpers/until.js';

/** More than is ever sent on a stream. */
const STREAM_BYTES = 2 ** 40;
const WINDOW_BYTES = 64 * 1024;
const OUTAGE_MS = 2500;

interface Probes {
  handed: number;
  refused: number;
}

/** Counts what the binding is given to send as a probe. Nothing else in this process may probe meanwhile. */
async function countProbes(t: ExecutionContext): Promise<Probes> {
  const probes: Probes = { handed: 0, refused: 0 };
  const { prototype } = (await loadNative()).Connection as unknown as {
    prototype: { dgramSendVec(data: Uint8Array): void };
  };
  const { dgramSendVec } = prototype;
  prototype.dgramSendVec = function handOver(data) {
    probes.handed += 1;
    try {
      dgramSendVec.call(this, data);
    } catch (thrown) {
      probes.refused += 1;
      throw thrown;
    }
  };
  t.teardown(() => {
    prototype.dgramSendVec = dgramSendVec;
  });
  return probes;
}

/** Of replies that fill many datagrams. */
async function startReplier(t: ExecutionContext, options: Partial<NodeOptions> = {}) {
  const node = await startNode(t, 'n2', { transports: ['quic'], ...options });
  node.handle('request', () => ({ body: randomBytes(50_000) }));
  return node;
}

/** A client of these limits takes a reply. */
async function replyTo(
  t: ExecutionContext,
  node: MeshNode,
  configure: (config: NativeConfig) => void,
): Promise<void> {
  const client = await PlainClient.connect(t, targetOf(node), await nodeCert('n1'), { configure });
  const stream = client.call({ type: 'request', method: 'm', body: 1 });
  await until(() => stream.ended);
  t.true(stream.bytes > 50_000);
}

test.serial('a peer that takes datagrams of 1,350 bytes is asked for no larger ones', async (t) => {
  const probes = await countProbes(t);
  const node = await startReplier(t);
  await replyTo(t, node, (config) => config.setMaxRecvUdpPayloadSize(1350));
  // The client answers none, so that the search goes through all that are worth asking for.
  await until(() => probes.handed >= 4);
  t.is(probes.refused, 0);
});

test.serial('a peer that takes no datagrams above 1,200 bytes is asked for none', async (t) => {
  const probes = await countProbes(t);
  const node = await startReplier(t);
  await replyTo(t, node, (config) => config.setMaxRecvUdpPayloadSize(1200));
  await replyTo(t, node, (config) => config.enableDgram(false, 0, 0));
  t.deepEqual(probes, { handed: 0, refused: 0 });
});

test.serial('a given size above what a peer takes is no reason to ask it for more', async (t) => {
  const probes = await countProbes(t);
  const node = await startReplier(t, { quic: { maxDatagramBytes: 9000 } });
  await replyTo(t, node, (config) => config.setMaxRecvUdpPayloadSize(1350));
  t.is(probes.refused, 0);
  const bytes = node.peer('n1')?.connections[0]?.datagramBytes;
  t.true(bytes !== undefined && bytes <= 1350, `status says ${bytes}`);
});

test.serial(
  'a peer that takes probes and answers none keeps its connection in an outage',
  async (t) => {
    const probes = await countProbes(t);
    const node = await startNode(t, 'n2', { transports: ['quic'] });
    let isDone = false;
    node.handle('dataTransfer', async function* () {
      for (let sent = 0; sent < 128 || !isDone; sent += 1) yield randomBytes(8192);
    });
    const proxy = await ChaosProxy.start({
      target: targetOf(node),
      faults: { udp: { delayMs: 1 } },
    });
    t.teardown(() => proxy.close());
    const client = await PlainClient.connect(t, proxy.address, await nodeCert('n1'), {
      configure: (config) => {
        // A small window: the transfer is to last.
        config.setInitialMaxData(WINDOW_BYTES);
        config.setMaxConnectionWindow(WINDOW_BYTES);
        config.setInitialMaxStreamDataBidiLocal(STREAM_BYTES);
      },
    });
    const call = client.call({ type: 'dataTransfer', transferId: 'down', offset: 0 });
    // The search has come to its end when nothing more is asked for.
    for (let handed = -1; handed < probes.handed; ) {
      handed = probes.handed;
      await new Promise((resolve) => setTimeout(resolve, 1500));
    }
    t.true(probes.handed > 0);
    proxy.onDatagram = () => 'drop';
    await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS));
    proxy.onDatagram = undefined;
    const { bytes } = call;
    await until(() => call.bytes > bytes || call.ended);
    // So long it takes to find that a path carries no datagrams of 1,200 bytes.
    await new Promise((resolve) => setTimeout(resolve, 4000));
    isDone = true;
    await until(() => call.ended);
    t.is(call.error, undefined);
    t.is(node.counters.transports.quic?.pathsUnusable, 0);
  },
);
