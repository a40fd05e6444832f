/**
 * Message <-> what a frame carries: CBOR, then compression, as one handshake agreed on them. SPEC.md, "Payload" and
 * "Compression".
 */
import type { JobLane } from '../base/job-turns.js';
import { MeshError } from '../errors.js';
import { joinPayload, type MessageCodec, type MessageReading } from './codec.js';
import {
  type Algorithm,
  type PackedPayload,
  packPayload,
  type UnpackStep,
  unpackInSteps,
  unpackPayload,
} from './compression.js';
import { Compression, type Frame } from './frame.js';
import type { Message } from './message.js';

/** What a handshake agrees for frames. */
export interface FrameAgreement {
  /** Largest payload, before compression. */
  readonly maxMessageBytes: number;
  /** Compressions that both sides read, best first. This side sends with the first. */
  readonly algorithms: readonly Algorithm[];
}

/** What a {@link FrameCodec} is made of. */
export interface FrameCodecOptions extends FrameAgreement {
  readonly codec: MessageCodec;
  /** Payloads below this size are not compressed. */
  readonly thresholdBytes: number;
}

/** The largest number of messages that go uncompressed in a row, after data that did not shrink. */
const MAX_SKIPS = 256;

/**
 * Turns messages into what frames carry, and back: CBOR, then compression, as one handshake agreed on them. Each
 * connection has one. SPEC.md, "Payload" and "Compression".
 */
export class FrameCodec {
  /** @internal Where compression in the thread pool waits for its turn. Without it there are no turns. */
  lane: JobLane | undefined;
  readonly #thresholdBytes: number;
  #codec: MessageCodec;
  #maxMessageBytes = 0;
  #preferred: Algorithm | undefined;
  #algorithms: readonly Algorithm[] = [];
  /** Messages still to go uncompressed, and the last such number, which doubles while nothing shrinks. */
  #skipsLeft = 0;
  #skips = 0;

  constructor({ codec, thresholdBytes, ...agreement }: FrameCodecOptions) {
    this.#codec = codec;
    this.#thresholdBytes = thresholdBytes;
    this.agree(agreement);
  }

  /** Puts into force what a handshake agreed, also for calls under way: the peer already answers them by it. */
  agree({ maxMessageBytes, algorithms }: FrameAgreement): void {
    this.#codec = this.#codec.withLimit(maxMessageBytes);
    this.#maxMessageBytes = maxMessageBytes;
    this.#preferred = algorithms[0];
    this.#algorithms = algorithms;
  }

  /** The largest message that is decoded, in bytes before compression. */
  get maxMessageBytes(): number {
    return this.#maxMessageBytes;
  }

  /**
   * Encodes and compresses a message. Returns a promise only where the message is compressed on another thread.
   * A large byte string stays where it is, as `tail`.
   * @throws MeshError MessageTooLarge, InvalidArgument
   */
  encode(message: Message): PackedPayload | Promise<PackedPayload> {
    return this.pack(this.encodePlain(message));
  }

  /** Compresses what {@link encodePlain} returned, where that is worth it. */
  pack(plain: PackedPayload): PackedPayload | Promise<PackedPayload> {
    const { payload, tail } = plain;
    const payloadBytes = payload.length + (tail === undefined ? 0 : tail.length);
    if (this.#preferred === undefined || payloadBytes < this.#thresholdBytes) {
      return plain;
    }
    if (this.#skipsLeft > 0) {
      this.#skipsLeft -= 1;
      return plain;
    }
    const raw = joinPayload(payload, tail);
    const algorithm = this.#preferred;
    if (this.lane !== undefined && algorithm.compressesInPool(raw.length)) {
      return this.lane.run(() => packPayload(raw, algorithm)).then(this.#learn);
    }
    const packed = packPayload(raw, algorithm);
    return packed instanceof Promise ? packed.then(this.#learn) : this.#learn(packed);
  }

  /** Encodes a message without compression. For bulk data, which mostly is compressed already. */
  encodePlain(message: Message): PackedPayload {
    const { payload, tail } = this.#codec.encodeSplit(message);
    return { payload, tail, compression: Compression.none };
  }

  /**
   * Decodes the message in a frame. Returns a promise only for a large compressed one.
   * @throws MeshError MalformedMessage, UnknownMessageType, MessageTooLarge, UnsupportedCompression
   */
  decode(frame: Frame): Message | Promise<Message> {
    const raw = this.unpack(frame);
    return raw instanceof Promise ? raw.then((payload) => this.read(payload)) : this.read(raw);
  }

  /**
   * @internal The first half of {@link decode}: decompresses a frame's payload.
   * @returns a promise where {@link unpacksInPool} is true
   * @throws MeshError MalformedMessage, MessageTooLarge, UnsupportedCompression
   */
  unpack(frame: Frame): Uint8Array | Promise<Uint8Array> {
    if (frame.compression === Compression.none) return frame.payload;
    return unpackPayload(frame.payload, this.#algorithmOf(frame), this.#maxMessageBytes);
  }

  /** @internal The same in steps. @returns `undefined` where {@link unpack} takes little time @throws MeshError as `unpack` */
  beginUnpack(frame: Frame): UnpackStep | undefined {
    if (frame.compression === Compression.none) return undefined;
    return unpackInSteps(frame.payload, this.#algorithmOf(frame), this.#maxMessageBytes);
  }

  #algorithmOf({ compression }: Frame): Algorithm {
    const algorithm = this.#find(compression);
    if (algorithm !== undefined) return algorithm;
    throw new MeshError('UnsupportedCompression', 'frame has a compression that was not agreed');
  }

  /** There are two at most: each connection with a map of its own would cost more than it saves. */
  #find(compression: Compression): Algorithm | undefined {
    for (const algorithm of this.#algorithms) {
      if (algorithm.id === compression) return algorithm;
    }
    return undefined;
  }

  /** @internal Whether a frame is decompressed in the process's thread pool, if it can be decompressed at all. */
  unpacksInPool(frame: Frame): boolean {
    return this.#find(frame.compression)?.decompressesInPool === true;
  }

  /** @internal The second half of {@link decode}. @throws MeshError MalformedMessage, UnknownMessageType */
  read(payload: Uint8Array): Message {
    return this.#codec.decode(payload);
  }

  /** @internal The same in steps, where the message has many items. @throws MeshError MalformedMessage */
  begin(payload: Uint8Array): MessageReading {
    return this.#codec.begin(payload);
  }

  /** @internal The same for what takes little time. @returns `undefined` for anything else */
  readPlain(payload: Uint8Array): Message | undefined {
    return this.#codec.decodePlain(payload);
  }

  /** @internal What the message that was read last takes on the heap besides its payload, estimated. */
  get heapBytes(): number {
    return this.#codec.heapBytes;
  }

  /** A connection mostly carries one kind of data: where compression did not help, it is tried less and less often. */
  readonly #learn = (packed: PackedPayload): PackedPayload => {
    const isSmaller = packed.compression !== Compression.none;
    this.#skips = isSmaller ? 0 : Math.min(2 * this.#skips + 1, MAX_SKIPS);
    this.#skipsLeft = this.#skips;
    return packed;
  };
}
