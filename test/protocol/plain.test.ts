/** The plain reader and writer against cbor-x: what they take, comes to the same. */
import test from 'ava';
import { Encoder } from 'cbor-x';
import fc from 'fast-check';
import { scanCbor } from '../../src/protocol/cbor-scan.js';
import { ItemReader } from '../../src/protocol/item-reader.js';
import { MESSAGE_FIELDS } from '../../src/protocol/message.js';
import { NOT_PLAIN, PlainReader } from '../../src/protocol/plain-reader.js';
import { PlainWriter } from '../../src/protocol/plain-writer.js';
import { widenFields } from '../../src/protocol/schema.js';
import { encoded, soundMessages } from './naive/arbitraries.js';
import { damaged, holds } from './properties.js';

const full = new Encoder({ useRecords: false, variableMapSize: true, tagUint8Array: false });
const reader = new PlainReader();
const writer = new PlainWriter();

const bodies = fc.object({
  maxDepth: 3,
  values: [
    fc.string({ unit: 'binary-ascii', maxLength: 40 }),
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.constantFrom(null, undefined, 0, -0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  ],
});

test('what the plain writer takes, it writes as the full encoder does', (t) => {
  let written = 0;
  holds(
    t,
    fc.property(bodies, (body) => {
      const payload = writer.write({ type: 'request', body });
      if (payload === undefined) return true;
      written += 1;
      return payload.equals(full.encode({ type: 'request', body }));
    }),
    3000,
  );
  t.true(written > 300, `${written} were plain`);
});

test('what the plain reader takes, the scan takes too, and the full decoder reads the same', (t) => {
  let read = 0;
  holds(
    t,
    fc.property(damaged(encoded(soundMessages)), (payload) => {
      const found = reader.read(payload);
      if (found === NOT_PLAIN) return true;
      read += 1;
      scanCbor(payload);
      t.deepEqual(found, full.decode(payload));
      return true;
    }),
    3000,
  );
  t.true(read > 50, `${read} were plain`);
});

test('what the scan takes, the reader in steps reads as the full decoder does, wherever its steps end', (t) => {
  let read = 0;
  holds(
    t,
    fc.property(damaged(encoded(soundMessages)), fc.boolean(), (payload, goesOn) => {
      if (!isScanned(payload)) return true;
      read += 1;
      const items = new ItemReader(payload);
      while (!items.read(() => goesOn));
      t.deepEqual(items.value, full.decode(payload));
      return true;
    }),
    3000,
  );
  t.true(read > 50, `${read} were sound`);
});

for (const [what, hex] of [
  ['heads of every width', '8a17181819010019ffff1a000100001a7fffffff3718ff39ffff3affffffff'],
  [
    'integers of 64 bits',
    '841b00000000000000011bffffffffffffffff3b00000000000000003bffffffffffffffff',
  ],
  ['halves', '88f93c00f97c00f9fc00f97e00f90001f983fff97bfff98000'],
  ['wider floats', '84fa3fc00000fa7f800000fb3ff1999999999999fb8000000000000000'],
  ['simple values', '84f4f5f6f7'],
  ['nested empty lists and maps', '8480a0818081a16161a0'],
  ['a key that would change more than its map', 'a2695f5f70726f746f5f5fa1616101616202'],
  ['a key that comes twice', 'a2616101616102'],
  ['texts', `84606161${'64c3a4c3b6'}${'6d'}${'6c6f6e676572207468616e2038'}`],
  ['byte strings', '83404101430102ff'],
] as const) {
  test(`the reader in steps reads ${what} as the full decoder does`, (t) => {
    const payload = Buffer.from(hex, 'hex');
    scanCbor(payload);
    const items = new ItemReader(payload);
    t.true(items.read(() => true));
    t.deepEqual(items.value, full.decode(payload));
  });
}

test('the reader in steps stops when it may not go on', (t) => {
  const payload = full.encode(Array.from({ length: 10_000 }, (_, i) => i));
  const items = new ItemReader(payload);
  let steps = 1;
  while (!items.read(() => false)) steps += 1;
  t.true(steps > 50 && steps < 100, `${steps}`);
  t.is((items.value as number[]).length, 10_000);
});

function isScanned(payload: Uint8Array): boolean {
  try {
    scanCbor(payload);
    return true;
  } catch {
    return false;
  }
}

test('numbers over 32 bits are plain in fields of a message, and as the full encoder has them', (t) => {
  const fields = MESSAGE_FIELDS.handshakeRequest;
  holds(
    t,
    fc.property(fc.maxSafeNat(), (timestampMs) => {
      const payload = writer.write({ type: 'handshakeRequest', timestampMs }, fields) as Buffer;
      const message = widenFields({ type: 'handshakeRequest', timestampMs }, fields);
      t.deepEqual(payload, full.encode(message));
      t.deepEqual(reader.read(payload), full.decode(payload));
      return true;
    }),
    500,
  );
  t.is(writer.write({ type: 'handshakeRequest', toString: 2 ** 40 }, fields), undefined);
  t.is(writer.write({ type: 'handshakeRequest', nonce: 2 ** 40 }, fields), undefined);
  t.is(writer.write({ type: 'handshakeRequest', timestampMs: 2 ** 53 }, fields), undefined);
});

test('messages in ASCII with integers up to 32 bits are plain both ways', (t) => {
  const message = {
    type: 'request',
    method: 'get',
    body: { ids: [1, 70_000], all: true, at: null },
  };
  const payload = writer.write(message) as Buffer;
  t.deepEqual(reader.read(payload), message);
});

test('of a large byte string only the head is written, as the last item', (t) => {
  const tail = Buffer.alloc(5000, 7);
  const head = writer.write({ body: tail, type: 'response' }, undefined, 'body') as Buffer;
  t.deepEqual(reader.read(Buffer.concat([head, tail])), { type: 'response', body: tail });
});

test('a payload that is kept keeps a block of 16 KiB, which many were cut from', (t) => {
  const payloads = Array.from({ length: 200 }, (_, i) =>
    writer.write({ type: 'request', body: i }),
  );
  const blocks = new Set(payloads.map((payload) => payload?.buffer));
  for (const block of blocks) t.is(block?.byteLength, 16 * 1024);
  t.true(blocks.size <= 2, `${blocks.size} blocks`);
});

test('what is too long, too deep, or of a class is left to the full encoder', (t) => {
  const deep = Array.from({ length: 17 }).reduce((inner: unknown) => [inner], 1);
  for (const body of [
    'x'.repeat(4600),
    Buffer.alloc(4600),
    deep,
    new Date(0),
    new Map(),
    'é',
    1n,
  ]) {
    t.is(writer.write({ type: 'response', body }), undefined);
  }
  t.is(reader.read(full.encode({ type: 'response', body: deep })), NOT_PLAIN);
  t.is(reader.read(full.encode(Array.from({ length: 10_001 }, () => 1))), NOT_PLAIN);
});

test('texts that share a place in the memory of texts are not taken for one another', (t) => {
  for (let i = 0; i < 2000; i += 1) {
    const message = { type: `t${i}`, [`k${i * 7}`]: `v${i % 300}` };
    t.deepEqual(reader.read(writer.write(message) as Buffer), message);
  }
});
