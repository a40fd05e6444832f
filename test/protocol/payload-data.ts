/** Data of different kinds to compress, the same for the same seed. */

/** Numbers from 0 up to a limit, one after the other. */
export type Random = (limit: number) => number;

export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (limit) => {
    // Mulberry32.
    state = (state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

type Kind = (random: Random, length: number) => Buffer;

const WORDS =
  'term index entry leader vote commit log snapshot peer stream frame credit reset'.split(' ');

/** Kinds of data, from what cannot be compressed to what almost vanishes. */
export const KINDS: Readonly<Record<string, Kind>> = {
  random: (random, length) => filled(length, () => random(256)),
  digits: (random, length) => filled(length, () => 48 + random(10)),
  skewed: (random, length) => filled(length, () => random(1 + random(1 + random(250)))),
  words: (random, length) => repeated(length, () => `${WORDS[random(WORDS.length)]} `),
  rows: (random, length) =>
    repeated(length, () => `{"id":${random(100_000)},"name":"user-${random(500)}","on":true}\n`),
  doubles: (random, length) => {
    const bytes = Buffer.alloc(length + 8);
    const phase = random(1000);
    for (let at = 0; at < length; at += 8) bytes.writeDoubleLE(Math.sin(phase + at), at);
    return bytes.subarray(0, length);
  },
  run: (random, length) => Buffer.alloc(length, random(256)),
  /** Pieces of the other kinds: where it changes, good encoders cut their blocks. */
  mixed: (random, length) => {
    const kinds = Object.entries(KINDS).filter(([name]) => name !== 'mixed');
    const pieces: Buffer[] = [];
    for (let left = length; left > 0; ) {
      const size = Math.min(left, 1000 + random(8000));
      const [, kind] = kinds[random(kinds.length)] as [string, Kind];
      pieces.push(kind(random, size));
      left -= size;
    }
    return Buffer.concat(pieces);
  },
};

function filled(length: number, next: () => number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 1) bytes[at] = next();
  return bytes;
}

function repeated(length: number, next: () => string): Buffer {
  let text = '';
  while (text.length < length) text += next();
  return Buffer.from(text.slice(0, length), 'latin1');
}
