/** What a node sends to an address that its peer's packets come from all of a sudden, before the peer has proved it. */
import { createSocket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { encodeFrame } from '../../../src/protocol/frame.js';
import { nodeCert } from '../../helpers/certs.js';
import {
  ackFrame,
  maxDataFrame,
  maxStreamDataFrame,
  pingFrame,
  streamFrame,
} from '../../helpers/quic/frames.js';
import { HostileClient } from '../../helpers/quic/hostile-client.js';
import { Victim } from '../../helpers/quic/victim.js';
import { until } from '../../helpers/until.js';

const MIB = 1024 * 1024;

test.serial(
  'three times what came from there, then no more; the old address is good again after a while',
  async (t) => {
    const { victim, client } = await downloading(t);
    const stranger = await socketOf(t);
    const received = count(stranger);
    let sentBytes = 0;
    const began = performance.now();
    // The whole window is acknowledged with each, so there is always more to send.
    for (let i = 0; i < 10; i += 1) {
      const packet = client.packet(Buffer.concat([acknowledged(client), pingFrame()]));
      sentBytes += packet.length;
      await sendFrom(stranger, packet, victim);
      await sleep(100);
    }
    t.true(received.bytes > 0);
    t.true(received.bytes <= 3 * sentBytes, `${received.bytes} for ${sentBytes}`);
    const before = client.received.datagrams;
    await until(() => client.received.datagrams > before, 15_000);
    t.true(performance.now() - began > 2000);
    t.true(received.bytes <= 3 * sentBytes, `${received.bytes} for ${sentBytes}`);
    t.deepEqual((await victim.health()).closed, []);
    t.is((await victim.health()).counters.pathsFailed, 1);
    t.is((await victim.health()).counters.peerMigrations, 0);
  },
);

test.serial('a packet that was seen before moves nothing', async (t) => {
  const { victim, client } = await downloading(t);
  const stranger = await socketOf(t);
  const received = count(stranger);
  const packet = client.packet(pingFrame());
  await client.sendDatagram(packet);
  await sleep(100);
  for (let i = 0; i < 5; i += 1) await sendFrom(stranger, Buffer.from(packet), victim);
  // Nor does one that nobody with the keys has made.
  const forged = Buffer.from(client.packet(pingFrame()));
  forged[forged.length - 1] = (forged.at(-1) as number) ^ 1;
  await sendFrom(stranger, forged, victim);
  await sleep(300);
  t.is(received.bytes, 0);
  t.is((await victim.health()).counters.pathsFailed, 0);
});

/** A client in the middle of a download that has no end. */
async function downloading(t: ExecutionContext) {
  const victim = await Victim.start(t, { serves: 'endless' });
  const client = await HostileClient.connect(t, victim.address, await nodeCert('n2'));
  const payload = Buffer.from('go');
  await client.send(
    maxDataFrame(64 * MIB),
    streamFrame(0, 0, encodeFrame({ messageId: 1, payload, checksum: true })),
  );
  await client.send(maxStreamDataFrame(0, 64 * MIB));
  await until(() => client.received.datagrams > 5);
  return { victim, client };
}

function acknowledged(client: HostileClient): Buffer {
  return ackFrame([{ first: 0, last: client.largestReceived }]);
}

async function socketOf(t: ExecutionContext) {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return socket;
}

function count(socket: ReturnType<typeof createSocket>): { bytes: number } {
  const received = { bytes: 0 };
  socket.on('message', ({ length }) => {
    received.bytes += length;
  });
  return received;
}

function sendFrom(
  socket: ReturnType<typeof createSocket>,
  datagram: Buffer,
  { address }: Victim,
): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(datagram, address.port, address.host, (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}
