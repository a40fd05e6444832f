/** Messages, checked against the tables that SPEC.md has of them: the page is the program. */
import { tableIn } from '../spec-page.js';
import { Float, type Item, readCbor } from './cbor.js';
import { malformed, Refusal } from './refusal.js';

/** One row of a table under "Messages". */
export interface FieldRow {
  readonly name: string;
  readonly kind: 'uint' | 'text' | 'bytes' | 'bool' | 'any' | 'list' | 'map';
  readonly required: boolean;
  /** Of what a list has items. */
  readonly item?: FieldRow;
  /** The heading under which a map has its table; `Raft` has one for each kind. */
  readonly table?: string;
  /** Bytes of text and bytes, items of a list. */
  readonly most: number;
  readonly least: number;
  /** Of a text that is one of these. */
  readonly choices?: readonly string[];
}

/** Names of the messages, as the headings under "Messages" have them. */
export const TYPES: readonly string[] = [
  'handshakeRequest',
  'handshakeResponse',
  'ping',
  'pong',
  'queryRequest',
  'queryResponse',
  'replicationLog',
  'consensus',
  'dataTransfer',
  'error',
  'request',
  'response',
];

export const RAFT_KINDS: readonly string[] = [
  'requestVote',
  'requestVoteResponse',
  'appendEntries',
  'appendEntriesResponse',
  'installSnapshot',
  'installSnapshotResponse',
];

/**
 * The fields that SPEC.md knows of the message in a payload, as plain values: numbers for uints, what is left of `any`
 * as {@link plainOf} gives it.
 * @throws Refusal MalformedMessage, UnknownMessageType
 */
export function readMessage(payload: Buffer): Record<string, unknown> {
  const item = readCbor(payload);
  if (!(item instanceof Map)) throw malformed('not a map');
  const type = item.get('type');
  if (typeof type !== 'string') throw malformed('no type');
  if (!TYPES.includes(type)) throw new Refusal('UnknownMessageType', 'unknown type');
  return { type, ...readRows(item, rowsUnder(`### ${type}`)) };
}

/** The rows of a table of fields. */
export function rowsUnder(heading: string): readonly FieldRow[] {
  let rows = ROWS.get(heading);
  if (rows === undefined) {
    rows = tableIn(heading).map(([name, kind, required, limit = '']) =>
      readRow(name as string, kind as string, required === 'yes', limit),
    );
    ROWS.set(heading, rows);
  }
  return rows;
}

const ROWS = new Map<string, readonly FieldRow[]>();

/** Where the table of a map is; a Raft message names its own. */
export function headingOf(row: FieldRow, raftKind: string): string {
  return row.table === 'Raft' ? `#### ${raftKind}` : `### ${row.table}`;
}

/** An item as a JavaScript value: integers that a number holds as numbers, others as bigint. */
export function plainOf(item: Item): unknown {
  if (item instanceof Float) return item.value;
  if (typeof item === 'bigint') {
    const isSafe = item <= Number.MAX_SAFE_INTEGER && item >= Number.MIN_SAFE_INTEGER;
    return isSafe ? Number(item) : item;
  }
  if (Array.isArray(item)) return item.map(plainOf);
  if (item instanceof Map) {
    return Object.fromEntries([...item].map(([key, value]) => [key, plainOf(value)]));
  }
  return item;
}

function readRow(name: string, kind: string, required: boolean, limit: string): FieldRow {
  const [, listed] = kind.match(/^list of (.+)$/) ?? [];
  const [, table] = kind.match(/^map \(\[(\w+)\]/) ?? [];
  const choices = limit.match(/`\w+`/g)?.map((choice) => choice.replaceAll('`', ''));
  if (choices !== undefined) {
    return { name, required, kind: 'text', most: Number.POSITIVE_INFINITY, least: 0, choices };
  }
  const parts = limit.match(/^(≤ )?([\d,]+) (?:bytes|items)( of ≤ (.+))?$/);
  if (parts === null && limit !== '') throw new Error(`limit that nobody understands: ${limit}`);
  const [, upTo, amount = 'Infinity', , itemLimit] = parts ?? [];
  const most = Number(amount.replaceAll(',', ''));
  const least = parts !== null && upTo === undefined ? most : 0;
  const row = { name, required, most, least };
  if (listed !== undefined) {
    const item = readRow(name, listed, true, itemLimit === undefined ? '' : `≤ ${itemLimit}`);
    return { ...row, kind: 'list', item };
  }
  if (table !== undefined) return { ...row, kind: 'map', table };
  return { ...row, kind: kind as FieldRow['kind'] };
}

function readRows(map: Map<string, Item>, rows: readonly FieldRow[]): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const row of rows) {
    const item = map.get(row.name);
    if (item !== undefined) found[row.name] = readField(item, row);
    else if (row.required) throw malformed(`${row.name} is missing`);
  }
  return found;
}

function readField(item: Item, row: FieldRow): unknown {
  const check = (isRight: boolean): void => {
    if (!isRight) throw malformed(`${row.name} is wrong`);
  };
  const fits = (amount: number): boolean => amount >= row.least && amount <= row.most;
  switch (row.kind) {
    case 'uint': {
      const value = item instanceof Float ? item.value : item;
      check(typeof value === 'bigint' || Number.isInteger(value));
      const number = Number(value);
      check(number >= 0 && number <= Number.MAX_SAFE_INTEGER);
      check(typeof value !== 'bigint' || value <= BigInt(Number.MAX_SAFE_INTEGER));
      return Math.abs(number);
    }
    case 'text':
      check(typeof item === 'string' && fits(Buffer.byteLength(item)));
      check(row.choices === undefined || row.choices.includes(item as string));
      return item;
    case 'bytes':
      check(Buffer.isBuffer(item) && fits(item.length));
      return item;
    case 'bool':
      check(typeof item === 'boolean');
      return item;
    case 'list':
      check(Array.isArray(item) && fits(item.length));
      return (item as Item[]).map((each) => readField(each, row.item as FieldRow));
    case 'map': {
      check(item instanceof Map);
      const map = item as Map<string, Item>;
      if (row.table !== 'Raft') return readRows(map, rowsUnder(headingOf(row, '')));
      const kind = map.get('kind');
      check(RAFT_KINDS.includes(kind as string));
      return { kind, ...readRows(map, rowsUnder(headingOf(row, kind as string))) };
    }
    case 'any':
      return plainOf(item);
  }
}

/** A reset's payload. @throws Refusal ProtocolViolation */
export function readReset(
  payload: Buffer,
  codeOf: (wire: number) => string | undefined,
  isOfConnection: boolean,
): { code: string; reason: string } {
  if (payload.length < 4 || payload.length > 260) throw new Refusal('ProtocolViolation', 'reset');
  const code = codeOf(payload.readUInt32BE(0));
  const unknown = isOfConnection ? 'ConnectionClosed' : 'StreamReset';
  return { code: code ?? unknown, reason: payload.toString('utf8', 4) };
}

/** A credit's payload. @throws Refusal ProtocolViolation */
export function readCredit(payload: Buffer): number {
  if (payload.length !== 4) throw new Refusal('ProtocolViolation', 'credit');
  const bytes = payload.readUInt32BE(0);
  if (bytes === 0) throw new Refusal('ProtocolViolation', 'credit of nothing');
  return bytes;
}

/** What an end that is not empty says on message id 0. */
export function readGoAway(payload: Buffer): number {
  if (payload.length !== 8) throw new Refusal('ProtocolViolation', 'going away');
  const streams = payload.readBigUInt64BE(0);
  if (streams > 2n ** 53n - 1n) throw new Refusal('ProtocolViolation', 'too many streams');
  return Number(streams);
}
