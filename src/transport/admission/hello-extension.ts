/** Finds an extension in a ClientHello, whose parts before it tell nothing that is needed. RFC 8446, section 4.1.2. Pure. */
import { ByteReader } from './byte-reader.js';

/**
 * @param hello a ClientHello without the header of its message, or the beginning of one
 * @returns the extension's content, as a slice; `undefined` where it is not whole in these bytes, or they cannot be read
 */
export function helloExtension(hello: Buffer, wanted: number): Buffer | undefined {
  const reader = new ByteReader(hello, 0);
  // Version and random; then session ID, cipher suites and compression methods.
  reader.skip(2 + 32);
  reader.skip(reader.u8());
  reader.skip(reader.u16());
  reader.skip(reader.u8());
  reader.skip(2);
  while (!reader.isOver && reader.at < hello.length) {
    const type = reader.u16();
    const length = reader.u16();
    const start = reader.at;
    if (!reader.skip(length)) return undefined;
    if (type === wanted) return hello.subarray(start, start + length);
  }
  return undefined;
}
