/** Which datagrams of a handshake only someone who took part in it can have written. */
import { randomBytes } from 'node:crypto';
import test from 'ava';
import { isOfHandshake, isRetry } from '../../../../src/transport/quic/io/packet.js';
import {
  forgedInitial,
  forgedRetry,
  forgedVersions,
} from '../../../helpers/quic/forged-answers.js';
import { pingFrame, varint } from '../../../helpers/quic/frames.js';

const DIALER = { originalId: randomBytes(8), sourceId: randomBytes(20) };
const INITIAL = forgedInitial(DIALER, pingFrame());
const SHORT = Buffer.concat([Buffer.of(0x40), randomBytes(60)]);

function handshakePacket(bytes: number): Buffer {
  const { originalId, sourceId } = DIALER;
  const ids = [sourceId, originalId].flatMap((id) => [Buffer.of(id.length), id]);
  const head = Buffer.from([0xe1, 0, 0, 0, 1]);
  return Buffer.concat([head, ...ids, varint(bytes), randomBytes(bytes)]);
}

test('Handshake packets, and a short header behind them', (t) => {
  for (const bytes of [20, 63, 64, 1000, 17_000]) {
    const packet = handshakePacket(bytes);
    t.true(isOfHandshake(packet), `${bytes}`);
    t.true(isOfHandshake(Buffer.concat([packet, handshakePacket(30), SHORT])));
    t.true(isOfHandshake(Buffer.concat([packet, Buffer.alloc(9)])), 'padded');
  }
});

test('none that anybody can write, wherever it is', (t) => {
  const forged = [
    INITIAL,
    forgedRetry(DIALER, DIALER.originalId),
    forgedVersions(DIALER),
    Buffer.concat([Buffer.from([0xe0, 0, 0, 0, 2]), handshakePacket(40).subarray(5)]),
  ];
  for (const packet of forged) {
    t.false(isOfHandshake(packet));
    t.false(isOfHandshake(Buffer.concat([packet, handshakePacket(40)])));
    t.false(isOfHandshake(Buffer.concat([handshakePacket(40), packet])));
  }
  t.deepEqual(forged.map(isRetry), [false, true, false, false]);
});

test('none that is cut off', (t) => {
  const packet = handshakePacket(100);
  for (let length = 1; length < packet.length; length += 1) {
    t.false(isOfHandshake(packet.subarray(0, length)), `${length}`);
  }
});
