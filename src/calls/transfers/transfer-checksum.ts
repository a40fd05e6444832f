/**
 * The running CRC-32 over one direction of a transfer, which also tells what it was at recent positions. Pure.
 * SPEC.md, "Transfers".
 */
import { MeshError } from '../../errors.js';
import { crc32After, crc32Joined } from '../../protocol/checksum.js';

/** One checkpoint for every chunk: with full chunks they reach back 256 MiB. */
export const MAX_CHECKPOINTS = 4096;

/**
 * CRC-32 (ISO-HDLC, as in zlib and Ethernet) of `bytes` that follow others whose CRC-32 is `previous`. For handlers that
 * call `resumeAt` and must prove which bytes they have.
 * @throws MeshError InvalidArgument when `previous` is no CRC-32
 */
export function crc32(bytes: Uint8Array, previous = 0): number {
  checkCrc32(previous);
  return crc32After(previous, bytes);
}

/** @throws MeshError InvalidArgument */
export function checkCrc32(value: number): void {
  if (isCrc32(value)) return;
  throw new MeshError('InvalidArgument', `a CRC-32 is an integer of 32 bits, not ${value}`);
}

export function isCrc32(value: number): boolean {
  return value >>> 0 === value;
}

/** Position and checksum of one direction of a transfer, and checkpoints of recent positions. */
export class TransferChecksum {
  #offset: number;
  #value: number | undefined;
  readonly #keepsCheckpoints: boolean;
  /** Positions of the checkpoints, in order, and a ring once full. The values have the same indexes. */
  #offsets: number[] = [];
  #values: number[] = [];
  #next = 0;

  /**
   * @param value CRC-32 of the bytes before `offset`; `undefined` where it is not known
   * @param keepsCheckpoints whether {@link at} is to know earlier positions too
   */
  constructor(offset: number, value: number | undefined, keepsCheckpoints = false) {
    this.#offset = offset;
    this.#value = offset === 0 ? 0 : value;
    this.#keepsCheckpoints = keepsCheckpoints;
    this.#note();
  }

  /** The position that is reached, in bytes. */
  get offset(): number {
    return this.#offset;
  }

  /** CRC-32 of all bytes before `offset`; `undefined` where the beginning is not known. */
  get value(): number | undefined {
    return this.#value;
  }

  /** @param sum CRC-32 of the bytes, where it is known already */
  update(bytes: Uint8Array, sum?: number): void {
    if (bytes.length === 0) return;
    this.#offset += bytes.length;
    if (this.#value === undefined) return;
    this.#value =
      sum === undefined
        ? crc32After(this.#value, bytes)
        : crc32Joined(this.#value, sum, bytes.length);
    this.#note();
  }

  /** CRC-32 of all bytes before a position, if a recent piece ended there or the bytes began there. */
  at(offset: number): number | undefined {
    if (offset === 0) return 0;
    if (offset === this.#offset) return this.#value;
    const found = this.#offsets.indexOf(offset);
    return found === -1 ? undefined : this.#values[found];
  }

  /** Continues from another position, and forgets what was known of later ones. */
  restart(offset: number, value: number | undefined): void {
    const kept = this.#checkpoints().filter((checkpoint) => checkpoint.offset < offset);
    this.#offsets = kept.map((checkpoint) => checkpoint.offset);
    this.#values = kept.map((checkpoint) => checkpoint.value);
    this.#next = kept.length % MAX_CHECKPOINTS;
    this.#offset = offset;
    this.#value = offset === 0 ? 0 : value;
    this.#note();
  }

  #note(): void {
    if (!this.#keepsCheckpoints || this.#value === undefined || this.#offset === 0) return;
    this.#offsets[this.#next] = this.#offset;
    this.#values[this.#next] = this.#value;
    this.#next = (this.#next + 1) % MAX_CHECKPOINTS;
  }

  /** In order of position. */
  #checkpoints(): { readonly offset: number; readonly value: number }[] {
    const all = this.#offsets.map((offset, at) => ({ offset, value: this.#values[at] as number }));
    if (all.length < MAX_CHECKPOINTS) return all;
    return [...all.slice(this.#next), ...all.slice(0, this.#next)];
  }
}
