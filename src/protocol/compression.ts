/**
 * Compression of payloads: LZ4 and Zstd behind one interface. SPEC.md, "Compression".
 *
 * A compressed payload is a u32 with the raw length, followed by an LZ4 block or a Zstd frame. The length is checked before
 * any memory is taken for it, and again against the result. Zstd runs in the process's thread pool, and so does LZ4 where it
 * compresses much.
 */

import { asBuffer } from '../base/buffers.js';
import { latePackage, requirePackageOf } from '../base/late-package.js';
import { runsOnGlibc } from '../base/libc.js';
import { isBytes } from '../base/realms.js';
import { asMeshError, MeshError } from '../errors.js';
import { Compression } from './frame.js';
import { Lz4Block } from './lz4-block.js';
import { checkZstdFrame } from './zstd-frame.js';

/** Names of compressions, as capabilities list them. */
export type CompressionName = 'lz4' | 'zstd';

const IDS: Readonly<Record<string, Compression>> = { lz4: Compression.lz4, zstd: Compression.zstd };

/** The compressions that frames may have once these names are agreed: none, and those that this version knows. */
export function compressionsOf(names: readonly string[]): Compression[] {
  const known = names.filter((name) => Object.hasOwn(IDS, name));
  return [Compression.none, ...known.map((name) => IDS[name] as Compression)];
}

/** One algorithm. It returns its result or a promise, depending on algorithm and size. */
export interface Algorithm {
  readonly name: CompressionName;
  /** Its number in bits 4-6 of a frame's flags. */
  readonly id: Compression;
  /** Whether a payload of that raw size is compressed in the process's thread pool. */
  compressesInPool(rawBytes: number): boolean;
  /** Whether any is decompressed there. */
  readonly decompressesInPool: boolean;
  /** Compresses a payload. Returns the bytes that follow the u32. */
  compress(raw: Buffer): Buffer | Promise<Buffer>;
  /**
   * Decompresses. The caller checks that `rawBytes` is within the limit, and that the result has that many bytes.
   * @param maxBytes the limit
   * @throws MeshError MalformedMessage, before any memory is taken, when `data` cannot become that
   */
  decompress(data: Buffer, rawBytes: number, maxBytes: number): Buffer | Promise<Buffer>;
  /**
   * Decompresses in steps what would take long in one.
   * @returns `undefined` where it would not
   * @throws MeshError as {@link decompress}
   */
  decompressInSteps?(data: Buffer, rawBytes: number): SteppedBlock | undefined;
}

/** Data that is decompressed in steps. */
export interface SteppedBlock {
  /** The result, once {@link read} has returned `true`. */
  readonly out: Buffer;
  /** @param mayGoOn is asked now and then @throws Error where the data is damaged, or does not become what it was said to */
  read(mayGoOn: () => boolean): boolean;
}

/** What a frame is to carry. */
export interface PackedPayload {
  readonly payload: Uint8Array;
  /** The rest of a payload in two pieces. This is the message's own memory. */
  readonly tail?: Uint8Array | undefined;
  readonly compression: Compression;
}

/** Above this raw size LZ4 compresses on another thread. Below it, the hand-over would take longer than the work. */
const LZ4_SYNC_BYTES = 256 * 1024;
/** A byte of an LZ4 block becomes at most 255 raw bytes. */
const LZ4_MAX_RATIO = 255;
/**
 * Large blocks that become more than this for each byte are decompressed in steps: of those, JavaScript makes as much as the
 * library does. Of ordinary data it makes a third, and there are more bytes to send for it.
 */
const LZ4_STEPPED_RATIO = 16;
const LENGTH_BYTES = 4;

const LOADERS: Readonly<Record<CompressionName, () => Promise<Algorithm>>> = {
  lz4: loadLz4,
  zstd: loadZstd,
};

/**
 * Loads an algorithm's library.
 * @throws whatever the library throws where it has no build for the platform
 */
export function loadCompression(name: CompressionName): Promise<Algorithm> {
  return LOADERS[name]();
}

/**
 * A payload, compressed if that makes it smaller.
 * @param algorithm `undefined` leaves the payload as it is
 */
export function packPayload(
  payload: Uint8Array,
  algorithm: Algorithm | undefined,
): PackedPayload | Promise<PackedPayload> {
  if (algorithm === undefined) return { payload, compression: Compression.none };
  const compressed = algorithm.compress(asBuffer(payload));
  if (isBytes(compressed)) return smaller(payload, compressed, algorithm);
  // A library's promise may be of another realm.
  return Promise.resolve(compressed).then((data) => smaller(payload, data, algorithm));
}

/**
 * Decompresses a payload.
 * @throws MeshError MessageTooLarge when the raw size would exceed `maxBytes`; MalformedMessage when the payload is not what
 *   it claims. Both come before memory is taken, unless only the compressed data itself is wrong.
 */
export function unpackPayload(
  payload: Uint8Array,
  algorithm: Algorithm,
  maxBytes: number,
): Uint8Array | Promise<Uint8Array> {
  const { data, rawBytes } = packedData(payload, maxBytes);
  const failed = (cause: unknown): MeshError => undone(algorithm, cause);
  try {
    const raw = algorithm.decompress(data, rawBytes, maxBytes);
    if (isBytes(raw)) return checkLength(raw, rawBytes);
    return Promise.resolve(raw).then(
      (result) => checkLength(result, rawBytes),
      (cause: unknown) => {
        throw failed(cause);
      },
    );
  } catch (cause) {
    throw failed(cause);
  }
}

/** Decompresses a payload in steps. @returns the result, once all of it is there @throws MeshError MalformedMessage */
export type UnpackStep = (mayGoOn: () => boolean) => Uint8Array | undefined;

/**
 * Begins to decompress a payload in steps, where it would take long in one.
 * @returns `undefined` where it would not
 * @throws MeshError as {@link unpackPayload}
 */
export function unpackInSteps(
  payload: Uint8Array,
  algorithm: Algorithm,
  maxBytes: number,
): UnpackStep | undefined {
  if (algorithm.decompressInSteps === undefined) return undefined;
  const { data, rawBytes } = packedData(payload, maxBytes);
  const block = algorithm.decompressInSteps(data, rawBytes);
  if (block === undefined) return undefined;
  return (mayGoOn) => {
    try {
      return block.read(mayGoOn) ? block.out : undefined;
    } catch (cause) {
      throw undone(algorithm, cause);
    }
  };
}

/** What is compressed in a payload, and what it says that it becomes. @throws MeshError MalformedMessage, MessageTooLarge */
function packedData(payload: Uint8Array, maxBytes: number): { data: Buffer; rawBytes: number } {
  const bytes = asBuffer(payload);
  if (bytes.length <= LENGTH_BYTES) {
    throw new MeshError('MalformedMessage', 'compressed payload is cut short');
  }
  const rawBytes = bytes.readUInt32BE(0);
  if (rawBytes <= maxBytes) return { data: bytes.subarray(LENGTH_BYTES), rawBytes };
  const text = `payload of ${rawBytes} bytes is over the limit of ${maxBytes}`;
  throw new MeshError('MessageTooLarge', text);
}

function undone({ name }: Algorithm, cause: unknown): MeshError {
  const text = `${name} data cannot be decompressed`;
  return asMeshError(cause) ?? new MeshError('MalformedMessage', text, { cause });
}

/** The size of a payload before compression, in bytes: its own, or the one that it claims. */
export function rawBytesOf({ payload, tail, compression }: PackedPayload): number {
  const bytes = payload.length + (tail === undefined ? 0 : tail.length);
  if (compression === Compression.none || bytes < LENGTH_BYTES) return bytes;
  return asBuffer(payload).readUInt32BE(0);
}

function smaller(raw: Uint8Array, data: Buffer, algorithm: Algorithm): PackedPayload {
  if (LENGTH_BYTES + data.length >= raw.length)
    return { payload: raw, compression: Compression.none };
  const payload = Buffer.allocUnsafe(LENGTH_BYTES + data.length);
  payload.writeUInt32BE(raw.length, 0);
  data.copy(payload, LENGTH_BYTES);
  return { payload, compression: algorithm.id };
}

function checkLength(raw: Buffer, rawBytes: number): Buffer {
  if (raw.length === rawBytes) return raw;
  const text = `compressed payload became ${raw.length} bytes instead of ${rawBytes}`;
  throw new MeshError('MalformedMessage', text);
}

/** The library stores the raw length before the block, as four bytes in little-endian order. */
async function loadLz4(): Promise<Algorithm> {
  const lz4 = latePackage<typeof import('lz4-napi')>('lz4-napi')();
  return {
    name: 'lz4',
    id: Compression.lz4,
    compressesInPool: (rawBytes) => rawBytes > LZ4_SYNC_BYTES,
    decompressesInPool: false,
    compress(raw) {
      if (raw.length <= LZ4_SYNC_BYTES) return lz4.compressSync(raw).subarray(LENGTH_BYTES);
      return lz4.compress(raw).then((prefixed) => prefixed.subarray(LENGTH_BYTES));
    },
    decompressInSteps(data, rawBytes) {
      if (rawBytes <= LZ4_SYNC_BYTES || rawBytes <= data.length * LZ4_STEPPED_RATIO) {
        return undefined;
      }
      checkLz4Ratio(data, rawBytes);
      return new Lz4Block(data, rawBytes);
    },
    decompress(data, rawBytes) {
      checkLz4Ratio(data, rawBytes);
      const prefixed = Buffer.allocUnsafe(LENGTH_BYTES + data.length);
      prefixed.writeUInt32LE(rawBytes, 0);
      data.copy(prefixed, LENGTH_BYTES);
      // The asynchronous `uncompress` of lz4-napi 2.10.0 never frees its result: each message would be leaked whole.
      return lz4.uncompressSync(prefixed);
    },
  };
}

function checkLz4Ratio(data: Buffer, rawBytes: number): void {
  if (rawBytes <= data.length * LZ4_MAX_RATIO) return;
  throw new MeshError('MalformedMessage', 'LZ4 block is too short for what it states');
}

async function loadZstd(): Promise<Algorithm> {
  const zstd = zstdBuild();
  return {
    name: 'zstd',
    id: Compression.zstd,
    compressesInPool: () => true,
    decompressesInPool: true,
    compress: (raw) => zstd.compress(raw),
    decompress(data, rawBytes, maxBytes) {
      checkZstdFrame(data, rawBytes, maxBytes);
      return zstd.decompress(data);
    },
  };
}

type Zstd = typeof import('@mongodb-js/zstd');

/**
 * On Linux the package asks for a whole diagnostic report of the process before it loads a build, to tell glibc from musl. That takes
 * tens of milliseconds, so the build for glibc is loaded as such. A build for the other library must not be tried: musl may load it,
 * and fail in its first call.
 */
function zstdBuild(): Zstd {
  if (runsOnGlibc()) {
    try {
      return requirePackageOf(ZSTD, `${ZSTD}-linux-${process.arch}-gnu`) as Zstd;
    } catch {
      // The package finds another build, or says why there is none.
    }
  }
  return latePackage<Zstd>(ZSTD)();
}

const ZSTD = '@mongodb-js/zstd';
