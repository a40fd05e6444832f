/** Small payloads that would become large, or slow: refused at once, without the memory that they ask for. */
import test, { type ExecutionContext } from 'ava';
import type { MeshErrorCode } from '../../src/errors.js';
import { Compression } from '../../src/protocol/index.js';
import { collectGarbage } from '../helpers/collect-garbage.js';
import { writeCbor } from './naive/cbor.js';
import { DEFAULT_AGREED } from './naive/receive.js';
import { codecFor, decodeMessage, frameOf } from './receive.js';

const MIB = 1024 * 1024;
const BLOCK_BYTES = 128 * 1024;
const MAX_BYTES = 16 * MIB;
/** A bound for any machine, however busy; what it took is in the log. */
const SOON_MS = 1000;
const ROUNDS = 20;

const frameCodec = codecFor(DEFAULT_AGREED);

interface Bomb {
  readonly payload: Buffer;
  readonly compression: Compression;
  readonly code: MeshErrorCode;
}

const lz4Data = Buffer.from('1f610100ffffffff0050', 'hex');
const none = Compression.none;
const { lz4, zstd } = Compression;

const BOMBS: Readonly<Record<string, Bomb>> = {
  '14 bytes that claim 1 GB of LZ4': claim(1e9, lz4Data, lz4, 'MessageTooLarge'),
  '14 bytes that claim 16 MiB of LZ4': claim(MAX_BYTES, lz4Data, lz4),
  '14 bytes that claim 1 GB of Zstd': claim(
    1e9,
    rleBlocks(1).subarray(0, 10),
    zstd,
    'MessageTooLarge',
  ),
  '14 bytes that claim 16 MiB of Zstd': claim(MAX_BYTES, rleBlocks(1).subarray(0, 10), zstd),
  '2 KB of Zstd that become 64 MiB, and say so': claim(
    64 * MIB,
    rleBlocks(512),
    zstd,
    'MessageTooLarge',
  ),
  '2 KB of Zstd that become 64 MiB, and claim 1,000 bytes': claim(1000, rleBlocks(512), zstd),
  '2 KB of Zstd that become 64 MiB, and claim 16 MiB': claim(MAX_BYTES, rleBlocks(512), zstd),
  '7 KB of compressed blocks that become 64 MiB, and claim 1,000 bytes': claim(
    1000,
    tinyBlocks(512),
    zstd,
  ),
  '7 KB of compressed blocks that become 64 MiB, and claim 16 MiB': claim(
    MAX_BYTES,
    tinyBlocks(512),
    zstd,
  ),
  'a window of 3.75 TiB': claim(1000, Buffer.from('28b52ffd00ff010000', 'hex'), zstd),
  'a bignum of 128 KiB': plain(
    response(Buffer.concat([Buffer.from('c25a00020000', 'hex'), Buffer.alloc(BLOCK_BYTES, 0xff)])),
  ),
  '10,000 levels of lists': plain(response(Buffer.alloc(10_000, 0x81))),
  '10,000 levels of maps': plain(response(Buffer.alloc(30_000, 'a16161', 'hex'))),
  'a list that announces 4 billion items': plain(response(Buffer.from('9affffffff', 'hex'))),
  'a byte string that announces 4 GiB': plain(response(Buffer.from('5affffffff', 'hex'))),
  'a typed array by a tag': plain(response(Buffer.from('d8565a00ffffff', 'hex'))),
};

for (const [what, { payload, compression, code }] of Object.entries(BOMBS)) {
  test.serial(`${what}: refused at once, with less than 1 MB`, async (t) => {
    const frame = { ...frameOf({ payload, compression }), compression };
    t.is(await decodeMessage(frame, frameCodec), code);
    await measured(t, async () => {
      // Not one of them may keep or take what it claims.
      const outcomes = [];
      for (let round = 0; round < ROUNDS; round += 1)
        outcomes.push(decodeMessage(frame, frameCodec));
      t.deepEqual(await Promise.all(outcomes), new Array(ROUNDS).fill(code));
    });
  });
}

/** Runs something, and holds it to its time and memory: V8's own count of buffers, and the peak of the process. */
async function measured(t: ExecutionContext, run: () => Promise<void>): Promise<void> {
  collectGarbage();
  const before = bufferBytes();
  const peakBefore = process.resourceUsage().maxRSS;
  const startMs = performance.now();
  await run();
  const tookMs = (performance.now() - startMs) / ROUNDS;
  const held = bufferBytes() - before;
  const peakBytes = (process.resourceUsage().maxRSS - peakBefore) * 1024;
  t.log(
    `${tookMs.toFixed(3)} ms each, ${held} bytes of buffers, peak of the process +${peakBytes}`,
  );
  t.true(tookMs < SOON_MS);
  t.true(held / ROUNDS < MIB, `${held} bytes of buffers`);
  // Native memory shows here only. All rounds together: a single one that took 64 MiB would show, as would 20 of 1 MiB.
  t.true(peakBytes < ROUNDS * MIB, `the process grew by ${peakBytes}`);
}

function bufferBytes(): number {
  const { arrayBuffers, external } = process.memoryUsage();
  return arrayBuffers + external;
}

function claim(
  rawBytes: number,
  data: Buffer,
  compression: Compression,
  code: MeshErrorCode = 'MalformedMessage',
): Bomb {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(rawBytes);
  return { payload: Buffer.concat([length, data]), compression, code };
}

function plain(payload: Buffer): Bomb {
  return { payload, compression: none, code: 'MalformedMessage' };
}

/** A response whose body is the given bytes. */
function response(body: Buffer): Buffer {
  const message = writeCbor(
    new Map([
      ['type', 'response'],
      ['body', null],
    ]),
  );
  return Buffer.concat([message.subarray(0, -1), body]);
}

/** A Zstd frame of RLE blocks, each 128 KiB in four bytes. */
function rleBlocks(count: number): Buffer {
  return zstdFrame(count, 1, BLOCK_BYTES, Buffer.of(0));
}

/** A Zstd frame of compressed blocks, each 128 KiB of `a` in 13 bytes. */
function tinyBlocks(count: number): Buffer {
  const data = Buffer.from('1061610100fbff39c002', 'hex');
  return zstdFrame(count, 2, data.length, data);
}

function zstdFrame(count: number, type: number, size: number, data: Buffer): Buffer {
  const blocks = Array.from({ length: count }, (_, at) => {
    const head = Buffer.alloc(3);
    head.writeUIntLE((size << 3) | (type << 1) | (at === count - 1 ? 1 : 0), 0, 3);
    return Buffer.concat([head, data]);
  });
  return Buffer.concat([Buffer.from('28b52ffd0058', 'hex'), ...blocks]);
}
