/**
 * Acknowledgements of what was not received, sent by a peer with a good certificate, which quiche 0.18.0 believes:
 * CVE-2025-4820 (ahead of the packets) and CVE-2025-4821 (of packets never sent). The guard is `receipt-proof.ts`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { encodeFrame } from '../../../../src/protocol/frame.js';
import { QuicTransport } from '../../../../src/transport/quic/transport.js';
import { nodeCert } from '../../../helpers/certs.js';
import {
  ackFrame,
  maxDataFrame,
  maxStreamDataFrame,
  streamFrame,
} from '../../../helpers/quic/frames.js';
import { HostileClient } from '../../../helpers/quic/hostile-client.js';
import { Victim } from '../../../helpers/quic/victim.js';
import { until } from '../../../helpers/until.js';

const MIB = 1024 * 1024;
const ATTACK_MS = 8000;
const NO_LIMIT = 2 ** 50;

const ATTACKS = [
  {
    hole: 'packets that were never sent (CVE-2025-4821)',
    lastAcked: () => 2 ** 30,
  },
  {
    hole: 'packets that are still under way (CVE-2025-4820)',
    /** More than the victim can have sent by then. */
    lastAcked: (elapsedMs: number) => 1000 + 100 * Math.round(elapsedMs),
  },
];

for (const { hole, lastAcked } of ATTACKS) {
  test.serial(`a peer that acknowledges ${hole} is cut off`, async (t) => {
    const victim = await Victim.start(t, { serves: 'endless' });
    const client = await HostileClient.connect(t, victim.address, await nodeCert('n2'));
    client.isDeaf = true;
    const before = await victim.settledRssBytes();
    await client.send(maxDataFrame(NO_LIMIT), streamFrame(0, 0, firstFrame()));
    await client.send(maxStreamDataFrame(0, NO_LIMIT));
    const began = performance.now();
    let elapsedMs = 0;
    let health = await victim.health();
    while (elapsedMs < ATTACK_MS && health.closed.length === 0) {
      for (let i = 0; i < 20; i += 1) {
        elapsedMs = performance.now() - began;
        await client.send(ackFrame([{ first: 0, last: lastAcked(elapsedMs) }]));
        await sleep(1);
      }
      health = await victim.health();
    }
    t.deepEqual(health.closed, ['ProtocolViolation: peer acknowledged what it did not receive']);
    t.is(health.counters.closedForFalseAcks, 1);
    const sentBytes = health.counters.bytesSent ?? 0;
    const growth = health.rssBytes - before;
    t.log(`sent ${inMib(sentBytes)} MiB, grew by ${inMib(growth)} MiB`);
    t.true(sentBytes < 128 * MIB);
    t.true(growth < 256 * MIB);
    await sleep(500);
    t.is((await victim.health()).counters.bytesSent, sentBytes);
  });
}

test.serial('a peer that receives is asked for proofs, and goes on', async (t) => {
  const victim = await Victim.start(t, { serves: 'endless' });
  const connection = await connectHonest(t, victim);
  let received = 0;
  const stream = connection.openStream({
    onFrame({ payload }) {
      received += payload.length;
    },
    onEnd() {},
    onReset() {},
  });
  stream.send(Buffer.from('go'));
  await until(() => received > 300 * MIB, 40_000);
  t.is(connection.state.kind, 'open');
  const health = await victim.health();
  t.deepEqual(health.closed, []);
  t.is(health.counters.closedForFalseAcks, 0);
});

/** The first frame of a dialer's first stream. */
function firstFrame(): Buffer {
  return encodeFrame({ messageId: 1, payload: Buffer.from('go'), checksum: true });
}

function inMib(bytes: number): string {
  return (bytes / MIB).toFixed(0);
}

async function connectHonest(t: ExecutionContext, victim: Victim) {
  const tls = await nodeCert('n3');
  const transport = new QuicTransport({ cluster: 'test', tls: () => tls });
  t.teardown(() => transport.close());
  return transport.dial({ nodeId: 'n1', ...victim.address });
}
