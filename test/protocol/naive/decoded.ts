/** Messages of the library's codec in the shape that the naive one has, so that the two can be compared. */
import { type FieldRow, headingOf, rowsUnder } from './message.js';

/** The fields that SPEC.md knows, integers as numbers where numbers hold them, byte strings as Buffer. */
export function plainOfDecoded(message: object): Record<string, unknown> {
  const { type } = message as { type: string };
  return { type, ...known(message, rowsUnder(`### ${type}`)) };
}

function known(map: object, rows: readonly FieldRow[]): Record<string, unknown> {
  const values = map as Record<string, unknown>;
  return Object.fromEntries(
    rows
      .filter(({ name }) => Object.hasOwn(values, name) && values[name] !== undefined)
      .map((row) => [row.name, field(values[row.name], row)]),
  );
}

function field(value: unknown, row: FieldRow): unknown {
  if (row.kind === 'list') return (value as unknown[]).map((each) => field(each, row.item!));
  if (row.kind !== 'map') return row.kind === 'uint' ? value : plain(value);
  if (row.table !== 'Raft') return known(value as object, rowsUnder(headingOf(row, '')));
  const { kind } = value as { kind: string };
  return { kind, ...known(value as object, rowsUnder(headingOf(row, kind))) };
}

/** CBOR gives integers of eight bytes as bigint, whatever their value. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const isSafe = value <= Number.MAX_SAFE_INTEGER && value >= Number.MIN_SAFE_INTEGER;
    return isSafe ? Number(value) : value;
  }
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}
