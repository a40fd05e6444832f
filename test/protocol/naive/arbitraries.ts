/** Messages as SPEC.md's tables describe them, made at random: most sound, some not. */
import fc from 'fast-check';
import { Float, type Item, writeCbor } from './cbor.js';
import { type FieldRow, headingOf, RAFT_KINDS, rowsUnder, TYPES } from './message.js';

type MapItem = Map<string, Item>;

const KEYS = ['a', 'type', 'kind', '__proto__', '__proto_', 'constructor', 'toString', '0', ''];

/** Characters of every length in UTF-8, and those that decoders stumble over. */
const texts = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom(
    '',
    '\ufeff',
    `\ufeff${'b'.repeat(80)}`,
    '\u0000',
    'é'.repeat(40),
    '𝄞',
    'x'.repeat(70),
  ),
);

const floats: fc.Arbitrary<Item> = fc
  .oneof(
    fc.double(),
    fc.constantFrom(-0, 0, 1, 5, 0.5, 2 ** 53, Number.NaN, Number.NEGATIVE_INFINITY),
  )
  .map((value) => new Float(value));

const buffers = fc.uint8Array({ maxLength: 24 }).map((bytes) => Buffer.from(bytes));

const integers = fc.oneof(
  fc.bigInt({ min: -300n, max: 300n }),
  fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n - 1n }),
  fc.constantFrom(
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 53n - 1n,
    2n ** 53n,
    2n ** 64n - 1n,
    -(2n ** 64n),
  ),
);

/** Any item that SPEC.md allows. */
export const items: fc.Arbitrary<Item> = fc.letrec<{ item: Item }>((tie) => ({
  item: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(integers, floats, texts, buffers, fc.constantFrom<Item>(true, false, null, undefined)),
    fc.array(tie('item'), { maxLength: 4 }),
    fc
      .array(fc.tuple(fc.oneof(fc.constantFrom(...KEYS), texts), tie('item')), { maxLength: 4 })
      .map((entries): Item => new Map(entries)),
  ),
})).item;

const uints = fc.oneof(
  fc.bigInt({ min: 0n, max: 1000n }),
  fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }),
  fc.constantFrom(0n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n),
);

/** Messages that are sound, all fields within their limits. */
export const soundMessages: fc.Arbitrary<MapItem> = fc
  .constantFrom(...TYPES)
  .chain((type) =>
    mapOf(rowsUnder(`### ${type}`)).map((map) => new Map<string, Item>([['type', type], ...map])),
  );

/** Messages of which some lack a field, have one more, or a wrong one. */
export const messages: fc.Arbitrary<MapItem> = fc
  .tuple(
    soundMessages,
    fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 2, arbitrary: fc.array(fc.tuple(fc.nat(), fc.nat(3), items), { maxLength: 2 }) },
    ),
  )
  .map(([message, changes]) => {
    const map = new Map(message);
    for (const [at, kind, item] of changes) {
      const place = nthMap(map, at);
      const key = [...place.keys()][at % Math.max(1, place.size)] ?? 'later';
      if (kind === 0) place.delete(key);
      else if (kind === 1) place.set('later', item);
      else place.set(key, item);
    }
    return map;
  });

/** A message's bytes, the heads of its items longer than need be in places. */
export function encoded(message: fc.Arbitrary<MapItem>): fc.Arbitrary<Buffer> {
  return fc.tuple(message, fc.nat(0xffff)).map(([map, seed]) => {
    let state = seed;
    const isPlain = seed % 2 === 0;
    return writeCbor(map, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return isPlain ? 0 : ([0, 0, 0, 0, 1, 2, 4, 8][(state >>> 16) % 8] as number);
    });
  });
}

/** The message itself, or a map within it. */
function nthMap(map: MapItem, at: number): MapItem {
  const within = [...map.values()].flatMap((value) => (Array.isArray(value) ? value : [value]));
  const maps = [map, ...within.filter((value): value is MapItem => value instanceof Map)];
  return maps[at % maps.length] as MapItem;
}

function mapOf(rows: readonly FieldRow[]): fc.Arbitrary<MapItem> {
  const fields = rows.map((row) =>
    fc.tuple(
      fc.constant(row.name),
      row.required ? valuesOf(row) : fc.option(valuesOf(row), { nil: absent }),
    ),
  );
  return fc
    .tuple(...fields)
    .map((entries) => new Map(entries.filter(([, value]) => value !== absent) as [string, Item][]));
}

const absent = Symbol('absent');

function valuesOf(row: FieldRow): fc.Arbitrary<Item> {
  switch (row.kind) {
    case 'uint':
      return uints;
    case 'text':
      if (row.choices !== undefined) return fc.constantFrom(...row.choices);
      return row.name === 'kind' ? fc.constantFrom(...RAFT_KINDS) : textsFor(row);
    case 'bytes':
      return fc
        .uint8Array({ minLength: row.least, maxLength: Math.min(row.most, 40) })
        .map((bytes) => Buffer.from(bytes));
    case 'bool':
      return fc.boolean();
    case 'list':
      return fc.array(valuesOf(row.item as FieldRow), { maxLength: Math.min(row.most, 3) });
    case 'map':
      if (row.table !== 'Raft') return mapOf(rowsUnder(headingOf(row, '')));
      return fc
        .constantFrom(...RAFT_KINDS)
        .chain((kind) =>
          mapOf(rowsUnder(headingOf(row, kind))).map(
            (map): Item => new Map([['kind', kind], ...map]),
          ),
        );
    case 'any':
      // Undefined is how a field says that it is not there.
      return items.map((item) => (item === undefined ? null : item));
  }
}

/** Texts within the limit, and just as long as it. */
function textsFor({ most }: FieldRow): fc.Arbitrary<string> {
  const short = texts.filter((text) => Buffer.byteLength(text) <= most);
  if (most > 4096) return short;
  const full = fc.constantFrom('x'.repeat(most), 'é'.repeat(most / 2));
  return fc.oneof({ weight: 9, arbitrary: short }, { weight: 1, arbitrary: full });
}
