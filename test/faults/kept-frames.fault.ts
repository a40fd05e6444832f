/**
 * What quiche 0.18.0 keeps without limit, sent by a peer with a good certificate: CVE-2023-6193 (PATH_CHALLENGE),
 * CVE-2024-1410 (retired connection IDs), CVE-2024-1765 (CRYPTO). The guard is `input-budget.ts`.
 */
import test from 'ava';
import { nodeCert } from '../helpers/certs.js';
import { request } from '../helpers/frame-client.js';
import { cryptoFrame, newConnectionIdFrame, pathChallengeFrame } from '../helpers/quic/frames.js';
import { HostileClient } from '../helpers/quic/hostile-client.js';
import { connectNeighbour } from '../helpers/quic/neighbour.js';
import { Victim } from '../helpers/quic/victim.js';

const MIB = 1024 * 1024;
/** What one datagram on loopback holds with room to spare. */
const PAYLOAD_BYTES = 60_000;

/** Datagrams on their way and garbage take up to half of it; without the guard the first three take twice as much. */
const MAX_GROWTH_BYTES = 64 * MIB;

interface Attack {
  readonly hole: string;
  /** Each the payload of one packet. */
  readonly payloads: () => Iterable<Buffer>;
  /** Of the event loop at once; without the guard it is a multiple of that, where the binding has to search. */
  readonly maxBusyMs: number;
}

const ATTACKS: readonly Attack[] = [
  {
    hole: 'CRYPTO frames after the handshake, each behind a gap (CVE-2024-1765)',
    payloads: () =>
      datagrams(1600, (index) => cryptoFrame(10_000 + 1001 * index, Buffer.alloc(1000))),
    maxBusyMs: 2000,
  },
  {
    hole: 'CRYPTO frames of one byte, each behind a gap (CVE-2024-1765)',
    payloads: () => datagrams(120, (index) => cryptoFrame(10_000 + 2 * index, Buffer.alloc(1))),
    maxBusyMs: 2000,
  },
  {
    hole: 'PATH_CHALLENGE frames whose answers are never acknowledged (CVE-2023-6193)',
    payloads: () => datagrams(1600, () => pathChallengeFrame(Buffer.alloc(8, 7))),
    maxBusyMs: 2000,
  },
  {
    hole: 'connection IDs that are retired as they come (CVE-2024-1410)',
    payloads: () => datagrams(120, (index) => retiredId(index)),
    maxBusyMs: 1500,
  },
];

for (const { hole, payloads, maxBusyMs } of ATTACKS) {
  test.serial(
    `${hole}: memory stays bounded, the connection ends, others are served`,
    async (t) => {
      const victim = await Victim.start(t);
      const neighbour = await connectNeighbour(t, victim);
      const client = await HostileClient.connect(t, victim.address, await nodeCert('n2'));
      const before = await victim.settledRssBytes();
      await client.sendAll(payloads());
      const health = await victim.closedBy(/^ProtocolViolation: \d+ bytes .* brought nothing$/);
      t.is(health.counters.closedForExcess, 1);
      t.true(health.busyMs < maxBusyMs, `busy for ${health.busyMs} ms`);
      const growth = (await victim.settledRssBytes()) - before;
      t.true(growth < MAX_GROWTH_BYTES, `grew by ${(growth / MIB).toFixed(1)} MiB`);
      t.log(
        `grew by ${(growth / MIB).toFixed(1)} MiB, busy for ${health.busyMs.toFixed(0)} ms at most`,
      );
      t.is((await request(neighbour, Buffer.from('still here'))).toString(), 'still here');
    },
  );
}

/** Frames by the thousand, in full packets. */
function* datagrams(count: number, frame: (index: number) => Buffer): Generator<Buffer> {
  let index = 0;
  for (let i = 0; i < count; i += 1) {
    const frames: Buffer[] = [];
    for (let bytes = 0; bytes < PAYLOAD_BYTES; index += 1) {
      const next = frame(index);
      frames.push(next);
      bytes += next.length;
    }
    yield Buffer.concat(frames);
  }
}

/** The first retires all that follow: the binding is to retire each of them, one frame after the other. */
function retiredId(index: number): Buffer {
  const first = 2 ** 29;
  return newConnectionIdFrame({
    sequence: index === 0 ? first : index,
    retirePriorTo: index === 0 ? first : 0,
    connectionId: Buffer.from([index === 0 ? 1 : 2]),
    resetToken: Buffer.alloc(16),
  });
}
