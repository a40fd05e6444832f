/** The ClientHello of real clients in pieces of any size, and what is none. */
import test from 'ava';
import fc from 'fast-check';
import {
  ClientHelloReader,
  type HelloState,
  MAX_HELLO_BYTES,
  offeredProtocols,
} from '../../../src/transport/tcp/client-hello.js';
import { knockIn } from '../../../src/transport/tcp/knock-protocol.js';
import { recordHello } from '../../helpers/record-hello.js';
import { holds } from '../../protocol/properties.js';
import { type HelloVector, readVectors } from '../../protocol/vectors.js';

for (const { name, hex, expect } of readVectors<HelloVector>('client-hellos.json').vectors) {
  test(`client-hellos.json: ${name}`, (t) => {
    const bytes = Buffer.from(hex, 'hex');
    const reader = new ClientHelloReader();
    const end = reader.push(bytes);
    const byBytes = new ClientHelloReader();
    t.is([...bytes].map((byte) => byBytes.push(Buffer.of(byte))).find(isEnd) ?? 'incomplete', end);
    if ('incomplete' in expect) t.is(end, 'incomplete');
    else if ('refused' in expect) t.is(end, 'bad');
    else {
      t.is(end, 'complete');
      t.is(knockIn(reader.hello)?.toString('hex') ?? null, expect.knock);
    }
  });
}

const PROTOCOLS = ['quicmesh/1', 'h2', 'x'.repeat(255)];
const recorded = recordHello({ ALPNProtocols: PROTOCOLS });

test('a ClientHello is read, whatever pieces it comes in', async (t) => {
  const hello = await recorded;
  const sizes = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 20 });
  holds(
    t,
    fc.property(sizes, (lengths) => {
      const reader = new ClientHelloReader();
      const states: string[] = [];
      for (let at = 0, i = 0; at < hello.length; i += 1) {
        const length = lengths[i % lengths.length] as number;
        states.push(reader.push(Buffer.from(hello.subarray(at, at + length))));
        at += length;
      }
      t.is(states.pop(), 'complete');
      t.true(states.every((state) => state === 'incomplete'));
      t.deepEqual(reader.raw, hello);
      t.deepEqual(reader.hello, hello.subarray(9));
    }),
    50,
  );
});

test('and whatever records it is cut into', async (t) => {
  const hello = await recorded;
  for (const size of [1, 2, 3, 4, 5, 100, 10_000]) {
    const records = recordsOf(hello.subarray(5), size);
    const whole = new ClientHelloReader();
    t.is(whole.push(records), 'complete', `${size}`);
    t.deepEqual(whole.hello, hello.subarray(9));
    const byBytes = new ClientHelloReader();
    const states = [...records].map((byte) => byBytes.push(Buffer.of(byte)));
    t.is(states.indexOf('complete'), records.length - 1);
    t.deepEqual(byBytes.raw, records);
  }
});

test('its protocols are those that the client offers', async (t) => {
  const reader = new ClientHelloReader();
  reader.push(await recorded);
  t.deepEqual(offeredProtocols(reader.hello).map(String), PROTOCOLS);
});

test('what is cut off or overlong has no protocols, and nothing throws', async (t) => {
  const hello = (await recorded).subarray(9);
  const whole = offeredProtocols(hello).length;
  for (let length = 0; length < hello.length; length += 1) {
    t.true([0, whole].includes(offeredProtocols(hello.subarray(0, length)).length));
  }
  holds(
    t,
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(), (noise, at) => {
      const bytes = Buffer.from(hello);
      bytes.set(noise.subarray(0, bytes.length), at % Math.max(1, bytes.length - noise.length));
      offeredProtocols(bytes);
      offeredProtocols(Buffer.from(noise));
    }),
  );
});

test('what is no ClientHello is bad as soon as it can be seen', (t) => {
  const bad = {
    'another kind of record': '17',
    'another version': '1602',
    'an empty record': '1603010000',
    'a record of more than 16 KB': '1603014001',
    'another message': '160301000502',
    'a message of more than 16 KB': '160301000401004000',
  };
  for (const [name, hex] of Object.entries(bad)) {
    const bytes = Buffer.from(hex, 'hex');
    const reader = new ClientHelloReader();
    t.is(reader.push(bytes.subarray(0, -1)), 'incomplete', name);
    t.is(reader.push(bytes.subarray(-1)), 'bad', name);
    t.is(new ClientHelloReader().push(bytes), 'bad', name);
  }
});

test('one reader keeps 16 KB at most', (t) => {
  const message = Buffer.alloc(MAX_HELLO_BYTES, 1);
  message.writeUInt32BE(0x01000000 | (MAX_HELLO_BYTES - 4));
  for (const size of [1, 7, 4096]) {
    const records = recordsOf(message, size);
    const reader = new ClientHelloReader();
    let taken = 0;
    while (reader.push(records.subarray(taken, taken + 97)) === 'incomplete') taken += 97;
    t.true(taken <= MAX_HELLO_BYTES && taken > MAX_HELLO_BYTES - 97 - 4096);
  }
  t.is(new ClientHelloReader().push(Buffer.alloc(MAX_HELLO_BYTES + 1, 22)), 'bad');
});

test('noise never makes a reader throw', (t) => {
  const pieces = fc.array(fc.uint8Array({ minLength: 1, maxLength: 30 }), { maxLength: 20 });
  const heads = fc.constantFrom('', '16', '160301', '1603010005', '1603010005010000');
  holds(
    t,
    fc.property(heads, pieces, (head, given) => {
      const reader = new ClientHelloReader();
      const all = [Buffer.from(head, 'hex'), ...given.map((piece) => Buffer.from(piece))];
      for (const piece of all.filter(({ length }) => length > 0)) {
        const state = reader.push(piece);
        if (state === 'complete') offeredProtocols(reader.hello);
        if (state !== 'incomplete') return;
      }
    }),
  );
});

function isEnd(state: HelloState): boolean {
  return state !== 'incomplete';
}

function recordsOf(message: Buffer, size: number): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 0xff]), part);
  }
  return Buffer.concat(records);
}
