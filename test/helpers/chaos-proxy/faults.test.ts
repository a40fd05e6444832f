/** Settings and chances of the chaos proxy, which are pure. */
import test from 'ava';
import { Random } from '../../../scripts/fuzz/random.js';
import { corrupted, drawFate, FAULTLESS, withSettings } from './faults.js';
import { type QuicPacketType, quicPacketTypes } from './quic-packets.js';

function fates(seed: number, count: number) {
  const random = new Random(seed, 0, 1);
  return Array.from({ length: count }, () => drawFate(random));
}

test('the same seed has the same fates in store, and another one others', (t) => {
  t.deepEqual(fates(7, 100), fates(7, 100));
  t.notDeepEqual(fates(7, 100), fates(8, 100));
  const all = fates(7, 2000).flatMap((fate) => Object.values(fate));
  t.true(all.every((chance) => chance >= 0 && chance < 1));
  const mean = all.reduce((sum, chance) => sum + chance, 0) / all.length;
  t.true(Math.abs(mean - 0.5) < 0.02, `${mean}`);
});

test('special settings win over general ones, and what is not named stays', (t) => {
  const first = withSettings(FAULTLESS, {
    delayMs: 25,
    loss: 0.1,
    toClient: { loss: 0.2 },
    udp: { loss: 0.3, toServer: { loss: 0.4 } },
  });
  t.is(first.tcp.toServer.loss, 0.1);
  t.is(first.tcp.toClient.loss, 0.2);
  t.is(first.udp.toClient.loss, 0.3);
  t.is(first.udp.toServer.loss, 0.4);
  const second = withSettings(first, { tcp: { blackHole: true } });
  t.true(second.tcp.toClient.blackHole);
  t.false(second.udp.toClient.blackHole);
  t.is(second.udp.toServer.loss, 0.4);
  t.is(second.tcp.toServer.delayMs, 25);
});

test('settings that cannot be are RangeErrors', (t) => {
  for (const faults of [
    { loss: 1.1 },
    { duplicate: -0.1 },
    { delayMs: -1 },
    { jitterMs: Number.NaN },
    { bytesPerSecond: 0 },
    { udp: { toServer: { corrupt: 2 } } },
    { maxDatagramBytes: 0 },
  ]) {
    t.throws(() => withSettings(FAULTLESS, faults), { instanceOf: RangeError });
  }
});

test('corruption flips one bit of a copy', (t) => {
  const bytes = Buffer.alloc(100);
  for (const fate of fates(3, 200)) {
    const changed = corrupted(bytes, fate);
    const ones = [...changed].reduce(
      (sum, byte) => sum + byte.toString(2).split('1').length - 1,
      0,
    );
    t.is(ones, 1);
  }
  t.true(bytes.every((byte) => byte === 0));
  t.is(corrupted(Buffer.alloc(0), fates(1, 1)[0]!).length, 0);
});

test('packets of a datagram are named in their order', (t) => {
  const initial = longPacket(0, Buffer.of(2, 0xaa, 0xbb));
  const early = longPacket(1);
  const handshake = longPacket(2);
  const retry = longPacket(3);
  const short = Buffer.concat([Buffer.of(0x40), Buffer.alloc(40, 1)]);
  const named: [Buffer[], QuicPacketType[]][] = [
    [[initial], ['initial']],
    [
      [initial, early, early],
      ['initial', '0rtt', '0rtt'],
    ],
    [
      [initial, handshake, short],
      ['initial', 'handshake', 'short'],
    ],
    [[retry], ['retry']],
    [[Buffer.from([0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])], ['versionNegotiation']],
    [[Buffer.from([0xc0, 9, 9, 9, 9, 0, 0])], ['unknown']],
    [
      [handshake, Buffer.alloc(10)],
      ['handshake', 'padding'],
    ],
    [
      [handshake, Buffer.of(0, 0, 1)],
      ['handshake', 'unknown'],
    ],
    [[initial.subarray(0, -1)], ['unknown']],
    [[], []],
  ];
  for (const [packets, types] of named) t.deepEqual(quicPacketTypes(Buffer.concat(packets)), types);
  for (let length = 1; length < initial.length; length += 1) {
    t.deepEqual(quicPacketTypes(initial.subarray(0, length)), ['unknown']);
  }
});

/** With connection IDs of 8 and 4 bytes, and a body of 300. */
function longPacket(type: number, token?: Buffer): Buffer {
  const head = Buffer.from([
    0xc0 | (type << 4),
    0,
    0,
    0,
    1,
    8,
    ...Buffer.alloc(8, 1),
    4,
    2,
    2,
    2,
    2,
  ]);
  const length = Buffer.from([0x40 | (300 >> 8), 300 & 0xff]);
  return Buffer.concat([head, token ?? Buffer.alloc(0), length, Buffer.alloc(300, 3)]);
}
