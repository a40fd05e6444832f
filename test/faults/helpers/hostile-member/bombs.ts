/** Messages that are small on the wire and large, or slow to decode, behind it. */
import lz4 from 'lz4-napi';
import { Compression, FrameFlag } from '../../../../src/protocol/frame.js';
import { payloadOf } from '../../../corpus/bytes.js';
import { frameOf } from './frames.js';

const LENGTH_BYTES = 4;
/** The largest message that nodes take by default, less what stands around the body. */
const LARGE_BYTES = 16 * 1024 * 1024 - 256;
/** The bytes before and behind a body that is spliced in. */
const OPENING = payloadOf({ type: 'request', method: 'x', body: null }).subarray(0, -1);

/** 64 KB that become 16 MiB. */
export function decompressionBomb(): (messageId: number) => Buffer {
  const head = Buffer.alloc(5);
  head[0] = 0x5a;
  head.writeUInt32BE(LARGE_BYTES, 1);
  return framesOf(Buffer.concat([head, Buffer.alloc(LARGE_BYTES)]));
}

/** Some KB that become an array of so many byte strings of one byte: nothing takes longer to decode, for its size. */
export function itemBomb(items: number): (messageId: number) => Buffer {
  const head = Buffer.alloc(5);
  head[0] = 0x9a;
  head.writeUInt32BE(items, 1);
  return framesOf(Buffer.concat([head, Buffer.alloc(2 * items, Buffer.from([0x41, 7]))]));
}

/** Compresses a body, written as CBOR, once for all frames. */
function framesOf(body: Buffer): (messageId: number) => Buffer {
  const raw = Buffer.concat([OPENING, body]);
  // `lz4-napi` puts the length before the block, in the other order of bytes.
  const block = lz4.compressSync(raw).subarray(LENGTH_BYTES);
  const payload = Buffer.alloc(LENGTH_BYTES + block.length);
  payload.writeUInt32BE(raw.length);
  payload.set(block, LENGTH_BYTES);
  return (messageId) =>
    frameOf(messageId, payload, { control: FrameFlag.end, compression: Compression.lz4 });
}
