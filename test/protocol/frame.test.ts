import test from 'ava';
import fc from 'fast-check';
import type { MeshErrorCode } from '../../src/errors.js';
import { crc32 } from '../../src/protocol/checksum.js';
import {
  CHECKSUM_BYTES,
  Compression,
  encodeFrame,
  type Frame,
  FrameDecoder,
  type FrameDecoderOptions,
  FrameFlag,
  HEADER_BYTES,
} from '../../src/protocol/frame.js';
import { collectGarbage } from '../helpers/collect-garbage.js';
import { type Outcome, readFrames } from './naive/frame.js';
import { byteStrings, codeOf, holds, refusalOf } from './properties.js';

const MAX_PAYLOAD_BYTES = 64;
/** Everything that {@link FrameDecoder.next} may throw. */
const REFUSALS: readonly MeshErrorCode[] = [
  'VersionUnsupported',
  'ProtocolViolation',
  'FrameTooLarge',
  'UnsupportedCompression',
  'ChecksumMismatch',
];

test('a frame with checksum has the documented bytes', (t) => {
  const bytes = encodeFrame({
    control: FrameFlag.end,
    compression: Compression.zstd,
    messageId: 0x0102030405060,
    payload: Buffer.from('abc'),
    checksum: true,
  });
  t.is(bytes.toString('hex'), '0000000701a10000102030405060616263a93a558e');
});

test('a frame without checksum has the documented bytes', (t) => {
  const bytes = encodeFrame({ messageId: 3, payload: Buffer.from([0xa0]), checksum: false });
  t.is(bytes.toString('hex'), '0000000100010000000000000003a0');
});

test('any frame comes back as it was sent', (t) => {
  const fields = fc.record({
    control: fc.constantFrom(0, FrameFlag.end, FrameFlag.reset, FrameFlag.credit),
    messageId: fc.maxSafeNat().map((id) => Math.max(1, id)),
    payload: byteStrings(300).filter((payload) => payload.length > 0),
    checksum: fc.boolean(),
    compression: fc.constantFrom(...Object.values(Compression)),
  });
  holds(
    t,
    fc.property(fields, (sent) => {
      // Reset and credit frames are never compressed, and always have a checksum.
      const isPlain = sent.control === 0 || sent.control === FrameFlag.end;
      const compression = isPlain ? sent.compression : Compression.none;
      const checksum = sent.checksum || !isPlain;
      const decoder = new FrameDecoder({ requireChecksum: checksum });
      decoder.push(encodeFrame({ ...sent, compression, checksum }));
      const frame = decoder.next();
      return (
        frame !== undefined &&
        frame.messageId === sent.messageId &&
        frame.compression === compression &&
        (frame.flags & 0x0700) === sent.control &&
        sent.payload.equals(frame.payload) &&
        decoder.next() === undefined &&
        decoder.bufferedBytes === 0
      );
    }),
    1000,
  );
});

test('an encoded frame owns its memory', (t) => {
  const payload = Buffer.from('before');
  const bytes = encodeFrame({ messageId: 1, payload, checksum: true });
  payload.fill(0);
  t.is(bytes.subarray(HEADER_BYTES, -CHECKSUM_BYTES).toString(), 'before');
});

test('ids that are not integers from 0 to 2^53-1 are refused before they are sent', (t) => {
  const payload = Buffer.from('x');
  for (const messageId of [-1, 1.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.is(
      codeOf(() => encodeFrame({ messageId, payload, checksum: true })),
      'InvalidArgument',
    );
  }
});

test('the largest message id comes back, and one more is refused by its header alone', (t) => {
  const id = Number.MAX_SAFE_INTEGER;
  const [frame] = decode([
    encodeFrame({ messageId: id, payload: Buffer.from('x'), checksum: true }),
  ]);
  t.is(frame?.messageId, id);
  const decoder = new FrameDecoder();
  decoder.push(header({ length: 5, flags: 0x0081, id: 2n ** 53n }));
  t.is(
    codeOf(() => decoder.next()),
    'ProtocolViolation',
  );
});

test('every cut of a stream in two and in three gives the same frames', (t) => {
  const stream = Buffer.concat([
    encodeFrame({ messageId: 1, payload: Buffer.from('first'), checksum: true }),
    encodeFrame({ messageId: 3, payload: Buffer.alloc(0), checksum: true, control: 0x100 }),
    encodeFrame({ messageId: 1, payload: Buffer.from('the third'), checksum: true }),
  ]);
  const expected = readFrames(stream, { maxPayloadBytes: 64, requireChecksum: true });
  t.is(expected.frames.length, 3);
  for (let i = 0; i <= stream.length; i += 1) {
    for (let j = i; j <= stream.length; j += 1) {
      const chunks = [stream.subarray(0, i), stream.subarray(i, j), stream.subarray(j)];
      const found = outcomeOf(chunks, { maxPayloadBytes: 64 });
      if (!sameOutcome(found, expected)) return t.deepEqual(found, expected, `cut at ${i}, ${j}`);
    }
  }
  return t.deepEqual(outcomeOf(singleBytes(stream), { maxPayloadBytes: 64 }), expected);
});

test('frames that come in one chunk are slices of it', (t) => {
  const stream = encodeFrame({ messageId: 1, payload: Buffer.from('shared'), checksum: true });
  const [frame] = decode([stream]);
  t.is(frame?.payload.buffer, stream.buffer);
});

test('a plain Uint8Array is taken as well as a Buffer', (t) => {
  const frame = encodeFrame({ messageId: 1, payload: Buffer.from('x'), checksum: true });
  t.is(decode([Uint8Array.from(frame)]).length, 1);
});

test('random and damaged input gives frames or a named refusal, whatever the chunks', (t) => {
  const counts = new Map<string, number>();
  let frames = 0;
  holds(
    t,
    fc.property(
      fc.oneof(byteStrings(48), headers(), damagedStreams()),
      fc.boolean(),
      (input, requireChecksum) => {
        const limits = { maxPayloadBytes: MAX_PAYLOAD_BYTES, requireChecksum };
        const expected = readFrames(input, limits);
        frames += expected.frames.length;
        const verdict = expected.error ?? 'no error';
        counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
        return chunkings(input).every((chunks) => sameOutcome(outcomeOf(chunks, limits), expected));
      },
    ),
    2000,
  );
  t.log(`${frames} frames, ${JSON.stringify(Object.fromEntries(counts))}`);
  for (const code of REFUSALS) t.true(counts.has(code), `${code} was met`);
});

const HEADER_REFUSALS: readonly {
  readonly title: string;
  readonly header: HeaderFields;
  readonly code: MeshErrorCode;
}[] = [
  { title: 'a payload over the limit', header: { length: 69 }, code: 'FrameTooLarge' },
  { title: 'a payload of 4 GiB', header: { length: 0xffff_ffff }, code: 'FrameTooLarge' },
  { title: 'another version', header: { flags: 0x0082 }, code: 'VersionUnsupported' },
  { title: 'version 0', header: { flags: 0x0080 }, code: 'VersionUnsupported' },
  { title: 'an unknown compression', header: { flags: 0x00b1 }, code: 'UnsupportedCompression' },
  { title: 'no checksum', header: { flags: 0x0001 }, code: 'ProtocolViolation' },
  { title: 'a length below its checksum', header: { length: 3 }, code: 'ProtocolViolation' },
  {
    title: 'a compressed empty end',
    header: { length: 4, flags: 0x0191 },
    code: 'ProtocolViolation',
  },
  { title: 'a message on id 0', header: { id: 0n }, code: 'ProtocolViolation' },
  {
    title: 'a compressed end on id 0',
    header: { flags: 0x0191, id: 0n },
    code: 'ProtocolViolation',
  },
  { title: 'no payload and no control bit', header: { length: 4 }, code: 'ProtocolViolation' },
  { title: 'end and reset', header: { flags: 0x0381 }, code: 'ProtocolViolation' },
  { title: 'end and credit', header: { flags: 0x0581 }, code: 'ProtocolViolation' },
  { title: 'reset and credit', header: { flags: 0x0681 }, code: 'ProtocolViolation' },
  { title: 'all control bits', header: { flags: 0x0781 }, code: 'ProtocolViolation' },
  { title: 'a reset without checksum', header: { flags: 0x0201 }, code: 'ProtocolViolation' },
  { title: 'a compressed reset', header: { flags: 0x0291 }, code: 'ProtocolViolation' },
  { title: 'a compressed credit', header: { flags: 0x04a1 }, code: 'ProtocolViolation' },
  ...[0x0900, 0x0a00, 0x0c00].map((bits) => ({
    title: `more and another control bit, 0x${bits.toString(16)}`,
    header: { flags: 0x0081 | bits },
    code: 'ProtocolViolation' as const,
  })),
  {
    title: 'more on message id 0',
    header: { flags: 0x0881, id: 0n },
    code: 'ProtocolViolation' as const,
  },
  ...[12, 13, 14, 15].map((bit) => ({
    title: `reserved bit ${bit}`,
    header: { flags: 0x0081 | (1 << bit) },
    code: 'ProtocolViolation' as const,
  })),
];

for (const { title, header: fields, code } of HEADER_REFUSALS) {
  test(`a header with ${title} is refused before its body comes`, (t) => {
    const decoder = new FrameDecoder({ maxPayloadBytes: MAX_PAYLOAD_BYTES });
    const bytes = header(fields);
    decoder.push(bytes.subarray(0, HEADER_BYTES - 1));
    t.is(decoder.next(), undefined);
    decoder.push(bytes.subarray(HEADER_BYTES - 1));
    t.is(
      codeOf(() => decoder.next()),
      code,
    );
  });
}

test('a payload of exactly the limit is taken', (t) => {
  const payload = Buffer.alloc(MAX_PAYLOAD_BYTES, 1);
  const bytes = encodeFrame({ messageId: 1, payload, checksum: true });
  t.is(decode([bytes], { maxPayloadBytes: MAX_PAYLOAD_BYTES }).length, 1);
});

test('an end frame may be empty, with and without checksum', (t) => {
  for (const checksum of [true, false]) {
    const bytes = encodeFrame({
      messageId: 1,
      payload: Buffer.alloc(0),
      checksum,
      control: FrameFlag.end,
    });
    const [frame] = decode([bytes], { requireChecksum: checksum });
    t.is(frame?.payload.length, 0);
  }
});

test('limits that are changed between frames hold from the next frame on', (t) => {
  const decoder = new FrameDecoder();
  const big = encodeFrame({ messageId: 1, payload: Buffer.alloc(100, 1), checksum: true });
  const bare = encodeFrame({ messageId: 1, payload: Buffer.alloc(10, 1), checksum: false });
  decoder.push(Buffer.concat([big, bare, big]));
  t.truthy(decoder.next());
  decoder.requireChecksum = false;
  decoder.maxPayloadBytes = 50;
  t.truthy(decoder.next());
  t.is(
    codeOf(() => decoder.next()),
    'FrameTooLarge',
  );
});

test('no single flipped bit of a frame with checksum goes unnoticed', (t) => {
  const sent = encodeFrame({
    messageId: 5,
    payload: Buffer.from('sixteen bytes...'),
    checksum: true,
  });
  let refused = 0;
  let waiting = 0;
  for (let bit = 0; bit < sent.length * 8; bit += 1) {
    const damaged = Buffer.from(sent);
    const at = bit >> 3;
    damaged[at] = (damaged[at] as number) ^ (1 << (bit & 7));
    const decoder = new FrameDecoder();
    decoder.push(damaged);
    const refusal = refusalOf(() => t.is(decoder.next(), undefined, `bit ${bit} gave a frame`));
    if (refusal === undefined) waiting += 1;
    else if (REFUSALS.includes(refusal.code)) refused += 1;
  }
  t.is(refused + waiting, sent.length * 8);
  t.true(waiting < 32, 'only a longer length waits for more');
});

test('a checksum that is not demanded is checked all the same', (t) => {
  const bytes = encodeFrame({ messageId: 1, payload: Buffer.from('x'), checksum: true });
  bytes[HEADER_BYTES] = 0x79;
  t.is(
    codeOf(() => decode([bytes], { requireChecksum: false })),
    'ChecksumMismatch',
  );
});

test('after a refusal the decoder repeats it and keeps nothing', (t) => {
  const decoder = new FrameDecoder();
  decoder.push(Buffer.concat([header({ flags: 0 }), Buffer.alloc(100)]));
  const first = refusalOf(() => decoder.next());
  const good = encodeFrame({ messageId: 1, payload: Buffer.from('x'), checksum: true });
  for (let i = 0; i < 10; i += 1) {
    decoder.push(good);
    t.is(
      refusalOf(() => decoder.next()),
      first,
    );
    t.is(decoder.bufferedBytes, 0);
  }
});

test('bytes kept are never more than one frame', (t) => {
  const payload = Buffer.alloc(MAX_PAYLOAD_BYTES, 1);
  const frame = encodeFrame({ messageId: 1, payload, checksum: true });
  const stream = Buffer.concat(Array.from({ length: 20 }, () => frame));
  const decoder = new FrameDecoder({ maxPayloadBytes: MAX_PAYLOAD_BYTES });
  for (const size of [1, 7, frame.length - 1, frame.length + 1, 250]) {
    for (let at = 0; at < stream.length; at += size) {
      decoder.push(stream.subarray(at, at + size));
      while (decoder.next() !== undefined);
      t.true(decoder.bufferedBytes < frame.length);
    }
    t.is(decoder.bufferedBytes, 0);
  }
});

test('a frame that comes byte by byte costs little more than its bytes', (t) => {
  const bytes = 512 * 1024;
  const decoder = new FrameDecoder();
  decoder.push(header({ length: bytes + 5, flags: 0x0081 }));
  t.is(decoder.next(), undefined);
  const before = collectedMemoryBytes();
  for (let i = 0; i < bytes; i += 1) decoder.push(new Uint8Array(1));
  t.is(decoder.next(), undefined);
  const held = collectedMemoryBytes() - before;
  t.log(`${held} bytes of memory for ${bytes} bytes of a frame`);
  t.is(decoder.bufferedBytes, HEADER_BYTES + bytes);
  t.true(held < 4 * bytes);
});

interface HeaderFields {
  readonly length?: number;
  readonly flags?: number;
  readonly id?: bigint;
}

/** The 14 bytes of a header; by default of a sound frame of one byte. */
function header({ length = 5, flags = 0x0081, id = 1n }: HeaderFields): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt32BE(length, 0);
  bytes.writeUInt16BE(flags, 4);
  bytes.writeBigUInt64BE(id, 6);
  return bytes;
}

function decode(chunks: readonly Uint8Array[], options: FrameDecoderOptions = {}): Frame[] {
  const decoder = new FrameDecoder(options);
  const frames: Frame[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk);
    for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
      frames.push(frame);
    }
  }
  return frames;
}

/** What the decoder makes of the chunks, in the shape that the naive reader uses. */
function outcomeOf(chunks: readonly Buffer[], options: FrameDecoderOptions): Outcome {
  const decoder = new FrameDecoder(options);
  const frames: Outcome['frames'][number][] = [];
  const refusal = refusalOf(() => {
    for (const chunk of chunks) {
      decoder.push(chunk);
      for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
        const { flags, messageId, payload } = frame;
        frames.push({ flags, messageId, payload: Buffer.from(payload).toString('hex') });
      }
    }
  });
  return { frames, error: refusal?.code };
}

function sameOutcome(a: Outcome, b: Outcome): boolean {
  return (
    a.error === b.error &&
    a.frames.length === b.frames.length &&
    a.frames.every((frame, i) => {
      const other = b.frames[i];
      return (
        frame.flags === other?.flags &&
        frame.messageId === other.messageId &&
        frame.payload === other.payload
      );
    })
  );
}

/** The input whole, byte by byte, and cut in two at every byte. */
function chunkings(input: Buffer): Buffer[][] {
  const cuts = Array.from({ length: input.length }, (_, at) => [
    input.subarray(0, at),
    input.subarray(at),
  ]);
  return [[input], singleBytes(input), ...cuts];
}

function singleBytes(input: Buffer): Buffer[] {
  return Array.from(input, (_, at) => input.subarray(at, at + 1));
}

/** Headers whose fields are near what is allowed, with some bytes behind them. */
function headers(): fc.Arbitrary<Buffer> {
  const fields = fc.record({
    length: fc.oneof(fc.nat(80), fc.nat(0xffff_ffff)),
    flags: fc.oneof(fc.nat(0x7ff), fc.nat(0xffff)).map((flags) => (flags & 0xfff0) | 1),
    id: fc.oneof(fc.bigInt(0n, 9n), fc.bigInt(0n, 2n ** 64n - 1n)),
  });
  return fc
    .tuple(fields, byteStrings(90))
    .map(([field, body]) => Buffer.concat([header(field), body]));
}

/** One to three sound frames, then a few bytes overwritten, cut out or added. */
function damagedStreams(): fc.Arbitrary<Buffer> {
  const frame = fc
    .record({
      control: fc.constantFrom(0, 0, FrameFlag.end, FrameFlag.reset, FrameFlag.credit),
      messageId: fc.maxSafeNat(),
      payload: byteStrings(24).map((payload) => Buffer.concat([Buffer.of(1), payload])),
      checksum: fc.boolean(),
    })
    .map((fields) => encodeFrame(fields));
  const damage = fc.record({
    kind: fc.constantFrom('overwrite', 'cut', 'add'),
    at: fc.nat(200),
    byte: fc.nat(255),
  });
  return fc
    .tuple(fc.array(frame, { minLength: 1, maxLength: 3 }), fc.array(damage, { maxLength: 3 }))
    .map(([frames, damages]) => {
      const bytes = [...Buffer.concat(frames)];
      for (const { kind, at, byte } of damages) {
        const place = at % bytes.length;
        if (kind === 'overwrite') bytes[place] = byte;
        else if (kind === 'add') bytes.splice(place, 0, byte);
        else if (bytes.length > 1) bytes.splice(place, 1);
      }
      return Buffer.from(bytes);
    });
}

test('a frame is the same whether its tail is passed over or its checksum known, and a large one tells its own', (t) => {
  const whole = Buffer.from(Uint8Array.from({ length: 20_000 }, (_, i) => i * i));
  for (const cut of [0, 1, 100, 19_999, 20_000]) {
    const [payload, tail] = [whole.subarray(0, cut), whole.subarray(cut)];
    for (const checksum of [true, false]) {
      const fields = { messageId: 7, checksum };
      const bytes = encodeFrame({ ...fields, payload: whole });
      t.deepEqual(encodeFrame({ ...fields, payload, tail }), bytes);
      t.deepEqual(encodeFrame({ ...fields, payload, tail, tailChecksum: crc32(tail) }), bytes);
      const decoder = new FrameDecoder({ requireChecksum: false });
      decoder.push(bytes);
      t.is(decoder.next()?.payloadChecksum, checksum ? crc32(whole) : undefined);
    }
  }
  const damaged = encodeFrame({ messageId: 7, checksum: true, payload: whole });
  for (const at of [13, 14, 5000, damaged.length - 1]) {
    const bytes = Buffer.from(damaged);
    bytes[at] = (bytes[at] as number) ^ 1;
    const decoder = new FrameDecoder();
    decoder.push(bytes);
    t.throws(() => decoder.next(), { code: 'ChecksumMismatch' });
  }
});

/** Memory in use after a collection, on and off the heap. */
function collectedMemoryBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test('frames are the same whether their bytes are pushed or read into the memory of their own', (t) => {
  const large = fc.integer({ min: 1, max: 50_000 });
  const step = fc.record({ bytes: fc.integer({ min: 1, max: 20_000 }), reads: fc.boolean() });
  holds(
    t,
    fc.property(
      fc.array(large, { minLength: 1, maxLength: 3 }),
      fc.array(step, { minLength: 1, maxLength: 20 }),
      (sizes, steps) => {
        const sent = sizes.map((bytes, at) => Buffer.alloc(bytes, at + 1));
        const stream = Buffer.concat(
          sent.map((payload) => encodeFrame({ messageId: 1, payload, checksum: true })),
        );
        const decoder = new FrameDecoder();
        const payloads: Uint8Array[] = [];
        let at = 0;
        for (let turn = 0; at < stream.length; turn += 1) {
          const { bytes, reads } = steps[turn % steps.length] as (typeof steps)[number];
          const room = reads ? decoder.room() : undefined;
          const taken = stream.subarray(at, at + Math.min(bytes, room?.length ?? bytes));
          at += taken.length;
          if (room === undefined) decoder.push(Buffer.from(taken));
          else decoder.filled(taken.copy(room));
          for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
            payloads.push(frame.payload);
          }
        }
        t.is(decoder.bufferedBytes, 0);
        t.is(payloads.length, sent.length);
        for (const [index, payload] of payloads.entries()) {
          if (!(sent[index] as Buffer).equals(payload)) throw new Error(`payload ${index} differs`);
        }
      },
    ),
  );
});

test('a large frame has memory of its own once a 32nd of it is here, and of its own size', (t) => {
  const payload = Buffer.alloc(65_536, 7);
  const bytes = encodeFrame({ messageId: 1, payload, checksum: true });
  const decoder = new FrameDecoder();
  t.is(decoder.room(), undefined);
  t.false(decoder.expectsLarge);
  decoder.push(bytes.subarray(0, 2000));
  t.is(decoder.next(), undefined);
  t.is(decoder.room(), undefined);
  decoder.push(bytes.subarray(2000, 2100));
  t.is(decoder.next(), undefined);
  const room = decoder.room() as Buffer;
  t.is(room.length, bytes.length - 2100);
  bytes.copy(room, 0, 2100);
  decoder.filled(room.length);
  const frame = decoder.next() as Frame;
  t.deepEqual(frame.payload, payload);
  t.is(frame.payload.buffer.byteLength, bytes.length);
  t.is(decoder.bufferedBytes, 0);
  t.is(decoder.room(), undefined);
  t.true(decoder.expectsLarge);
  decoder.push(encodeFrame({ messageId: 1, payload: Buffer.from('small'), checksum: true }));
  t.is(decoder.next()?.payload.length, 5);
  t.false(decoder.expectsLarge);
});

test('a large frame that is damaged is refused in the memory of its own, too', (t) => {
  const bytes = encodeFrame({ messageId: 1, payload: Buffer.alloc(32_768, 7), checksum: true });
  bytes[30_000] = 8;
  const decoder = new FrameDecoder();
  decoder.push(bytes.subarray(0, 20_000));
  t.is(decoder.next(), undefined);
  const room = decoder.room() as Buffer;
  decoder.filled(bytes.copy(room, 0, 20_000));
  t.is(
    codeOf(() => decoder.next()),
    'ChecksumMismatch',
  );
  t.is(decoder.room(), undefined);
  t.is(decoder.bufferedBytes, 0);
});
