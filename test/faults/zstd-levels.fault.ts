/** Frames of the zstd command, of all its levels: the strongest take seconds. */
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { unpackPayload } from '../../src/protocol/compression.js';
import { checkZstdFrame } from '../../src/protocol/zstd-frame.js';
import { KINDS, randomFrom } from '../protocol/payload-data.js';
import { algorithms } from '../protocol/receive.js';

const MAX_BYTES = 16 * 1024 * 1024;
const BLOCK_BYTES = 128 * 1024;
/** By number, as a block's header has it. */
const [RLE, COMPRESSED] = [1, 2];

test('frames of the zstd command pass and are read: all levels, cut blocks, with and without length', async (t) => {
  const seed = randomInt(2 ** 31);
  let cut = 0;
  let count = 0;
  for (const kind of ['random', 'skewed', 'rows', 'mixed']) {
    const make = KINDS[kind]!;
    for (const size of [1000, 120_000, 400_000]) {
      const raw = make(randomFrom(seed), size);
      for (const args of [['-1'], ['-3'], ['-16'], ['-19'], ['--ultra', '-22'], ['--fast=7']]) {
        // Told the length, the encoder states it; not told, levels above 19 ask for windows beyond 8 MiB.
        const lengths = args.includes('--ultra')
          ? [[`--stream-size=${size}`]]
          : [[], [`--stream-size=${size}`]];
        for (const length of lengths) {
          const frame = zstdFrame(t, raw, [...args, ...length]);
          if (frame === undefined) return;
          const what = `seed ${seed}, ${kind} of ${size} with ${args} ${length}`;
          t.notThrows(() => checkZstdFrame(frame, size, MAX_BYTES), what);
          t.true(
            raw.equals(await unpackPayload(payloadOf(frame, size), algorithms.zstd, MAX_BYTES)),
            what,
          );
          count += 1;
          if (blocksIn(frame) * BLOCK_BYTES > 2 * size + BLOCK_BYTES) cut += 1;
        }
      }
    }
  }
  t.log(`seed ${seed}: ${count} frames, ${cut} with blocks beyond twice their length`);
  t.true(cut > 0, 'blocks are cut at high levels');
});

function payloadOf(frame: Buffer, rawBytes: number): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(rawBytes);
  return Buffer.concat([length, frame]);
}

/** What the `zstd` command makes of some data; `undefined`, said in the log, where there is none. */
function zstdFrame(t: ExecutionContext, raw: Buffer, args: readonly string[]): Buffer | undefined {
  try {
    return execFileSync('zstd', ['-q', '-c', '--single-thread', ...args], {
      input: raw,
      maxBuffer: MAX_BYTES,
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    t.is(process.env.CI, undefined, 'CI must be able to run it: install zstd');
    t.log('skipped: there is no zstd command here');
    return undefined;
  }
}

/** Compressed blocks in a sound frame. */
function blocksIn(frame: Buffer): number {
  const descriptor = frame[4] as number;
  const isSingle = (descriptor & 0x20) !== 0;
  let at = 5 + (isSingle ? 0 : 1) + ([isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6] as number);
  let count = 0;
  for (let last = false; !last; ) {
    const head = frame.readUIntLE(at, 3);
    const type = (head >> 1) & 3;
    if (type === COMPRESSED) count += 1;
    last = head % 2 === 1;
    at += 3 + (type === RLE ? 1 : head >> 3);
  }
  return count;
}
