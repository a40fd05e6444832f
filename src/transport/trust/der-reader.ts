/** Reads DER (ITU-T X.690), one value after the other, without copies: as much of it as certificates and CRLs need. Pure. */
import { asBuffer } from '../../base/buffers.js';
import { MeshError } from '../../errors.js';

export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  t61String: 0x14,
  ia5String: 0x16,
  visibleString: 0x1a,
  bmpString: 0x1e,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

export interface DerValue {
  readonly tag: number;
  readonly content: Buffer;
  /** Tag and length included. */
  readonly raw: Buffer;
}

/**
 * Reads DER (ITU-T X.690), one value after the other and without copies: as much of it as certificates and CRLs need.
 */
export class DerReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = asBuffer(bytes);
  }

  get isDone(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** The tag of the next value; `undefined` at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** @throws MeshError InvalidOptions when there is no whole value, or another than is wanted */
  take(tag?: number): DerValue {
    const start = this.#at;
    const found = this.#byte();
    // Tags above 30 take several bytes, and nothing read here has one.
    if ((found & 0x1f) === 0x1f || (tag !== undefined && found !== tag)) throw malformed();
    const length = this.#length();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw malformed();
    const content = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return { tag: found, content, raw: this.#bytes.subarray(start, end) };
  }

  /** The next value, if it has one of these tags. */
  takeIf(...tags: readonly number[]): DerValue | undefined {
    const { nextTag } = this;
    return nextTag !== undefined && tags.includes(nextTag) ? this.take() : undefined;
  }

  /** The members of the next value, a sequence. */
  sequence(): DerReader {
    return new DerReader(this.take(Tag.sequence).content);
  }

  /** DER has one form of each length. With others, a certificate would have any number of fingerprints. */
  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const bytes = first & 0x7f;
    if (bytes === 0 || bytes > 4) throw malformed();
    let length = 0;
    for (let i = 0; i < bytes; i += 1) length = length * 256 + this.#byte();
    if (length < 0x80 || length < 256 ** (bytes - 1)) throw malformed();
    return length;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw malformed();
    this.#at += 1;
    return byte;
  }
}

/** A time of X.509 (RFC 5280, section 4.1.2.5), in milliseconds since 1970. @throws MeshError InvalidOptions */
export function readTime({ tag, content }: DerValue): number {
  const text = content.toString('latin1');
  const [, year = '', rest = ''] =
    (tag === Tag.utcTime ? /^(\d\d)(\d{10})Z$/ : /^(\d{4})(\d{10})Z$/).exec(text) ?? [];
  if (rest === '') throw malformed();
  const century = tag !== Tag.utcTime ? '' : Number(year) < 50 ? '20' : '19';
  const [month, day, hour, minute, second] = rest.match(/../g) as string[];
  const ms = Date.parse(`${century}${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(ms)) throw malformed();
  return ms;
}

/**
 * A number that two integers share only if they are equal: lower-case hex without leading zeros, and a sign if it is negative.
 * Serial numbers are positive (RFC 5280, section 4.1.2.2), but not all CAs know.
 * @param content two's complement, big-endian
 */
export function integerKey(content: Buffer): string {
  const hex = content.toString('hex');
  const isNegative = ((content[0] as number | undefined) ?? 0) >= 0x80;
  const value = BigInt(`0x${hex || '0'}`);
  if (!isNegative) return value.toString(16);
  return (value - (1n << BigInt(content.length * 8))).toString(16);
}

function malformed(): MeshError {
  return new MeshError('InvalidOptions', 'not DER of the kind that was expected');
}
