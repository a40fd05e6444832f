/** What may reach a connection whose peer has proved nothing, and what may be sent to it. */
import { randomBytes } from 'node:crypto';
import test from 'ava';
import { HalfOpenGuard } from '../../../../src/transport/quic/admission/half-open-guard.js';
import { InitialReader } from '../../../../src/transport/quic/admission/initial-reader.js';
import {
  ackFrame,
  connectionCloseFrame,
  cryptoFrame,
  maxDataFrame,
  paddingFrames,
  pingFrame,
  streamFrame,
  varint,
} from '../../../helpers/quic/frames.js';
import { initialSecrets, packetKeys } from '../../../helpers/quic/packet-keys.js';
import { type InitialPacket, initialPacket, protect } from '../../../helpers/quic/packets.js';

const ID = randomBytes(16);

test('CRYPTO frames are counted among all that an Initial may have', (t) => {
  const reader = new InitialReader(ID);
  const payload = Buffer.concat([
    ackFrame([
      { first: 8, last: 9 },
      { first: 1, last: 3 },
    ]),
    cryptoFrame(0, randomBytes(300)),
    pingFrame(),
    paddingFrames(5),
    cryptoFrame(100_000, Buffer.of(1)),
    // With counts of ECN.
    Buffer.concat([varint(3), ackFrame([{ first: 0, last: 0 }]).subarray(1), Buffer.of(1, 2, 3)]),
    cryptoFrame(5_000_000_000, Buffer.of(2)),
    connectionCloseFrame(0, 'enough'),
  ]);
  t.like(reader.read(initial({ payload })), { packets: 1, cryptoFrames: 3 });
});

test('every packet number is found again, whatever the client left out of it', (t) => {
  const reader = new InitialReader(ID);
  for (const packetNumber of [0, 1, 255, 256, 70_000, 2 ** 31, 2 ** 32 - 1, 3]) {
    const datagram = initial({ packetNumber, payload: cryptoFrame(0, Buffer.of(1)) });
    t.like(reader.read(datagram), { packets: 1, cryptoFrames: 1 }, `${packetNumber}`);
  }
  const short = new InitialReader(ID);
  for (const packetNumber of [0, 200, 300, 400]) {
    t.like(short.read(withOneByteNumber(packetNumber)), { packets: 1, cryptoFrames: 1 });
  }
});

test('Initials of one datagram are all read, and what is not one is passed over', (t) => {
  const small = (packetNumber: number) =>
    initial({ packetNumber, padTo: 60, payload: cryptoFrame(packetNumber * 9, Buffer.of(1)) });
  const handshake = Buffer.concat([
    Buffer.of(0xe0, 0, 0, 0, 1, 16),
    ID,
    Buffer.of(0, 0x40, 100),
    randomBytes(100),
  ]);
  const datagram = Buffer.concat([small(0), handshake, small(1), small(2), Buffer.of(0x40, 1, 2)]);
  const content = new InitialReader(ID).read(datagram);
  t.like(content, { packets: 3, cryptoFrames: 3 });
  const before = Buffer.from(datagram);
  new InitialReader(ID).read(datagram);
  t.deepEqual(datagram, before, 'the datagram is left as it is');
});

test('an Initial that does not open, or has what does not belong there, is unreadable', (t) => {
  const reader = new InitialReader(ID);
  const good = initial({});
  const changed = Buffer.from(good);
  changed[600] = (changed[600] as number) ^ 1;
  t.is(reader.read(changed), undefined);
  t.is(reader.read(initial({ originalId: randomBytes(16), destinationId: ID })), undefined);
  for (const payload of [
    streamFrame(0, 0, Buffer.of(1)),
    maxDataFrame(1),
    Buffer.of(0x06, 0, 0x7f, 0xff),
    Buffer.concat([pingFrame(), Buffer.of(0x3f)]),
  ]) {
    t.is(reader.read(initial({ payload })), undefined, payload.toString('hex'));
  }
  // Too little for a sample of what was encrypted.
  const stub = Buffer.concat([Buffer.of(0xc0, 0, 0, 0, 1, 16), ID, Buffer.of(0, 0, 4, 1, 2, 3, 4)]);
  t.is(reader.read(stub), undefined);
  t.like(reader.read(good), { packets: 1, cryptoFrames: 0 });
});

test('random bytes behind any beginning are read to an end', (t) => {
  const reader = new InitialReader(ID);
  const head = Buffer.concat([Buffer.of(0xc0, 0, 0, 0, 1, 16), ID]);
  for (let i = 0; i < 5000; i += 1) {
    const bytes = Buffer.concat([head.subarray(0, i % (head.length + 1)), randomBytes(i % 90)]);
    t.notThrows(() => reader.read(bytes));
  }
});

test('whatever an Initial that opens has inside is read to an end', (t) => {
  const reader = new InitialReader(ID);
  let readable = 0;
  for (let packetNumber = 0; packetNumber < 3000; packetNumber += 1) {
    const bytes = randomBytes(1 + (packetNumber % 60));
    // Frame types that belong there, more often than chance would have them.
    for (let at = 0; at < bytes.length; at += 1 + ((bytes[at] as number) & 7)) {
      bytes[at] = [0x01, 0x02, 0x03, 0x06, 0x1c][(bytes[at] as number) % 5] as number;
    }
    const datagram = initial({ packetNumber, payload: bytes });
    if (reader.read(datagram) !== undefined) readable += 1;
  }
  t.true(readable > 100 && readable < 2900, `${readable}`);
});

const zeroRtt = (bytes: number) =>
  Buffer.concat([
    Buffer.of(0xd0, 0, 0, 0, 1, 16),
    ID,
    Buffer.of(0),
    Buffer.of(0x40 | (bytes >> 8), bytes & 0xff),
    randomBytes(bytes),
  ]);

test('24 KiB of a handshake may come in, and with what is ahead of it 64 KiB', (t) => {
  const alone = new HalfOpenGuard(ID, false);
  t.is(alone.refuses(initial({}), true), undefined);
  let taken = 1200;
  while (alone.refuses(handshakePacket(), true) === undefined) taken += 1200;
  t.is(taken, 1200 * Math.floor((24 * 1024) / 1200));
  // Not even in small pieces, and not behind a packet of another kind.
  while (alone.refuses(handshakePacket(100), true) === undefined) taken += 100;
  t.true(taken <= 24 * 1024);
  t.is(
    alone.refuses(Buffer.concat([zeroRtt(50), handshakePacket()]), true),
    'droppedHalfOpenExcess',
  );
  t.is(alone.refuses(zeroRtt(1000), true), undefined);

  const behind = new HalfOpenGuard(ID, false);
  t.is(behind.refuses(initial({}), true), undefined);
  let ahead = 0;
  while (behind.refuses(zeroRtt(1000), true) === undefined) ahead += zeroRtt(1000).length;
  t.true(ahead > 44 * 1024 && ahead + 1200 <= 48 * 1024);
  const oneRtt = Buffer.concat([Buffer.of(0x40), randomBytes(1999)]);
  t.is(behind.refuses(oneRtt, true), 'droppedHalfOpenExcess');
  let handshake = 0;
  while (behind.refuses(handshakePacket(), true) === undefined) handshake += 1200;
  t.true(handshake > 12 * 1024 && 1200 + ahead + handshake <= 64 * 1024);
  t.is(behind.refuses(handshakePacket(), true), 'droppedHalfOpenExcess');
});

test('a ClientHello may be cut up, but not into any number of pieces', (t) => {
  const guard = new HalfOpenGuard(ID, true);
  const pieces = (count: number) =>
    Buffer.concat(Array.from({ length: count }, (_, i) => cryptoFrame(2 * i, Buffer.of(1))));
  t.is(guard.refuses(initial({ payload: pieces(50) }), true), undefined);
  const more = initial({ packetNumber: 1, payload: pieces(15) });
  t.is(guard.refuses(more, true), 'droppedHalfOpenExcess');
  const rest = initial({ packetNumber: 2, payload: pieces(14) });
  t.is(guard.refuses(rest, true), undefined);
});

test('a short datagram may have no Initial, not even behind another packet', (t) => {
  const guard = new HalfOpenGuard(ID, false);
  const behind = Buffer.concat([handshakePacket(100), initial({ padTo: 1000 })]);
  for (const datagram of [initial({ padTo: 1199 }), behind]) {
    t.is(guard.refuses(datagram, true), 'droppedShortInitial');
  }
  t.is(guard.refuses(initial({}), true), undefined);
  t.is(guard.refuses(handshakePacket(100), true), undefined);
});

test('what begins a connection is a whole Initial', (t) => {
  const guard = new HalfOpenGuard(ID, false);
  const cut = initial({ padTo: 1350 }).subarray(0, 1349);
  t.is(guard.refuses(cut, true), 'droppedUnreadableInitial');
  t.is(guard.refuses(initial({}), true), undefined);
  // Later ones are left to the binding, which reads what is whole of them.
  t.is(guard.refuses(cut, true), undefined);
});

test('three bytes go out for one that came from there', (t) => {
  const guard = new HalfOpenGuard(ID, false);
  const room = Buffer.alloc(65_535);
  t.is(guard.sendable(room).length, 0);
  guard.refuses(initial({}), true);
  t.is(guard.sendable(room).length, 3600);
  t.is(guard.sendable(room.subarray(0, 1000)).length, 1000);
  guard.sent(1200);
  guard.sent(1300);
  t.is(guard.sendable(room).length, 1100);
  // From elsewhere, or refused: nothing is earned.
  guard.refuses(initial({ packetNumber: 1 }), false);
  guard.refuses(initial({ padTo: 100 }), true);
  t.is(guard.sendable(room).length, 1100);
  guard.sent(1100);
  t.is(guard.sendable(room).length, 0);
});

test('to an address that a token has shown, no limit holds', (t) => {
  const guard = new HalfOpenGuard(ID, true);
  guard.sent(1_000_000);
  t.is(guard.sendable(Buffer.alloc(65_535)).length, 65_535);
});

function initial(changes: Partial<InitialPacket>): Buffer {
  return initialPacket({
    originalId: ID,
    sourceId: Buffer.alloc(0),
    packetNumber: 0,
    payload: pingFrame(),
    ...changes,
  });
}

function handshakePacket(bytes = 1200): Buffer {
  const head = Buffer.concat([Buffer.of(0xe0, 0, 0, 0, 1, 16), ID, Buffer.of(0)]);
  const length = varint(0x3fff & (bytes - head.length - 2));
  const fixed = length.length === 2 ? length : Buffer.of(0x40, length[0] as number);
  return Buffer.concat([head, fixed, randomBytes(bytes - head.length - 2)]);
}

function withOneByteNumber(packetNumber: number): Buffer {
  const payload = Buffer.concat([cryptoFrame(0, Buffer.of(1))], 1100);
  const header = Buffer.concat([
    Buffer.of(0xc0, 0, 0, 0, 1, 16),
    ID,
    Buffer.of(0, 0),
    Buffer.of(0x44, 0x5d),
    Buffer.of(packetNumber & 0xff),
  ]);
  return protect(header, packetNumber, payload, packetKeys(initialSecrets(ID).client));
}
