import { execFileSync } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { MeshError, type MeshErrorCode } from '../../src/errors.js';
import {
  type Algorithm,
  Compression,
  compressionsOf,
  FrameCodec,
  type Message,
  MessageCodec,
  type PackedPayload,
  packPayload,
  unpackPayload,
} from '../../src/protocol/index.js';
import { unpackLz4 } from './naive/compression.js';
import { KINDS, randomFrom } from './payload-data.js';
import { codeOf, holdsAsync } from './properties.js';
import { algorithms, decodeMessage, frameOf } from './receive.js';

const MAX_BYTES = 16 * 1024 * 1024;
const LENGTH_BYTES = 4;
const both: readonly Algorithm[] = [algorithms.lz4, algorithms.zstd];
/** What a receiver may say of a compressed payload. */
const REFUSALS: readonly MeshErrorCode[] = ['MalformedMessage', 'MessageTooLarge'];

const text = (bytes: number): Message => ({ type: 'response', body: 'x'.repeat(bytes) });

function codecOf(options: { algorithms?: readonly Algorithm[]; thresholdBytes?: number } = {}) {
  return new FrameCodec({
    codec: new MessageCodec(),
    maxMessageBytes: MAX_BYTES,
    algorithms: both,
    thresholdBytes: 4096,
    ...options,
  });
}

for (const { name, id } of both) {
  test(`${name} has the number that frames carry, and comes by its name`, (t) => {
    t.is(id, Compression[name]);
    t.deepEqual(compressionsOf([name, 'none-such', 'toString']), [Compression.none, id]);
  });

  test(`${name}: a message comes back, small or large`, async (t) => {
    const codec = codecOf({ algorithms: [algorithms[name]], thresholdBytes: 0 });
    for (const bytes of [100, 5000, 70_000, 300_000]) {
      const packed = await codec.encode(text(bytes));
      t.is(packed.compression, id);
      t.true(packed.payload.length < bytes);
      t.is(Buffer.from(packed.payload).readUInt32BE(0), packedLength(text(bytes)));
      t.deepEqual(await codec.decode(frameOf(packed)), text(bytes));
    }
  });

  test(`${name}: payloads below the threshold stay as they are, from it on they are compressed`, async (t) => {
    const message = text(500);
    const size = packedLength(message);
    const algorithm = algorithms[name];
    const above = codecOf({ algorithms: [algorithm], thresholdBytes: size + 1 }).encode(message);
    t.like(above, { compression: Compression.none });
    const at = await codecOf({ algorithms: [algorithm], thresholdBytes: size }).encode(message);
    t.is(at.compression, id);
  });

  test(`${name}: what would not shrink stays as it is`, async (t) => {
    const random = KINDS.random!(randomFrom(1), 10_000);
    const packed = await codecOf({ algorithms: [algorithms[name]] }).encode({
      type: 'response',
      body: random,
    });
    t.is(packed.compression, Compression.none);
    for (const payload of [Buffer.alloc(0), Buffer.of(1), Buffer.from('abcdefgh')]) {
      const same = await packPayload(payload, algorithms[name]);
      t.deepEqual(same, { payload, compression: Compression.none });
    }
  });

  test(`${name}: the compressed payload is never as long as the raw one`, async (t) => {
    for (let bytes = 0; bytes < 64; bytes += 1) {
      const raw = Buffer.alloc(bytes, 'a');
      const { payload, compression } = await packPayload(raw, algorithms[name]);
      t.true(compression === Compression.none ? payload === raw : payload.length < raw.length);
    }
  });

  test(`${name}: what is not what it says is MalformedMessage, what says too much MessageTooLarge`, async (t) => {
    const raw = Buffer.alloc(1000, 'a');
    const { payload } = await packPayload(raw, algorithms[name]);
    const good = Buffer.from(payload);
    const stating = (bytes: number): Buffer => {
      const changed = Buffer.from(good);
      changed.writeUInt32BE(bytes, 0);
      return changed;
    };
    t.is(await outcomeOf(good, name), 1000);
    for (const bytes of [0, 1, 999, 1001]) {
      t.is(await outcomeOf(stating(bytes), name), 'MalformedMessage', `${bytes}`);
    }
    t.is(await outcomeOf(stating(MAX_BYTES + 1), name), 'MessageTooLarge');
    t.is(await outcomeOf(stating(0xffff_ffff), name), 'MessageTooLarge');
    t.is(await outcomeOf(good, name, 999), 'MessageTooLarge');
    t.is(await outcomeOf(good, name, 1000), 1000);
    for (let end = 0; end < good.length; end += 1) {
      t.is(await outcomeOf(good.subarray(0, end), name), 'MalformedMessage', `cut at ${end}`);
    }
    t.is(await outcomeOf(Buffer.concat([good, Buffer.of(0)]), name), 'MalformedMessage');
  });

  test(`${name}: a plain Uint8Array within other memory is taken as well as a Buffer`, async (t) => {
    const raw = Buffer.alloc(1000, 'a');
    const around = new Uint8Array(3000).fill(7);
    around.set(raw, 500);
    const packed = await packPayload(around.subarray(500, 1500), algorithms[name]);
    around.set(packed.payload, 500);
    const slice = around.subarray(500, 500 + packed.payload.length);
    t.deepEqual(Buffer.from(await unpackPayload(slice, algorithms[name], MAX_BYTES)), raw);
  });

  test(`${name}: any data of up to 1 MiB comes back`, async (t) => {
    const kinds = fc.constantFrom(...Object.keys(KINDS));
    const sizes = fc.oneof(fc.nat(300), fc.nat(10_000), fc.nat(1024 * 1024));
    const counts = { compressed: 0, plain: 0, bytes: 0 };
    await holdsAsync(
      t,
      fc.asyncProperty(kinds, sizes, fc.nat(), async (kind, size, seed) => {
        const raw = KINDS[kind]!(randomFrom(seed), size);
        const packed = await packPayload(raw, algorithms[name]);
        counts.bytes += raw.length;
        if (packed.compression === Compression.none) {
          counts.plain += 1;
          return packed.payload === raw;
        }
        counts.compressed += 1;
        const back = await unpackPayload(packed.payload, algorithms[name], MAX_BYTES);
        return packed.payload.length < raw.length && raw.equals(back);
      }),
      80,
    );
    t.log(JSON.stringify(counts));
  });

  test(`${name}: damaged and random data gives a refusal or the length that it states`, async (t) => {
    const sound = await Promise.all(
      Object.values(KINDS).flatMap((kind, at) =>
        [200, 3000, 100_000].map((size) => packed(kind(randomFrom(at), size), name)),
      ),
    );
    const random = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes));
    const damages = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    const damagedData = fc.tuple(fc.constantFrom(...sound), damages).map(([payload, changes]) => {
      const bytes = Buffer.from(payload);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return bytes;
    });
    // Most random lengths are over the limit: small ones get further.
    const lengths = fc.tuple(fc.nat(3000), random).map(([length, data]) => {
      const head = Buffer.alloc(LENGTH_BYTES);
      head.writeUInt32BE(length);
      return Buffer.concat([head, data]);
    });
    const counts = new Map<string, number>();
    await holdsAsync(
      t,
      fc.asyncProperty(fc.oneof(random, lengths, damagedData, damagedData), async (payload) => {
        const outcome = await outcomeOf(payload, name);
        const kind = typeof outcome === 'number' ? 'decompressed' : outcome;
        counts.set(kind, (counts.get(kind) ?? 0) + 1);
        if (typeof outcome === 'number') return outcome === payload.readUInt32BE(0);
        return REFUSALS.includes(outcome);
      }),
      1500,
    );
    t.log(JSON.stringify(Object.fromEntries(counts)));
    for (const kind of ['decompressed', ...REFUSALS]) t.true(counts.has(kind), `${kind} was met`);
  });
}

test('LZ4 compresses up to 256 KiB at once, more leaves the event loop; it decompresses at once', async (t) => {
  const codec = codecOf({ algorithms: [algorithms.lz4] });
  const small = codec.encode(text(250_000));
  t.false(small instanceof Promise);
  t.false(codec.decode(frameOf(small as PackedPayload)) instanceof Promise);
  const large = codec.encode(text(270_000));
  t.true(large instanceof Promise);
  const read = codec.decode(frameOf(await large));
  t.false(read instanceof Promise);
  t.deepEqual(read, text(270_000));
});

test('where nothing shrinks, compressing is tried less and less often, and at once again when something does', (t) => {
  let tries = 0;
  const { lz4 } = algorithms;
  const counting: Algorithm = {
    ...lz4,
    compress(raw) {
      tries += 1;
      return lz4.compress(raw);
    },
  };
  const codec = codecOf({ algorithms: [counting] });
  const noise: Message = { type: 'response', body: randomBytes(8000) };
  const send = (message: Message, times: number) => {
    const before = tries;
    const packed = Array.from({ length: times }, () => codec.encode(message) as PackedPayload);
    return {
      tries: tries - before,
      compressed: packed.filter(({ compression }) => compression !== 0).length,
    };
  };
  t.deepEqual(send(noise, 1000), { tries: 10, compressed: 0 });
  // The next try may be 256 messages away; from then on each one is worth it.
  const { tries: tried, compressed } = send(text(8000), 1000);
  t.is(tried, compressed);
  t.true(compressed >= 1000 - 256);
  t.deepEqual(send(text(8000), 100), { tries: 100, compressed: 100 });
});

test('Zstd always leaves the event loop, what is not compressed never does', async (t) => {
  const codec = codecOf({ algorithms: [algorithms.zstd] });
  const packed = codec.encode(text(5000));
  t.true(packed instanceof Promise);
  const read = codec.decode(frameOf(await packed));
  t.true(read instanceof Promise);
  await read;
  const plain = codec.encode(text(100));
  t.false(plain instanceof Promise);
  t.false(codec.decode(frameOf(plain as PackedPayload)) instanceof Promise);
});

test('payloads leave by the first algorithm and are read by any', async (t) => {
  const zstdFirst = codecOf({ algorithms: [algorithms.zstd, algorithms.lz4] });
  const lz4First = codecOf({ algorithms: [algorithms.lz4, algorithms.zstd] });
  const byZstd = await zstdFirst.encode(text(5000));
  const byLz4 = await lz4First.encode(text(5000));
  t.is(byZstd.compression, Compression.zstd);
  t.is(byLz4.compression, Compression.lz4);
  t.deepEqual(await lz4First.decode(frameOf(byZstd)), text(5000));
  t.deepEqual(await zstdFirst.decode(frameOf(byLz4)), text(5000));
});

test('without algorithms, and for bulk data, payloads stay as they are', (t) => {
  const none = codecOf({ algorithms: [] }).encode(text(5000));
  t.like(none, { compression: Compression.none });
  t.like(codecOf().encodePlain(text(5000)), { compression: Compression.none });
});

test('a compression that was not agreed is UnsupportedCompression', async (t) => {
  const packed = await codecOf({ algorithms: [algorithms.zstd] }).encode(text(5000));
  const other = codecOf({ algorithms: [algorithms.lz4] });
  t.is(
    codeOf(() => other.decode(frameOf(packed))),
    'UnsupportedCompression',
  );
});

test('what is decompressed is judged like any payload', async (t) => {
  const codec = codecOf();
  for (const [raw, code] of [
    [Buffer.alloc(1000, 0x81), 'MalformedMessage'],
    [Buffer.from(`a16474797065${'78ff'}${'61'.repeat(255)}`, 'hex'), 'UnknownMessageType'],
  ] as const) {
    for (const algorithm of both) {
      const frame = frameOf(await packPayload(raw, algorithm));
      t.is(frame.compression, algorithm.id);
      t.is(await decodeMessage(frame, codec), code);
    }
  }
});

test('many payloads at once keep apart', async (t) => {
  const codec = codecOf({ thresholdBytes: 0 });
  const messages = Array.from({ length: 200 }, (_, i) => text(100 + i * 700));
  const back = await Promise.all(
    messages.map(async (message) => codec.decode(frameOf(await codec.encode(message)))),
  );
  t.deepEqual(back, messages);
});

test('LZ4 blocks of the library and those of the naive reader are the same', async (t) => {
  for (const kind of Object.values(KINDS)) {
    for (const size of [0, 1, 12, 13, 14, 100, 5000, 66_000, 200_000]) {
      const raw = kind(randomFrom(size), size);
      t.true(unpackLz4(await algorithms.lz4.compress(raw)).equals(raw));
    }
  }
});

test('LZ4 blocks of the lz4 command, at every level, are read', async (t) => {
  const seed = randomInt(2 ** 31);
  t.log(`seed ${seed}`);
  for (const [kind, make] of Object.entries(KINDS)) {
    const raw = make(randomFrom(seed), 50_000);
    for (const level of ['-1', '-3', '-9', '-12']) {
      const frame = lz4Frame(t, raw, level);
      if (frame === undefined) return;
      const block = blockOf(frame);
      // What cannot be compressed is no block there.
      if (block === undefined) continue;
      const payload = Buffer.concat([lengthOf(raw), block]);
      t.true(
        raw.equals(await unpackPayload(payload, algorithms.lz4, MAX_BYTES)),
        `${kind} ${level}`,
      );
    }
  }
});

function packedLength(message: Message): number {
  return new MessageCodec().encode(message).length;
}

async function packed(raw: Buffer, name: 'lz4' | 'zstd'): Promise<Buffer> {
  return Buffer.concat([lengthOf(raw), await algorithms[name].compress(raw)]);
}

function lengthOf(raw: Buffer): Buffer {
  const bytes = Buffer.alloc(LENGTH_BYTES);
  bytes.writeUInt32BE(raw.length);
  return bytes;
}

/** The length of the raw payload, or the code of the refusal. @throws whatever is not a MeshError */
async function outcomeOf(
  payload: Buffer,
  name: 'lz4' | 'zstd',
  maxBytes = MAX_BYTES,
): Promise<number | MeshErrorCode> {
  try {
    return (await unpackPayload(payload, algorithms[name], maxBytes)).length;
  } catch (error) {
    if (error instanceof MeshError) return error.code;
    throw new Error(`${name} ${payload.toString('hex')}`, { cause: error });
  }
}

/** What the `lz4` command makes of some data; `undefined`, said in the log, where there is none. */
function lz4Frame(t: ExecutionContext, raw: Buffer, level: string): Buffer | undefined {
  try {
    return execFileSync('lz4', [level, '-q', '-c', '--no-frame-crc'], { input: raw });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    t.is(process.env.CI, undefined, 'CI must be able to run it: install lz4');
    t.log('skipped: there is no lz4 command here');
    return undefined;
  }
}

/** The first block of an LZ4 frame of the command's: after magic number, flags, block size and header checksum. */
function blockOf(frame: Buffer): Buffer | undefined {
  const size = frame.readUInt32LE(7);
  return size >= 0x8000_0000 ? undefined : frame.subarray(11, 11 + size);
}
