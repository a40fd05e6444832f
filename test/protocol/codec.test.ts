import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import { Encoder } from 'cbor-x';
import fc from 'fast-check';
import { joinPayload, MessageCodec } from '../../src/protocol/codec.js';
import {
  MAX_ITEMS,
  MESSAGE_FIELDS,
  type Message,
  type MessageType,
} from '../../src/protocol/message.js';
import { Float, readCbor } from './naive/cbor.js';
import { byteStrings, codeOf, errorOf, holds, refusalOf } from './properties.js';
import { allSamples, logEntry, raftBodies, samples, WIDE } from './samples.js';

const codec = new MessageCodec();
const raw = new Encoder({ useRecords: false, variableMapSize: true, tagUint8Array: false });

for (const type of Object.keys(samples) as MessageType[]) {
  test(`${type} comes back as it was sent, with all fields and with the required ones only`, (t) => {
    const full = samples[type];
    t.deepEqual(codec.decode(codec.encode(full)), full);
    const least = requiredOf(full);
    t.deepEqual(codec.decode(codec.encode(least)), least);
  });
}

for (const body of Object.values(raftBodies)) {
  test(`a consensus message of kind ${body.kind} comes back as it was sent`, (t) => {
    const message: Message = { type: 'consensus', body };
    t.deepEqual(codec.decode(codec.encode(message)), message);
  });
}

test('integers over 32 bits travel as integers, at every place that holds one', (t) => {
  for (const message of allSamples) {
    const floats = findFloats(without(message, ['body', 'result', 'parameters']));
    t.deepEqual(floats, [], message.type);
  }
  const payload = codec.encode({ type: 'consensus', body: raftBodies.appendEntries });
  t.is(countOf(payload, Buffer.from('1b0000010000000001', 'hex')), 6);
});

test('2^32, 2^53-1 and their neighbours come back exactly', (t) => {
  for (const timeoutMs of [2 ** 32 - 1, 2 ** 32, 2 ** 53 - 2, 2 ** 53 - 1]) {
    const message: Message = { type: 'request', method: 'get', timeoutMs };
    t.deepEqual(findFloats(message), []);
    t.deepEqual(codec.decode(codec.encode(message)), message);
  }
});

test('encoding leaves the message as it was', (t) => {
  for (const message of allSamples) {
    const before = structuredClone(message);
    codec.encode(message);
    t.deepEqual(structuredClone(message), before);
  }
});

test('a large byte string stays where it is, and the two pieces make the same message', (t) => {
  for (const size of [4096, 65_535, 65_536, 1_000_000]) {
    const bytes = Buffer.alloc(size, size & 0xff);
    const messages: Message[] = [
      { type: 'request', body: bytes, method: 'put', timeoutMs: 2 ** 40 },
      { type: 'response', body: bytes },
      { type: 'queryResponse', result: bytes },
      { type: 'dataTransfer', transferId: 't', offset: 7, data: bytes, metadata: { a: [1] } },
    ];
    for (const message of messages) {
      const { payload, tail } = codec.encodeSplit(message);
      t.is(tail, bytes, message.type);
      t.true(payload.length < 200);
      t.deepEqual(codec.decode(joinPayload(payload, tail)), message);
    }
  }
});

test('a payload in two pieces is held to the same limit, and small ones are one piece', (t) => {
  const limited = codec.withLimit(70_000);
  const body = (length: number): Message => ({ type: 'response', body: Buffer.alloc(length) });
  t.is(
    codeOf(() => limited.encodeSplit(body(70_000))),
    'MessageTooLarge',
  );
  const { payload, tail } = limited.encodeSplit(body(69_000));
  t.is(payload.length + (tail?.length ?? 0), limited.encode(body(69_000)).length);
  t.is(limited.encodeSplit(body(4095)).tail, undefined);
  t.is(limited.encodeSplit({ type: 'response', body: 'x'.repeat(9000) }).tail, undefined);
});

test('optional fields that are undefined are left out', (t) => {
  const sent = { type: 'ping', token: undefined } as unknown as Message;
  t.deepEqual(readCbor(Buffer.from(codec.encode(sent))), new Map([['type', 'ping']]));
});

test('a field that is undefined on the wire counts as absent', (t) => {
  t.notThrows(() => codec.decode(raw.encode({ type: 'ping', token: undefined })));
  const error = errorOf(() => codec.decode(raw.encode({ type: 'request', method: undefined })));
  t.is(error.message, 'field method is missing');
});

test('unknown fields are ignored, also in nested maps', (t) => {
  const ping = { ...samples.ping, later: [1, { a: 2 }] };
  t.like(codec.decode(raw.encode(ping)), samples.ping);
  const log = {
    ...samples.replicationLog,
    entries: [{ ...logEntry, crc: 7 }],
  };
  t.like(codec.decode(raw.encode(log)), { type: 'replicationLog', entries: [{ term: WIDE }] });
});

for (const type of Object.keys(samples) as MessageType[]) {
  test(`a missing or wrong field of ${type} is named`, (t) => {
    const full: Record<string, unknown> = { ...samples[type] };
    for (const [name, field] of Object.entries(MESSAGE_FIELDS[type])) {
      const missing = { ...full };
      delete missing[name];
      const refusal = refusalOf(() => codec.decode(raw.encode(missing)));
      if (field.optional) t.is(refusal, undefined);
      else t.is(refusal?.message, `field ${name} is missing`);
      if (field.kind === 'any') continue;
      const wrong = errorOf(() => codec.decode(raw.encode({ ...full, [name]: -1 })));
      t.is(wrong.code, 'MalformedMessage');
      t.true(wrong.message.startsWith(`field ${name} must be `), wrong.message);
    }
  });
}

const NESTED: readonly { readonly message: object; readonly names: string }[] = [
  {
    message: { ...samples.replicationLog, entries: [logEntry, { ...logEntry, term: 1.5 }] },
    names: 'field entries[1].term must be an integer from 0 to 2^53-1',
  },
  {
    message: { ...samples.replicationLog, entries: [{ index: 1, term: 1 }] },
    names: 'field entries[0].data is missing',
  },
  {
    message: { type: 'consensus', body: { kind: 'requestVote', term: 1 } },
    names: 'field body.candidateId is missing',
  },
  {
    message: { type: 'consensus', body: { kind: 'constructor', term: 1 } },
    names: 'field body.kind must be one of requestVote,',
  },
  {
    message: { ...samples.handshakeRequest, capabilities: { query: 1 } },
    names: 'field capabilities.query must be a boolean',
  },
];

for (const { message, names } of NESTED) {
  test(`'${names}' is said of a nested field`, (t) => {
    const error = errorOf(() => codec.decode(raw.encode(message)));
    t.is(error.code, 'MalformedMessage');
    t.true(error.message.startsWith(names), error.message);
  });
}

test('an unknown type is UnknownMessageType, and its name is cut', (t) => {
  for (const type of ['', 'PING', 'toString', '__proto__', 'x'.repeat(10_000)]) {
    const error = errorOf(() => codec.decode(raw.encode({ type })));
    t.is(error.code, 'UnknownMessageType');
    t.true(error.message.length < 120);
  }
});

test('a payload that is no map, or has no type, is malformed', (t) => {
  for (const value of [null, 1, 'ping', [{ type: 'ping' }], Buffer.from('x'), {}, { type: 1 }]) {
    t.is(
      codeOf(() => codec.decode(raw.encode(value))),
      'MalformedMessage',
    );
  }
});

test('keys named __proto__ and constructor change no prototype', (t) => {
  const hostile = JSON.parse(
    '{"type":"request","method":"m","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},' +
      '"body":{"__proto__":{"polluted":1},"constructor":1}}',
  ) as Message;
  const message = codec.decode(codec.encode(hostile)) as Message & { body: object };
  for (const value of [message, message.body]) {
    t.is(Object.getPrototypeOf(value), Object.prototype);
    t.false('polluted' in value);
  }
  t.false('polluted' in {});
});

test('a message over the limit is MessageTooLarge, one of exactly the limit is sent', (t) => {
  const message: Message = { type: 'response', body: Buffer.alloc(100) };
  const { length } = codec.encode(message);
  t.is(codec.withLimit(length).encode(message).length, length);
  const error = errorOf(() => codec.withLimit(length - 1).encode(message));
  t.is(error.code, 'MessageTooLarge');
  t.regex(error.message, new RegExp(`response of ${length} bytes is over the limit of`));
});

const UNSENDABLE: Readonly<Record<string, unknown>> = {
  'a function': () => 1,
  'a symbol': Symbol('s'),
  'a function deep down': [{ call: () => 1 }],
  'a Date': new Date(0),
  'a Map': new Map([['a', 1]]),
  'a Set': new Set([1]),
  'a bigint over 64 bits': 2n ** 64n,
  'a bigint under -2^64': -(2n ** 64n) - 1n,
  'a Float64Array': new Float64Array(1),
  'a RegExp': /a/,
  'an Error': new Error('secret'),
  'a generator': (function* () {})(),
  'a cycle': makeCycle(),
  'a list 64 deep': nest(64),
  'half of a surrogate pair': '\ud800',
};

for (const [what, body] of Object.entries(UNSENDABLE)) {
  test(`${what} is refused before it is sent`, (t) => {
    const error = errorOf(() => codec.encode({ type: 'response', body }));
    t.is(error.code, 'InvalidArgument');
    t.true(error.message.startsWith('response cannot be encoded: '), error.message);
    t.deepEqual(codec.decode(codec.encode(samples.ping)), samples.ping, 'the codec goes on');
  });
}

test('a body of 131,072 items and a log of 16,384 entries pass, and one more is refused before it is sent', (t) => {
  // The message's map, two keys, the type and the list itself are items too.
  const body = new Array(131_072 - 5).fill(0);
  const response: Message = { type: 'response', body };
  const entries = new Array(MAX_ITEMS).fill(logEntry);
  const log: Message = { ...samples.replicationLog, entries };
  const appended: Message = { type: 'consensus', body: { ...raftBodies.appendEntries, entries } };
  for (const message of [response, log, appended]) {
    t.true(isDeepStrictEqual(codec.decode(codec.encode(message)), message));
  }
  entries.push(logEntry);
  for (const message of [{ type: 'response', body: [...body, 0] } as const, log, appended]) {
    t.is(errorOf(() => codec.encode(message)).code, 'InvalidArgument');
  }
});

test('values that have a CBOR form of their own keep their meaning', (t) => {
  const cases: readonly (readonly [unknown, unknown])[] = [
    [undefined, undefined],
    [nest(63), nest(63)],
    [2n ** 64n - 1n, 2n ** 64n - 1n],
    [-(2n ** 64n) + 1n, -(2n ** 64n) + 1n],
    [7n, 7n],
    [2 ** 40, 2 ** 40],
    [-0.5, -0.5],
    [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    [Uint8Array.of(1), Buffer.of(1)],
    [new Uint8Array([1]).buffer, Buffer.of(1)],
    [{ a: undefined }, { a: undefined }],
    [Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
  ];
  for (const [sent, expected] of cases) {
    const message = codec.decode(codec.encode({ type: 'response', body: sent }));
    t.deepEqual(message, { type: 'response', ...(sent === undefined ? {} : { body: expected }) });
  }
});

test('any JSON body comes back as it was sent', (t) => {
  holds(
    t,
    fc.property(fc.jsonValue({ maxDepth: 6, noUnicodeString: false }), (value) => {
      // JSON turns -0 into 0, as CBOR integers do; __proto__ cannot be a key of a decoded map.
      const body: unknown = JSON.parse(JSON.stringify(value).replaceAll('"__proto__"', '"p"'));
      t.deepEqual(codec.decode(codec.encode({ type: 'response', body })), {
        type: 'response',
        body,
      });
    }),
    300,
  );
});

test('byte strings that are not small share the memory of the payload', (t) => {
  const payload = codec.encode({ ...samples.dataTransfer, data: Buffer.alloc(2000) });
  const { data } = codec.decode(payload) as typeof samples.dataTransfer;
  t.is(data.buffer, payload.buffer);
});

test('payloads that are kept are not overwritten by those that follow', (t) => {
  const kept = Array.from({ length: 2000 }, (_, i) =>
    codec.encode({ type: 'request', method: `m${i}`, body: 'x'.repeat(i) }),
  );
  kept.forEach((payload, i) => {
    t.like(codec.decode(payload), { method: `m${i}`, body: 'x'.repeat(i) });
  });
});

test('random and damaged payloads give a message, MalformedMessage or UnknownMessageType', (t) => {
  const counts = new Map<string, number>();
  const payloads = allSamples.map((message) => Buffer.from(codec.encode(message)));
  const damaged = fc
    .tuple(
      fc.constantFrom(...payloads),
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 3 }),
    )
    .map(([payload, damages]) => {
      const bytes = Buffer.from(payload);
      for (const [at, byte] of damages) bytes[at % bytes.length] = byte;
      return bytes;
    });
  holds(
    t,
    fc.property(fc.oneof(byteStrings(60), damaged, damaged), (payload) => {
      const verdict = refusalOf(() => codec.decode(payload))?.code ?? 'a message';
      counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
      return ['a message', 'MalformedMessage', 'UnknownMessageType'].includes(verdict);
    }),
    5000,
  );
  t.log(JSON.stringify(Object.fromEntries(counts)));
  t.is(counts.size, 3);
});

/** The message without its optional fields. */
function requiredOf(message: Message): Message {
  const optional = Object.entries(MESSAGE_FIELDS[message.type])
    .filter(([, field]) => field.optional)
    .map(([name]) => name);
  return without(message, optional);
}

/** A copy without the named fields, save for a body that the message cannot be without. */
function without(message: Message, names: readonly string[]): Message {
  const fields = MESSAGE_FIELDS[message.type] as Record<string, { optional: boolean }>;
  const kept = Object.entries(message).filter(
    ([name]) => !names.includes(name) || fields[name]?.optional === false,
  );
  return Object.fromEntries(kept) as unknown as Message;
}

function findFloats(message: Message): Float[] {
  const found: Float[] = [];
  const visit = (value: unknown): void => {
    if (value instanceof Float) found.push(value);
    else if (value instanceof Map) value.forEach(visit);
    else if (Array.isArray(value)) value.forEach(visit);
  };
  visit(readCbor(Buffer.from(codec.encode(message))));
  return found;
}

function countOf(payload: Uint8Array, part: Buffer): number {
  const bytes = Buffer.from(payload);
  let count = 0;
  for (let at = bytes.indexOf(part); at >= 0; at = bytes.indexOf(part, at + 1)) count += 1;
  return count;
}

/** A list within lists, `depth` of them; as a body it lies one map deeper. */
function nest(depth: number): unknown {
  let value: unknown = [];
  for (let level = 1; level < depth; level += 1) value = [value];
  return value;
}

function makeCycle(): object {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  return cycle;
}
