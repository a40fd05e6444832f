/** One input from others: bits flipped, bytes cut out or put in, pieces of two joined, numbers replaced by those that hurt. */
import type { Random } from './random.js';

/** No input is longer: what is slow has to be slow for its size. */
const MAX_INPUT_BYTES = 16 * 1024;

/** Limits of the protocol and of integers, and their neighbours. */
const INTERESTING: readonly bigint[] = [
  0n,
  1n,
  3n,
  4n,
  5n,
  14n,
  23n,
  24n,
  0x1fn,
  0x3fn,
  0x40n,
  0x41n,
  0x7fn,
  0x80n,
  0xffn,
  0x100n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x1_0000n,
  0x1_ffffn,
  0x2_0000n,
  0x2_0001n,
  999_999n,
  1_000_000n,
  0x00ff_ffffn,
  0x0100_0000n,
  0x0100_0001n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_fffen,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x1f_ffff_ffff_ffffn,
  0x20_0000_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0xffff_ffff_ffff_ffffn,
];

/** Bytes that start something: heads of CBOR items, LZ4 tokens, Zstd's and QUIC's first bytes. */
const HEADS: readonly number[] = [
  0x00, 0x0f, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1f, 0x20, 0x3b, 0x40, 0x58, 0x5b, 0x5f, 0x60,
  0x61, 0x78, 0x7b, 0x7f, 0x80, 0x81, 0x98, 0x9b, 0x9f, 0xa0, 0xa1, 0xb8, 0xbb, 0xbf, 0xc0, 0xc2,
  0xd8, 0xdb, 0xe0, 0xf0, 0xf4, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xff,
];

type Mutation = (input: Buffer, random: Random, seeds: readonly Buffer[]) => Buffer;

const MUTATIONS: readonly Mutation[] = [
  flipBit,
  flipBit,
  setByte,
  setByte,
  setInteger,
  setInteger,
  addToByte,
  insertBytes,
  removeRange,
  repeatRange,
  cutOff,
  splice,
  copyIn,
];

/** One of the seeds, changed once to six times; seldom left as it is. */
export function mutated(seeds: readonly Buffer[], random: Random): Buffer {
  let input: Buffer = Buffer.from(random.pick(seeds));
  if (random.oneIn(50)) return input;
  let times = 1;
  while (times < 6 && random.oneIn(3)) times += 1;
  for (; times > 0; times -= 1) input = random.pick(MUTATIONS)(input, random, seeds);
  return input.length > MAX_INPUT_BYTES ? input.subarray(0, MAX_INPUT_BYTES) : input;
}

function flipBit(input: Buffer, random: Random): Buffer {
  if (input.length === 0) return input;
  const at = random.below(input.length);
  input[at] = (input[at] as number) ^ (1 << random.below(8));
  return input;
}

function setByte(input: Buffer, random: Random): Buffer {
  if (input.length === 0) return input;
  input[random.below(input.length)] = random.oneIn(2) ? random.pick(HEADS) : random.below(256);
  return input;
}

/** An interesting number over one, two, four or eight bytes, in either order. */
function setInteger(input: Buffer, random: Random): Buffer {
  const width = random.pick([1, 2, 4, 4, 8]);
  if (input.length < width) return input;
  const at = random.below(input.length - width + 1);
  const value = BigInt.asUintN(width * 8, random.pick(INTERESTING));
  const isLittle = random.oneIn(4);
  for (let i = 0; i < width; i += 1) {
    const byte = Number((value >> BigInt(8 * i)) & 0xffn);
    input[isLittle ? at + i : at + width - 1 - i] = byte;
  }
  return input;
}

function addToByte(input: Buffer, random: Random): Buffer {
  if (input.length === 0) return input;
  const at = random.below(input.length);
  input[at] = (input[at] as number) + random.below(9) - 4;
  return input;
}

function insertBytes(input: Buffer, random: Random): Buffer {
  const at = random.below(input.length + 1);
  const count = 1 + random.below(random.oneIn(8) ? 64 : 4);
  const fill = random.oneIn(2) ? random.pick(HEADS) : -1;
  const bytes = Buffer.alloc(count);
  for (let i = 0; i < count; i += 1) bytes[i] = fill < 0 ? random.below(256) : fill;
  return Buffer.concat([input.subarray(0, at), bytes, input.subarray(at)]);
}

function removeRange(input: Buffer, random: Random): Buffer {
  const [start, end] = range(input, random, 16);
  return Buffer.concat([input.subarray(0, start), input.subarray(end)]);
}

function repeatRange(input: Buffer, random: Random): Buffer {
  const [start, end] = range(input, random, 32);
  const times = 1 + random.below(random.oneIn(8) ? 40 : 3);
  const repeats = Array.from({ length: times }, () => input.subarray(start, end));
  return Buffer.concat([input.subarray(0, end), ...repeats, input.subarray(end)]);
}

function cutOff(input: Buffer, random: Random): Buffer {
  return input.subarray(0, random.below(input.length + 1));
}

/** The beginning of one and the end of another. */
function splice(input: Buffer, random: Random, seeds: readonly Buffer[]): Buffer {
  const other = random.pick(seeds);
  const head = input.subarray(0, random.below(input.length + 1));
  return Buffer.concat([head, other.subarray(random.below(other.length + 1))]);
}

/** A piece of another over a piece of this one. */
function copyIn(input: Buffer, random: Random, seeds: readonly Buffer[]): Buffer {
  const other = random.pick(seeds);
  const [start, end] = range(other, random, 64);
  other.copy(input, random.below(input.length + 1), start, end);
  return input;
}

function range(input: Buffer, random: Random, most: number): [start: number, end: number] {
  const start = random.below(input.length + 1);
  return [start, Math.min(input.length, start + 1 + random.below(most))];
}
