/** What a connection sends once it is closed: little, and never nothing. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { ClosingPeriod } from '../../../../src/transport/quic/connection/closing-period.js';
import { openCollected } from '../../../helpers/frame-client.js';
import { quicPair, quicStage } from '../../../helpers/quic/pair-through-proxy.js';
import { until } from '../../../helpers/until.js';

test('the packet that closes is sent again for the 1st, 2nd, 4th, 8th … datagram', (t) => {
  const closing = new ClosingPeriod(0);
  t.is(closing.arrived(), undefined, 'nothing to repeat yet');
  const packet = Buffer.from('close');
  closing.wrote(packet, true);
  packet.fill(0);
  const answered: number[] = [];
  for (let arrival = 1; arrival <= 100; arrival += 1) {
    const answer = closing.arrived();
    if (answer === undefined) continue;
    answered.push(arrival);
    t.is(answer.toString(), 'close');
  }
  t.deepEqual(answered, [1, 2, 4, 8, 16, 32, 64]);
});

test('the binding writes one packet that closes, or a few others at most', (t) => {
  const closing = new ClosingPeriod(0);
  t.true(closing.mayWrite);
  closing.wrote(Buffer.of(1), true);
  t.false(closing.mayWrite);
  const stuck = new ClosingPeriod(0);
  let written = 0;
  for (; stuck.mayWrite && written < 100; written += 1) stuck.wrote(Buffer.of(1), false);
  t.is(written, 3);
  t.is(stuck.arrived(), undefined);
});

test('it ends with the wait of the binding, or a few seconds after it began', (t) => {
  const closing = new ClosingPeriod(1000);
  t.is(closing.delayMs(30, 1000), 30);
  t.is(closing.delayMs(60_000, 1000), 3000);
  t.is(closing.delayMs(null, 2000), 2000);
  closing.wrote(Buffer.of(1), true);
  t.is(closing.delayMs(30, 1000), 30);
  t.false(closing.isOver(3999));
  t.true(closing.isOver(4000));
  const stuck = new ClosingPeriod(1000);
  for (let i = 0; i < 3; i += 1) stuck.wrote(Buffer.of(1), false);
  t.is(stuck.delayMs(0, 1000), 3000, 'the binding asks to be asked again at once');
});

for (const side of ['dialer', 'acceptor'] as const) {
  test(`the close of a ${side} that got lost is repeated when the peer still sends`, async (t) => {
    // The period goes by the round trip: long enough for a busy machine.
    const pair = await quicPair(t, {}, { faults: { delayMs: 100 } });
    const { proxy } = pair;
    const [closer, peer] =
      side === 'dialer' ? [pair.dialer, pair.acceptor] : [pair.acceptor, pair.dialer];
    const away = side === 'dialer' ? 'toServer' : 'toClient';
    const counters = proxy.counters.udp[away];
    await until(() => counters.forwarded > 0);
    proxy.change({ [away]: { blackHole: true } });
    const before = counters.dropped;
    await closer.close('GoingAway', 'first copy is lost');
    await until(() => counters.dropped > before);
    t.is(peer.state.kind, 'open');
    proxy.change({ [away]: { blackHole: false } });
    peer.probe?.();
    t.like(await peer.closed, { code: 'GoingAway', side: 'remote' });
  });
}

test('a peer that goes on sending hears ever more seldom that it is over', async (t) => {
  const { dialer, acceptor, proxy } = await quicPair(t, {}, { faults: { delayMs: 100 } });
  const { toServer, toClient } = proxy.counters.udp;
  proxy.change({ toServer: { blackHole: true } });
  const before = toServer.dropped;
  await dialer.close();
  await until(() => toServer.dropped > before);
  const closed = toServer.dropped;
  const arrivedBefore = toClient.forwarded;
  for (let i = 0; i < 200; i += 1) {
    acceptor.probe?.();
    await sleep(1);
  }
  const arrived = toClient.forwarded - arrivedBefore;
  t.true(arrived >= 10, `${arrived} arrived`);
  t.true(toServer.dropped - closed <= 2 + Math.log2(arrived), `${toServer.dropped - closed}`);
});

test('a dialer whose handshake is not acknowledged closes with a handful of datagrams', async (t) => {
  const { dial, proxy, transports } = await quicStage(t, { maxDatagramBytes: 1350 });
  // The client's first flight is smaller; its certificate never arrives.
  proxy.change({ toServer: { maxDatagramBytes: 1300 } });
  const dialer = await dial();
  proxy.change({ toServer: { blackHole: true } });
  // More than the congestion window takes: what closes has to wait for a probe, which is one of the handshake's.
  const { stream } = openCollected(dialer);
  stream.send(Buffer.alloc(1_000_000));
  await sleep(100);
  // The sender's own count: no proxy gets to see all of a storm.
  const { counters } = transports.n1;
  const before = counters.datagramsSent ?? 0;
  await dialer.close();
  await sleep(1500);
  const sent = (counters.datagramsSent ?? 0) - before;
  t.true(sent <= 10, `${sent} datagrams after the close`);
});
