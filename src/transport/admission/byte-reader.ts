/** Reads the integers of QUIC and TLS out of bytes that anybody may have sent. Pure. */

/** Reads bytes in order. Beyond the end it reads zeros, and `isOver` becomes true: one check at the end is enough. */
export class ByteReader {
  readonly #bytes: Buffer;
  at: number;
  isOver = false;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  u8(): number {
    return this.skip(1) ? (this.#bytes[this.at - 1] as number) : 0;
  }

  u16(): number {
    return this.skip(2) ? this.#bytes.readUInt16BE(this.at - 2) : 0;
  }

  u32(): number {
    return this.skip(4) ? this.#bytes.readUInt32BE(this.at - 4) : 0;
  }

  /** RFC 9000, section 16. */
  varint(): number {
    const first = this.u8();
    let value = first & 0x3f;
    for (let more = (1 << (first >> 6)) - 1; more > 0; more -= 1) value = value * 256 + this.u8();
    return value;
  }

  skip(bytes: number): boolean {
    if (this.at + bytes > this.#bytes.length) this.isOver = true;
    else this.at += bytes;
    return !this.isOver;
  }
}
