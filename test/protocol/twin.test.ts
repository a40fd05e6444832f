/**
 * The library's codec against the naive one of `naive/`, which was written from SPEC.md alone: the same bytes come to
 * the same end in both, and each reads what the other writes. 10,000 cases a run.
 */
import { isDeepStrictEqual } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { Message } from '../../src/protocol/index.js';
import { encoded, messages, soundMessages } from './naive/arbitraries.js';
import { Float, type Item, writeCbor } from './naive/cbor.js';
import { writeFrame } from './naive/frame.js';
import { plainOf } from './naive/message.js';
import { type Agreed, DEFAULT_AGREED, type Received, receiveNaively } from './naive/receive.js';
import { damaged, holdsAsync } from './properties.js';
import { algorithms, codecFor, frameOf, receive } from './receive.js';
import { agreedOf, FRAME_FILES, readFrameVectors } from './vectors.js';

const END = 0x0181;
const vectors = FRAME_FILES.flatMap((file) => readFrameVectors(file).vectors)
  .filter(({ hex }) => hex.length < 4000)
  .map((vector) => ({ bytes: Buffer.from(vector.hex, 'hex'), agreed: agreedOf(vector) }));

test('messages, right and wrong, come to the same end in both codecs', async (t) => {
  const frames = encoded(messages).map((payload) => writeFrame(END, 1, payload));
  await same(t, frames, 3000, ['a message', 'MalformedMessage']);
});

test('damaged payloads come to the same end in both codecs', async (t) => {
  const frames = damaged(encoded(soundMessages)).map((payload) => writeFrame(END, 1, payload));
  await same(t, frames, 2500, ['a message', 'MalformedMessage', 'UnknownMessageType']);
});

test('damaged frames come to the same end in both codecs', async (t) => {
  const counts = new Counts();
  const cases = fc
    .constantFrom(...vectors)
    .chain(({ bytes, agreed }) => fc.tuple(damaged(fc.constant(bytes)), fc.constant(agreed)));
  await holdsAsync(
    t,
    fc.asyncProperty(cases, ([bytes, agreed]) => endAlike(bytes, agreed, counts)),
    1500,
  );
  counts.check(t, ['a message', 'waiting', 'ProtocolViolation', 'ChecksumMismatch']);
});

for (const [name, flags, runs] of [
  ['lz4', END | 0x10, 1000],
  ['zstd', END | 0x20, 1000],
] as const) {
  test(`damaged ${name} payloads come to the same end in both codecs`, async (t) => {
    const raw = encoded(soundMessages).filter((payload) => payload.length > 0);
    const counts = new Counts();
    const cases = fc.tuple(raw, fc.infiniteStream(fc.nat(255)), fc.nat(3));
    await holdsAsync(
      t,
      fc.asyncProperty(cases, async ([payload, random, damages]) => {
        const bytes = await compressed(payload, name);
        for (let i = 0; i < damages; i += 1) {
          const [high = 0, low = 0, value = 0] = random.take(3);
          bytes[(high * 256 + low) % bytes.length] = value;
        }
        return endAlike(writeFrame(flags, 1, bytes), DEFAULT_AGREED, counts);
      }),
      runs,
    );
    counts.check(t, ['a message', 'MalformedMessage', 'MessageTooLarge']);
  });
}

test('the naive codec reads what the library writes, compressed or not', async (t) => {
  const counts = new Counts();
  const choices = fc.constantFrom<Agreed['compressions']>([], ['lz4'], ['zstd']);
  await holdsAsync(
    t,
    fc.asyncProperty(soundMessages, choices, async (map, compressions) => {
      const message = plainOf(map) as Message;
      if (!isEncodable(map)) return true;
      const agreed = { ...DEFAULT_AGREED, compressions };
      const packed = await codecFor(agreed, 0).encode(message);
      const { flags, payload } = frameOf(packed);
      const fast = writeFrame(flags, 1, payload);
      const expected = await receiveNaively(writeFrame(END, 1, writeCbor(map)));
      const found = await receiveNaively(fast, agreed);
      counts.add(found);
      return 'message' in found && 'message' in expected
        ? isDeepStrictEqual(found.message, expected.message)
        : false;
    }),
    1000,
  );
  counts.check(t, ['a message']);
});

/** Holds both codecs to the same end for frames, and to having met some ends. */
async function same(
  t: ExecutionContext,
  frames: fc.Arbitrary<Buffer>,
  runs: number,
  ends: readonly string[],
): Promise<void> {
  const counts = new Counts();
  await holdsAsync(
    t,
    fc.asyncProperty(frames, (bytes) => endAlike(bytes, DEFAULT_AGREED, counts)),
    runs,
  );
  counts.check(t, ends);
}

async function endAlike(bytes: Buffer, agreed: Agreed, counts: Counts): Promise<boolean> {
  const naive = asReceived(await receiveNaively(bytes, agreed));
  const fast = await receive([Buffer.from(bytes)], agreed);
  counts.add(fast);
  if (isDeepStrictEqual(fast, naive)) return true;
  throw new Error(`${bytes.toString('hex')}\nlibrary: ${shown(fast)}\nnaive: ${shown(naive)}`);
}

/** What became of the cases: each end that a test is about has to be among them. */
class Counts {
  readonly #counts = new Map<string, number>();

  add(received: Received): void {
    const end = endOf(received);
    this.#counts.set(end, (this.#counts.get(end) ?? 0) + 1);
  }

  check(t: ExecutionContext, ends: readonly string[]): void {
    t.log(JSON.stringify(Object.fromEntries(this.#counts)));
    for (const end of ends) t.true(this.#counts.has(end), `${end} was met`);
  }
}

function endOf(received: Received): string {
  if ('error' in received) return received.error;
  if ('incomplete' in received) return 'waiting';
  return received.message === undefined ? 'a control frame' : 'a message';
}

/** The library's decoder renames keys that could change a prototype. SPEC.md, "Payload", warns of it. */
function asReceived(value: Received): Received {
  const renamed = (each: unknown): unknown => {
    if (Array.isArray(each)) return each.map(renamed);
    if (typeof each !== 'object' || each === null || Buffer.isBuffer(each)) return each;
    const entries = Object.entries(each).map(([key, inner]) => [
      key === '__proto__' ? '__proto_' : key,
      renamed(inner),
    ]);
    return Object.fromEntries(entries);
  };
  return renamed(value) as Received;
}

/** The library writes -0 as the integer 0, and a bigint of -2^64 as a bignum, which it refuses itself. */
function isEncodable(item: Item): boolean {
  if (item instanceof Float) return !Object.is(item.value, -0);
  if (Array.isArray(item)) return item.every(isEncodable);
  if (item instanceof Map) return [...item.values()].every(isEncodable);
  return item !== -(2n ** 64n);
}

async function compressed(raw: Buffer, name: 'lz4' | 'zstd'): Promise<Buffer> {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(raw.length);
  return Buffer.concat([length, await algorithms[name].compress(raw)]);
}

function shown(received: Received): string {
  return JSON.stringify(received, (_key, value: unknown) =>
    typeof value === 'bigint' || Object.is(value, -0) ? `${value}` : value,
  );
}
