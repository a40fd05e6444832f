/**
 * CVE-2025-7054: quiche 0.18.0 loops for ever in `send()` when it is to retire the connection ID that its path uses, sent
 * by a peer with a good certificate. The guard is `peer-address.ts`: with one path in the binding that cannot come about.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { nodeCert } from '../../../helpers/certs.js';
import { request } from '../../../helpers/frame-client.js';
import { newConnectionIdFrame, pingFrame } from '../../../helpers/quic/frames.js';
import { HostileClient } from '../../../helpers/quic/hostile-client.js';
import { connectNeighbour } from '../../../helpers/quic/neighbour.js';
import { Victim } from '../../../helpers/quic/victim.js';

/** Sent one after the other, each from a port of its own. */
const ATTACKS: Readonly<Record<string, readonly (readonly Buffer[])[]>> = {
  'a connection ID that is to be retired comes back as a spare for a new path': [
    [id(5, 5), id(1, 0), id(1, 0), pingFrame()],
  ],
  'the path’s own connection ID comes back once the peer has moved': [
    [pingFrame()],
    [id(1, 1), id(0, 0), pingFrame()],
  ],
  'a path that lost its connection ID gets a retired one, in the packet after the move': [
    [id(1, 0), pingFrame()],
    [pingFrame()],
    [id(2, 2), id(1, 0), id(1, 0), pingFrame()],
  ],
};

for (const [title, packets] of Object.entries(ATTACKS)) {
  test.serial(`${title}: the node goes on`, async (t) => {
    const victim = await Victim.start(t);
    const neighbour = await connectNeighbour(t, victim);
    const client = await HostileClient.connect(t, victim.address, await nodeCert('n2'));
    for (const frames of packets) {
      await client.moveToNewPort();
      await client.send(...frames);
      await sleep(200);
    }
    t.true(await victim.isResponsive(), 'the event loop is stuck');
    t.true(
      client.received.datagrams > 0,
      'nothing came back: the packets did not reach the connection',
    );
    t.is((await request(neighbour, Buffer.from('still here'))).toString(), 'still here');
  });
}

function id(sequence: number, retirePriorTo: number): Buffer {
  const connectionId = Buffer.alloc(16, sequence + 1);
  return newConnectionIdFrame({
    sequence,
    retirePriorTo,
    connectionId,
    resetToken: Buffer.alloc(16),
  });
}
