/** Small byte strings of a decoded message are copies; large ones share the memory that they came in. */
import test from 'ava';
import fc from 'fast-check';
import { MessageCodec } from '../../src/protocol/codec.js';
import type { Message } from '../../src/protocol/message.js';
import { MAX_SMALL_BYTES, SMALL_BLOCK_BYTES, SmallBytes } from '../../src/protocol/small-bytes.js';
import { holds } from './properties.js';

const BLOCK_BYTES = 64 * 1024;
const codec = new MessageCodec();

/** A payload within a block of received memory, where others are. */
function received(message: Message): Buffer {
  const payload = codec.encode(message);
  const block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, payload.length + 200)).fill(0xee);
  block.set(payload, 100);
  return block.subarray(100, 100 + payload.length);
}

function bodyOf(message: Message, overwrite = false): unknown {
  const payload = received(message);
  const { body } = codec.decode(payload) as { readonly body?: unknown };
  if (overwrite) payload.fill(0);
  return body;
}

// A float is not for the one-pass reader.
for (const [reader, extra] of [
  ['the one-pass reader', {}],
  ['the full decoder', { float: 1.5 }],
] as const) {
  test(`${reader} copies byte strings of up to ${MAX_SMALL_BYTES} bytes, and no others`, (t) => {
    const bytes = [0, 1, 32, MAX_SMALL_BYTES, MAX_SMALL_BYTES + 1, 5000];
    const values = bytes.map((length) => Buffer.alloc(length, length));
    const body = { values, nested: { deep: [{ value: Buffer.from('deep') }] }, ...extra };
    const decoded = bodyOf({ type: 'response', body }) as typeof body;
    t.deepEqual(decoded, body);
    for (const value of [...decoded.values, decoded.nested.deep[0]?.value as Buffer]) {
      const backing = value.buffer.byteLength;
      if (value.length > MAX_SMALL_BYTES) t.is(backing, BLOCK_BYTES);
      else t.true(backing <= SMALL_BLOCK_BYTES, `${value.length} bytes keep ${backing}`);
    }
  });

  test(`${reader} gives small byte strings that outlive the memory they came in`, (t) => {
    const bytes = fc.uint8Array({ maxLength: MAX_SMALL_BYTES }).map((value) => Buffer.from(value));
    const body = fc.record({ list: fc.array(bytes, { maxLength: 40 }), last: bytes });
    holds(
      t,
      fc.property(body, (given) => {
        const decoded = bodyOf({ type: 'response', body: { ...given, ...extra } }, true);
        t.deepEqual(decoded, { ...given, ...extra });
      }),
    );
  });
}

test('a source that is small itself is not copied from', (t) => {
  const small = new SmallBytes();
  const source = Buffer.allocUnsafeSlow(SMALL_BLOCK_BYTES).fill(1);
  small.begin(source);
  t.is(small.slice(10, 20).buffer, source.buffer);
});

test('copies are never shared with later ones', (t) => {
  const small = new SmallBytes();
  const kept: Buffer[] = [];
  for (let i = 0; i < 5000; i += 1) {
    const source = Buffer.allocUnsafeSlow(BLOCK_BYTES).fill(i & 0xff);
    small.begin(source);
    for (let start = 0; start < 600; start += 200) kept.push(small.slice(start, start + 100));
    small.end();
  }
  t.true(kept.every((value, i) => value.every((byte) => byte === (Math.floor(i / 3) & 0xff))));
});
