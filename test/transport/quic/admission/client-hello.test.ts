/** What a ClientHello says of the datagrams that its sender takes, and what strangers may send instead of one. */
import { randomBytes } from 'node:crypto';
import test from 'ava';
import { takenDatagramBytes } from '../../../../src/transport/quic/admission/client-hello.js';
import { HalfOpenGuard } from '../../../../src/transport/quic/admission/half-open-guard.js';
import { cryptoFrame, varint } from '../../../helpers/quic/frames.js';
import { initialPacket } from '../../../helpers/quic/packets.js';

const SERVER_NAME = 0x00;
const TRANSPORT_PARAMETERS = 0x39;

test('the size is found among other extensions and parameters', (t) => {
  for (const bytes of [1200, 1452, 16_000, 65_527, 2 ** 40]) {
    const parameters = Buffer.concat([
      parameter(0x01, varint(30_000)),
      // Of the kinds that are there to be passed over (RFC 9000, section 18.1).
      parameter(27 + 31 * 2 ** 20, randomBytes(9)),
      parameter(0x03, varint(bytes)),
      parameter(0x04, varint(1)),
    ]);
    t.is(takenDatagramBytes(helloWith(parameters)), bytes);
  }
});

test('who does not say it says none', (t) => {
  t.is(takenDatagramBytes(helloWith(parameter(0x04, varint(1452)))), undefined);
  t.is(takenDatagramBytes(helloWith(Buffer.alloc(0))), undefined);
  t.is(takenDatagramBytes(clientHello([extension(SERVER_NAME, Buffer.of(1, 2, 3))])), undefined);
  t.is(takenDatagramBytes(clientHello([])), undefined);
});

test('what is cut off, or is none at all, says none', (t) => {
  const whole = helloWith(parameter(0x03, varint(1452)));
  for (let length = 0; length < whole.length; length += 1) {
    t.is(takenDatagramBytes(whole.subarray(0, length)), undefined);
  }
  const serverHello = Buffer.from(whole);
  serverHello[0] = 2;
  t.is(takenDatagramBytes(serverHello), undefined);
  for (let i = 0; i < 5000; i += 1) {
    const odd = Buffer.from(whole);
    for (let j = 0; j < 3; j += 1) {
      const [at = 0, value = 0] = randomBytes(2);
      odd[at % odd.length] = value;
    }
    t.notThrows(() => takenDatagramBytes(odd));
  }
});

test('a guard tells it of the first frame of the CRYPTO stream, whatever comes before', (t) => {
  const hello = helloWith(parameter(0x03, varint(1452)));
  const frames = [
    [cryptoFrame(0, hello)],
    [cryptoFrame(5000, Buffer.of(1)), cryptoFrame(0, hello)],
    // Cut up, it is not put together.
    [cryptoFrame(40, hello.subarray(40)), cryptoFrame(0, hello.subarray(0, 40))],
  ];
  const told = frames.map((payload) => {
    const id = randomBytes(16);
    const guard = new HalfOpenGuard(id, false);
    t.is(guard.takenBytes, undefined);
    t.is(guard.refuses(initialOf(id, Buffer.concat(payload)), true), undefined);
    return guard.takenBytes;
  });
  t.deepEqual(told, [1452, 1452, undefined]);
});

function helloWith(parameters: Buffer): Buffer {
  return clientHello([
    extension(SERVER_NAME, randomBytes(20)),
    extension(TRANSPORT_PARAMETERS, parameters),
  ]);
}

/** RFC 8446, section 4.1.2. */
function clientHello(extensions: readonly Buffer[]): Buffer {
  const all = Buffer.concat(extensions);
  const body = Buffer.concat([
    Buffer.of(3, 3),
    randomBytes(32),
    Buffer.of(2, 7, 7),
    u16(4),
    Buffer.of(0x13, 1, 0x13, 2),
    Buffer.of(1, 0),
    u16(all.length),
    all,
  ]);
  return Buffer.concat([Buffer.of(1, 0), u16(body.length), body]);
}

function extension(type: number, body: Buffer): Buffer {
  return Buffer.concat([u16(type), u16(body.length), body]);
}

function parameter(id: number, value: Buffer): Buffer {
  return Buffer.concat([varint(id), varint(value.length), value]);
}

function u16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff);
}

function initialOf(originalId: Buffer, payload: Buffer): Buffer {
  return initialPacket({ originalId, sourceId: Buffer.alloc(0), packetNumber: 0, payload });
}
