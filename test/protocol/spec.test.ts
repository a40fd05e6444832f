/** Holds SPEC.md against the code: its examples, its tables of fields, codes and limits. */
import test from 'ava';
import { Encoder } from 'cbor-x';
import {
  MAX_REMEMBERED_OF_PEER,
  MAX_REMEMBERED_TRANSFERS,
  TRANSFER_MEMORY_MS,
} from '../../src/calls/transfers/resumed-transfers.js';
import { ERROR_CODES, type MeshErrorCode } from '../../src/errors.js';
import {
  CHECKSUM_BYTES,
  DEFAULT_CBOR_LIMITS,
  DEFAULT_MAX_PAYLOAD_BYTES,
  DEFAULT_REPLAY_GUARD,
  decodeCredit,
  decodeGoAway,
  decodeReset,
  defaultPriority,
  encodeCredit,
  encodeFrame,
  encodeGoAway,
  encodeReset,
  FrameDecoder,
  FrameFlag,
  HEADER_BYTES,
  isMessageType,
  MAX_REASON_BYTES,
  type Message,
  MessageCodec,
  type MessageType,
  PRIORITIES,
  type Priority,
  type ResetFields,
} from '../../src/protocol/index.js';
import { KNOCK_BYTES, KNOCK_SLOT_MS } from '../../src/protocol/knock.js';
import { MESSAGE_FIELDS } from '../../src/protocol/message.js';
import { MAX_KNOCKS } from '../../src/transport/admission/knock-memory.js';
import {
  ALPN_PROTOCOL,
  DEFAULT_STREAM_LIMITS,
  MAX_PRE_HANDSHAKE_BYTES,
  MAX_PRE_HANDSHAKE_STREAMS,
} from '../../src/transport/connection.js';
import { resolveAdmissionLimits } from '../../src/transport/quic/admission/admission-policy.js';
import {
  MAX_CRYPTO_FRAMES,
  MAX_HALF_OPEN_BYTES,
} from '../../src/transport/quic/admission/half-open-guard.js';
import { RETRY_TOKEN_LIFETIME_MS } from '../../src/transport/quic/admission/retry-token.js';
import { receiveNaively } from './naive/receive.js';
import { refusalOf } from './properties.js';
import { receive } from './receive.js';
import { capabilities, logEntry, raftBodies, samples } from './samples.js';
import { spec, tableIn } from './spec-page.js';
import { FILES } from './vectors.js';

const codec = new MessageCodec();
const raw = new Encoder({ useRecords: false, variableMapSize: true, tagUint8Array: false });

/** One frame as the examples write it. */
interface Example {
  readonly messageId: number;
  readonly flags: string;
  readonly message?: Message;
  readonly reset?: ResetFields;
  readonly credit?: number;
  readonly goAway?: number;
}

const EXAMPLE = /```hex (\w+)\n([0-9a-f\s]+)```\s+```json\n([^`]+)```/g;
const examples = [...spec.matchAll(EXAMPLE)].map(([, name, hex, json]) => ({
  name: name as string,
  bytes: Buffer.from((hex as string).replaceAll(/\s/g, ''), 'hex'),
  example: readExample(json as string),
}));

test('the examples are all found, and there is one of every message and of every control frame', (t) => {
  t.is(examples.length, spec.split('```hex').length - 1);
  const types = new Set(examples.map(({ example }) => example.message?.type));
  for (const type of Object.keys(MESSAGE_FIELDS)) t.true(types.has(type as MessageType), type);
  const names = examples.map(({ name }) => name);
  for (const name of ['end', 'reset', 'credit', 'close', 'goAway', 'allOver', 'lz4', 'zstd']) {
    t.true(names.includes(name), name);
  }
});

for (const { name, bytes, example } of examples.filter(({ example }) => isCompressed(example))) {
  test(`the example ${name} decompresses to what it says`, async (t) => {
    const { messageId, flags, message } = example;
    const expected: unknown = { messageId, flags: Number(flags), compression: name, message };
    t.deepEqual((await receive([bytes])) as unknown, expected);
    t.deepEqual((await receiveNaively(bytes)) as unknown, expected);
  });
}

for (const { name, bytes, example } of examples.filter(({ example }) => !isCompressed(example))) {
  test(`the example ${name} decodes to what it says, and what it says encodes to it`, (t) => {
    const decoder = new FrameDecoder();
    decoder.push(Buffer.from(bytes));
    const frame = decoder.next();
    if (frame === undefined) return t.fail('not a whole frame');
    t.is(decoder.bufferedBytes, 0);
    t.is(frame.messageId, example.messageId);
    t.is(`0x${frame.flags.toString(16).padStart(4, '0')}`, example.flags);
    if (example.message !== undefined) {
      t.deepEqual(codec.decode(frame.payload), example.message);
    } else if (example.reset !== undefined) {
      t.deepEqual(decodeReset(frame.payload, 'StreamReset'), example.reset);
    } else if (example.credit !== undefined) {
      t.is(decodeCredit(frame.payload), example.credit);
    } else if (example.goAway !== undefined) {
      t.is(decodeGoAway(frame.payload), example.goAway);
    } else {
      t.is(frame.payload.length, 0);
    }
    const again = encodeFrame({
      control: Number(example.flags) & (FrameFlag.end | FrameFlag.reset | FrameFlag.credit),
      messageId: example.messageId,
      payload: payloadOf(example),
      checksum: true,
    });
    return t.is(again.toString('hex'), bytes.toString('hex'));
  });
}

test('every file of test vectors is in the table of them', (t) => {
  const names = tableIn('## Test vectors').map(([name]) => name?.replaceAll('`', ''));
  t.deepEqual([...names].sort(), FILES);
});

test('the annotated ping has the bytes of the example', (t) => {
  const [, annotated] = spec.match(/```\n(00 00 00 1b [^`]+)```/) as RegExpMatchArray;
  const hex = (annotated as string)
    .split('\n')
    .map((line) => line.trim().split(/\s{2,}/)[0] ?? '')
    .join('')
    .replaceAll(' ', '');
  t.is(hex, examples.find(({ name }) => name === 'ping')?.bytes.toString('hex') ?? 'no example');
});

test('the table of error codes is that of the code', (t) => {
  const rows = tableIn('## Error codes').map(([name, number, retryable, ends]) => ({
    name,
    wire: Number(number),
    retryable,
    ends,
  }));
  const expected = Object.entries(ERROR_CODES).map(([name, { wire, retryable }]) => ({
    name,
    wire,
    retryable: retryable ? 'yes' : 'no',
    ends: wire >= 0xf0 ? 'never travels' : wire >= 0x80 ? 'call' : 'connection',
  }));
  t.deepEqual(rows, expected);
});

test('every error code that the text names exists', (t) => {
  const fields = new Set(Object.values(MESSAGE_FIELDS).flatMap((table) => Object.keys(table)));
  const names = [...spec.matchAll(/`([A-Z]\w+)`/g)].map(([, name]) => name as MeshErrorCode);
  t.true(names.length > 50);
  for (const name of names) t.true(name in ERROR_CODES || fields.has(name), name);
});

for (const type of Object.keys(MESSAGE_FIELDS) as MessageType[]) {
  test(`the table of ${type} has the fields, kinds and demands of the code`, (t) => {
    const rows = tableIn(`### ${type}`).map(([name, kind, required]) => ({
      name,
      kind: kind?.replace(/ \(.*\)$/, ''),
      required,
    }));
    const expected = Object.entries(MESSAGE_FIELDS[type]).map(([name, field]) => ({
      name,
      kind: field.kind,
      required: field.optional ? 'no' : 'yes',
    }));
    t.deepEqual(rows, expected);
  });
}

/** A table of fields, with a map that has them all, and the message that carries such a map. */
interface Carrier {
  readonly heading: string;
  readonly full: object;
  readonly carry: (map: object) => object;
}

const CARRIERS: readonly Carrier[] = [
  ...Object.values(samples).map((full) => ({
    heading: `### ${full.type}`,
    full,
    carry: (map: object) => map,
  })),
  {
    heading: '### Capabilities',
    full: capabilities,
    carry: (map) => ({ ...samples.handshakeRequest, capabilities: map }),
  },
  {
    heading: '### LogEntry',
    full: logEntry,
    carry: (map) => ({ ...samples.replicationLog, entries: [map] }),
  },
  ...Object.values(raftBodies).map((full) => ({
    heading: `#### ${full.kind}`,
    full,
    carry: (map: object) => ({ type: 'consensus', body: map }),
  })),
];

for (const { heading, full, carry } of CARRIERS) {
  test(`the table under '${heading}' is complete, and the decoder holds to it`, (t) => {
    const rows = tableIn(heading);
    const isTaken = (change: object): boolean => {
      const map = Object.entries({ ...full, ...change }).filter(([, value]) => value !== undefined);
      return (
        refusalOf(() => codec.decode(raw.encode(carry(Object.fromEntries(map))))) === undefined
      );
    };
    t.true(isTaken({}));
    t.deepEqual(
      rows.map(([name]) => name),
      Object.keys(full).filter((name) => name !== 'type' && name !== 'kind'),
    );
    for (const [name, kind, required, limit] of rows as [string, string, string, string][]) {
      t.is(isTaken({ [name]: undefined }), required === 'no', `${name}, left out`);
      t.is(isTaken({ [name]: -1 }), kind === 'any', `${name}, of a wrong kind`);
      const sample = (full as Record<string, unknown>)[name];
      for (const { value, fits } of valuesAround(kind, limit, sample)) {
        t.is(isTaken({ [name]: value }), fits, `${name}, ${limit}`);
      }
    }
  });
}

test('the six kinds of Raft messages each have a table', (t) => {
  const headings = [...spec.matchAll(/^#### (\w+)$/gm)].map(([, name]) => name);
  t.deepEqual(headings, Object.keys(raftBodies));
});

test('every message of the calls table exists', (t) => {
  const names = tableIn('## Streams').flatMap((row) =>
    row.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name as string)),
  );
  for (const name of names) t.true(isMessageType(name), name);
  const missing = Object.keys(MESSAGE_FIELDS).filter((type) => !names.includes(type));
  t.deepEqual(missing, ['error']);
});

test('the table of priorities has the defaults of the code', (t) => {
  const rows = tableIn('### Priorities').flatMap(([calls = '', priority = '']) =>
    calls.split(', ').map((type) => [withoutTicks(type), withoutTicks(priority)]),
  );
  t.deepEqual(
    rows.map(([, priority]) => priority).filter((priority, i, all) => all[i - 1] !== priority),
    [...PRIORITIES],
  );
  for (const [type = '', priority] of rows) {
    t.true(isMessageType(type), type);
    t.is(defaultPriority(type), priority as Priority, type);
  }
  const carriers = Object.entries(MESSAGE_FIELDS).filter(([, fields]) => 'priority' in fields);
  for (const [type] of carriers) t.true(rows.flat().includes(type), type);
});

test('the table of limits has the numbers of the code', (t) => {
  const stated = new Map(
    tableIn('## Limits').map(([name, value]) => [name, Number.parseInt(withoutCommas(value), 10)]),
  );
  const expected: Readonly<Record<string, number>> = {
    Header: HEADER_BYTES,
    Checksum: CHECKSUM_BYTES,
    'Largest message id': Number.MAX_SAFE_INTEGER,
    'Reason of a reset or close': MAX_REASON_BYTES,
    'Nesting of a payload': DEFAULT_CBOR_LIMITS.maxDepth,
    'Items of a payload': DEFAULT_CBOR_LIMITS.maxItems,
    'Largest payload': DEFAULT_MAX_PAYLOAD_BYTES,
    'Handshake timestamp window': DEFAULT_REPLAY_GUARD.windowMs,
    'Nonces remembered': DEFAULT_REPLAY_GUARD.maxNonces,
    'The same, of one dialer': DEFAULT_REPLAY_GUARD.maxNoncesPerNode,
    "Payloads before the handshake's answer": MAX_PRE_HANDSHAKE_BYTES,
    "Streams before the handshake's answer": MAX_PRE_HANDSHAKE_STREAMS,
    'Streams open from one side': DEFAULT_STREAM_LIMITS.maxIncomingStreams,
    'Bytes taken before TLS is done (QUIC)': MAX_HALF_OPEN_BYTES,
    'CRYPTO frames taken in Initials (QUIC)': MAX_CRYPTO_FRAMES,
    'Peers whose TLS handshake is not done': resolveAdmissionLimits({}).maxHalfOpen,
    'The same, of one source': resolveAdmissionLimits({}).maxHalfOpenPerSource,
    'The same, from which on Retry is sent': resolveAdmissionLimits({}).retryThreshold,
    'A token of a Retry is good for': RETRY_TOKEN_LIFETIME_MS,
    'Initial credit of a stream': DEFAULT_STREAM_LIMITS.streamWindowBytes,
    'Initial credit of a connection': DEFAULT_STREAM_LIMITS.connectionWindowBytes,
    Knock: KNOCK_BYTES,
    'Time slot of a knock': KNOCK_SLOT_MS,
    'Knocks remembered': MAX_KNOCKS,
    'Interrupted transfers remembered': MAX_REMEMBERED_TRANSFERS,
    'The same, of one peer': MAX_REMEMBERED_OF_PEER,
    'An interrupted transfer is remembered for': TRANSFER_MEMORY_MS,
  };
  for (const [name, value] of Object.entries(expected)) t.is(stated.get(name), value, name);
  t.true(spec.includes(`ALPN \`${ALPN_PROTOCOL}\``));
});

test('the flags have the masks of the code', (t) => {
  const masks = new Map(
    [...spec.matchAll(/^\| [\d-]+ +\| (0x\w{4}) +\| (\w+)/gm)].map(([, mask, name]) => [
      name,
      Number(mask),
    ]),
  );
  t.is(masks.get('Version'), FrameFlag.versionMask);
  t.is(masks.get('Compression'), FrameFlag.compressionMask);
  t.is(masks.get('Checksum'), FrameFlag.checksum);
  t.is(masks.get('end'), FrameFlag.end);
  t.is(masks.get('reset'), FrameFlag.reset);
  t.is(masks.get('credit'), FrameFlag.credit);
  t.is(
    [...masks.values()].reduce((all, mask) => all + mask),
    0xffff,
  );
});

test('links within the page lead somewhere', (t) => {
  const anchors = new Set(
    [...spec.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      (title as string).toLowerCase().replaceAll(' ', '-'),
    ),
  );
  for (const [, target] of spec.matchAll(/\]\(#([\w-]+)\)/g)) t.true(anchors.has(target as string));
});

/** Compressors differ in what they write. */
function isCompressed({ flags }: Example): boolean {
  return (Number(flags) & FrameFlag.compressionMask) !== 0;
}

function readExample(json: string): Example {
  return JSON.parse(json, (_key, value: unknown) => {
    const hex = typeof value === 'string' ? value.match(/^h'([0-9a-f]*)'$/)?.[1] : undefined;
    return hex === undefined ? value : Buffer.from(hex, 'hex');
  }) as Example;
}

function payloadOf({ message, reset, credit, goAway }: Example): Uint8Array {
  if (message !== undefined) return codec.encode(message);
  if (reset !== undefined) return encodeReset(reset);
  if (goAway !== undefined) return encodeGoAway(goAway);
  return credit === undefined ? Buffer.alloc(0) : encodeCredit(credit);
}

/** Values on both sides of what a cell states as the limit. */
function valuesAround(
  kind: string,
  limit: string,
  sample: unknown,
): { readonly value: unknown; readonly fits: boolean }[] {
  if (kind === 'uint') {
    return [
      { value: 0, fits: true },
      { value: BigInt(Number.MAX_SAFE_INTEGER), fits: true },
      { value: BigInt(Number.MAX_SAFE_INTEGER) + 1n, fits: false },
      { value: 0.5, fits: false },
    ];
  }
  const choices = limit.match(/`\w+`/g)?.map((choice) => choice.replaceAll('`', ''));
  if (choices !== undefined) {
    const others = ['', `${choices[0]} `, choices[0]?.toUpperCase()];
    return [
      ...choices.map((value) => ({ value, fits: true })),
      ...others.map((value) => ({ value, fits: false })),
    ];
  }
  const parts = limit.match(/^(≤ )?([\d,]+) (bytes|items)(?: of ≤ (\d+) bytes)?$/);
  if (parts === null) {
    if (limit !== '') throw new Error(`limit that no test understands: ${limit}`);
    return [];
  }
  const [, upTo, amount, , itemAmount] = parts;
  const most = Number(withoutCommas(amount));
  const make = (count: number): unknown => {
    if (kind === 'text') return 'x'.repeat(count);
    if (kind === 'bytes') return Buffer.alloc(count);
    return Array.from({ length: count }, () => (sample as unknown[])[0]);
  };
  const values = [
    { value: make(most), fits: true },
    { value: make(most + 1), fits: false },
    { value: make(0), fits: upTo !== undefined },
  ];
  if (itemAmount !== undefined) {
    values.push(
      { value: ['x'.repeat(Number(itemAmount))], fits: true },
      { value: ['x'.repeat(Number(itemAmount) + 1)], fits: false },
    );
  }
  return values;
}

function withoutTicks(text: string): string {
  return text.replaceAll('`', '');
}

function withoutCommas(text = ''): string {
  return text.replaceAll(',', '');
}
