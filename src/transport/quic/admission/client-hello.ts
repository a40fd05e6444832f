/**
 * Reads from a ClientHello how large a datagram the client takes. The binding tells that too late: the connection is
 * configured before.
 * RFC 8446, section 4.1.2; RFC 9000, section 18.
 *
 * Pure: any bytes give a number or `undefined`; none make it throw.
 */
import { ByteReader } from '../../admission/byte-reader.js';
import { helloExtension } from '../../admission/hello-extension.js';

const CLIENT_HELLO = 1;
/** The type and length of the message. */
const HEADER_BYTES = 4;
/** RFC 9001, section 8.2. */
const TRANSPORT_PARAMETERS = 0x39;
/** RFC 9000, section 18.2. */
const MAX_UDP_PAYLOAD_SIZE = 0x03;

/**
 * @param hello the beginning of the client's CRYPTO stream
 * @returns the client's `max_udp_payload_size`; `undefined` where it is not in these bytes
 */
export function takenDatagramBytes(hello: Buffer): number | undefined {
  if (hello[0] !== CLIENT_HELLO) return undefined;
  const parameters = helloExtension(hello.subarray(HEADER_BYTES), TRANSPORT_PARAMETERS);
  return parameters === undefined ? undefined : takenIn(parameters);
}

function takenIn(parameters: Buffer): number | undefined {
  const reader = new ByteReader(parameters, 0);
  while (!reader.isOver && reader.at < parameters.length) {
    const id = reader.varint();
    const length = reader.varint();
    if (id === MAX_UDP_PAYLOAD_SIZE) {
      const bytes = reader.varint();
      return reader.isOver ? undefined : bytes;
    }
    reader.skip(length);
  }
  return undefined;
}
