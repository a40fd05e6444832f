/** Messages that are kept encoded say what they said, whatever becomes of what they were made of. */
import test from 'ava';
import fc from 'fast-check';
import { joinPayload, MessageCodec } from '../../src/protocol/codec.js';
import { KeptMessage, messageIn, TailSum } from '../../src/protocol/kept-message.js';
import type { Message } from '../../src/protocol/message.js';
import { byteStrings, holds } from './properties.js';
import { samples } from './samples.js';

const codec = new MessageCodec();

function bytesOf(message: Message): Buffer {
  const { payload, tail } = codec.encodeSplit(message);
  return Buffer.from(joinPayload(payload, tail));
}

function kept(message: Message): Message {
  const { payload, tail } = codec.encodeSplit(message);
  return messageIn(message.type, payload, tail);
}

test('a kept message is encoded to what it was, also where its envelope changes', (t) => {
  for (const message of Object.values(samples)) {
    const again = kept(message);
    t.is(again.type, message.type);
    t.deepEqual(codec.decode(bytesOf(again)), codec.decode(bytesOf(message)));
    const later = { ...again, timeoutMs: 7 } as unknown as Message;
    const expected = { ...message, timeoutMs: 7 } as unknown as Message;
    t.deepEqual(codec.decode(bytesOf(later)), codec.decode(bytesOf(expected)));
    t.deepEqual(codec.decode(bytesOf(kept(later))), codec.decode(bytesOf(expected)));
  }
});

test('any body is kept, byte for byte', (t) => {
  const body = fc.oneof(
    fc.jsonValue({ maxDepth: 5 }),
    byteStrings(200),
    byteStrings(200).map((bytes) => Buffer.concat(Array.from({ length: 60 }, () => bytes))),
    // The encoder of -2^64 makes a tag of it, which is refused: SPEC.md, "Payload".
    fc.bigInt({ min: -(2n ** 64n) + 1n, max: 2n ** 64n - 1n }),
    fc.double({ noNaN: true }),
    fc.array(byteStrings(3000), { maxLength: 8 }),
    fc.constantFrom(undefined, null, true, 'é'.repeat(5000)),
  );
  const message = fc.record({
    type: fc.constant('request' as const),
    method: fc.string({ maxLength: 40 }),
    body,
    timeoutMs: fc.maxSafeNat(),
    oneWay: fc.boolean(),
    priority: fc.constantFrom('high' as const, 'bulk' as const),
    own: fc.constantFrom(1, 'text', 2 ** 40, [1, 2]),
  });
  holds(
    t,
    fc.property(message, ({ own, ...fields }) => {
      const given = { ...fields, ...(own === 1 ? {} : { own }) } as Message;
      const again = kept(given);
      const { timeoutMs, oneWay, priority, method } = given as typeof fields;
      t.like(again, { timeoutMs, oneWay, priority, method });
      // Items are those that were encoded, in an order that is free.
      t.deepEqual(codec.decode(bytesOf(again)), codec.decode(bytesOf(given)));
      t.is(bytesOf(again).length, bytesOf(given).length);
    }),
    300,
  );
});

test('keys that are names of every object are kept', (t) => {
  const given = JSON.parse('{"type":"request","method":"m","toString":1,"constructor":"c"}');
  t.deepEqual(codec.decode(bytesOf(kept(given))), codec.decode(bytesOf(given)));
});

test('a message with as many fields as nobody needs is kept, up to a limit', (t) => {
  const fields = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, [1.5, i]]));
  for (const count of [10, 22, 23, 100, 200]) {
    const given = { type: 'request', method: 'm', ...fields(count) } as Message;
    t.deepEqual(codec.decode(bytesOf(kept(given))), codec.decode(bytesOf(given)));
  }
});

test('a kept message knows whether what was lent to it was changed', (t) => {
  const tail = Buffer.alloc(5000, 1);
  const sum = new TailSum();
  const message = new KeptMessage(samples.request, { tail, sum });
  t.false(message.isIntact);
  sum.note(tail);
  t.true(message.isIntact);
  tail[4999] = 2;
  t.false(message.isIntact);
  t.true(new KeptMessage(samples.request).isIntact);
});
