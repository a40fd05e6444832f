/** The packets that tests forge are those that RFC 9001 shows in its appendix A. */
import test from 'ava';
import { cryptoFrame, pingFrame, varint } from '../../helpers/quic/frames.js';
import { initialSecrets, packetKeys } from '../../helpers/quic/packet-keys.js';
import {
  initialKeys,
  initialPacket,
  openPacket,
  protect,
  shortPacket,
} from '../../helpers/quic/packets.js';

const ORIGINAL_ID = hex('8394c8f03e515708');
/** Appendix A.2, the ClientHello. */
const CLIENT_HELLO = hex(`
  010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000
  c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c70
  6e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994
  ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c000240010039003204
  08ffffffffffffffff05048000ffff07048000ffff08011001048000753009011 00f088394c8f03e51570806048000ffff`);

test('secrets and keys of Initial packets (A.1)', (t) => {
  const { client, server } = initialSecrets(ORIGINAL_ID);
  t.deepEqual(packetKeys(client), {
    suite: 'aes-128-gcm',
    key: hex('1f369613dd76d5467730efcbe3b1a22d'),
    iv: hex('fa044b2f42a3fd3b46fb255c'),
    hp: hex('9f50449e04a0e810283a1e9933adedd2'),
  });
  t.deepEqual(packetKeys(server), {
    suite: 'aes-128-gcm',
    key: hex('cf3a5331653c364c88f0f379b6067e37'),
    iv: hex('0ac1493ca1905853b0bba03e'),
    hp: hex('c206b8d9b9f0f37644430b490eeaa314'),
  });
});

test('a client Initial (A.2)', (t) => {
  const packet = initialPacket({
    originalId: ORIGINAL_ID,
    sourceId: Buffer.alloc(0),
    packetNumber: 2,
    payload: cryptoFrame(0, CLIENT_HELLO),
  });
  t.is(packet.length, 1200);
  t.deepEqual(
    packet.subarray(0, 38),
    hex('c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b'),
  );
  t.deepEqual(packet.subarray(-16), hex('e221af44860018ab0856972e194cd934'));
});

test('a server Initial (A.3)', (t) => {
  const keys = packetKeys(initialSecrets(ORIGINAL_ID).server);
  const payload = hex(`
    02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a1200
    130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00
    020304`);
  const packet = protect(hex('c1000000010008f067a5502a4262b50040750001'), 1, payload, keys);
  t.deepEqual(
    packet,
    hex(`
    cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb3
    8cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84
    022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee`),
  );
  t.deepEqual(openPacket(packet, 18, 0, keys), { packetNumber: 1, payload });
});

test('a short header with ChaCha20-Poly1305 (A.5)', (t) => {
  const secret = hex('9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b');
  const keys = packetKeys(secret, 'chacha20-poly1305');
  const packet = protect(hex('4200bff4'), 654_360_564, pingFrame(), keys);
  t.deepEqual(packet, hex('4cfe4189655e5cd55c41f69080575d7999c25a5bfb'));
  t.deepEqual(openPacket(packet, 1, 654_360_560, keys), {
    packetNumber: 654_360_564,
    payload: pingFrame(),
  });
});

test('a short header opens with its own keys only, under every cipher suite', (t) => {
  const id = Buffer.alloc(16, 7);
  for (const suite of ['aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305'] as const) {
    const keys = packetKeys(Buffer.alloc(suite === 'aes-256-gcm' ? 48 : 32, 1), suite);
    const packet = shortPacket(id, 70_000, pingFrame(), keys);
    const opened = openPacket(packet, 1 + id.length, 69_000, keys);
    t.deepEqual(opened, { packetNumber: 70_000, payload: Buffer.concat([pingFrame()], 4) });
    t.is(openPacket(packet, 1 + id.length, 69_000, initialKeys(id)), undefined);
  }
});

test('variable-length integers (RFC 9000, A.1)', (t) => {
  t.deepEqual(varint(37), hex('25'));
  t.deepEqual(varint(15_293), hex('7bbd'));
  t.deepEqual(varint(494_878_333), hex('9d7f3e7d'));
  t.deepEqual(varint(4_611_686_018_427), hex('c000 0431 bde8 2d7b'.replaceAll(' ', '')));
});

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
}
