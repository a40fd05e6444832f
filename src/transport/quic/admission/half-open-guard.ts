/**
 * Bounds what a connection receives, keeps and sends before its peer has proved anything. It sends at most three times the
 * bytes that it received (RFC 9000, section 8.1).
 *
 * The binding limits what it sends, too, but does not count the padding of Initials: 80 bytes got 1,200 back, every time.
 */

import { MIN_INITIAL_BYTES } from '../io/packet.js';
import { takenDatagramBytes } from './client-hello.js';
import { InitialReader } from './initial-reader.js';

export const MAX_HALF_OPEN_BYTES = 64 * 1024;
/** The share of it for early data and whatever else comes ahead of the client's handshake, which must still find room. */
const MAX_AHEAD_BYTES = 48 * 1024;
/**
 * The share of datagrams with something of the handshake in them. Certificates have 15 KB at most; the rest is for the other
 * messages, padding, and what is sent again.
 */
export const MAX_HANDSHAKE_BYTES = 24 * 1024;
/** A ClientHello takes one or two; the rest is for clients that split it, and for retransmissions. */
export const MAX_CRYPTO_FRAMES = 64;
const AMPLIFICATION = 3;

/** Why a datagram is dropped, as the name of the counter that it raises. */
export type GuardDrop =
  | 'droppedShortInitial'
  | 'droppedUnreadableInitial'
  | 'droppedHalfOpenExcess';

/** Holds the limits of one half-open connection. */
export class HalfOpenGuard {
  readonly #reader: InitialReader;
  #receivedBytes = 0;
  #handshakeBytes = 0;
  #cryptoFrames = 0;
  /** Bytes that may still be sent. */
  #credit: number;

  /**
   * @param connectionId the destination connection ID of the client's first packet here
   * @param isValidated whether a token proved the client's address: what is sent there needs no limit then
   */
  constructor(connectionId: Uint8Array, isValidated: boolean) {
    this.#reader = new InitialReader(connectionId);
    this.#credit = isValidated ? Number.POSITIVE_INFINITY : 0;
  }

  /**
   * Counts a datagram.
   * @param isFromClient whether it came from the address that answers go to; only then it earns credit for them
   * @returns the reason to drop it; `undefined` when it may reach the connection
   */
  refuses(datagram: Buffer, isFromClient: boolean): GuardDrop | undefined {
    // Before it is read, which costs more than what may be read is worth.
    if (!this.#hasRoomFor(datagram.length, !isAhead(datagram))) return 'droppedHalfOpenExcess';
    const content = this.#reader.read(datagram);
    if (content === undefined) return 'droppedUnreadableInitial';
    // A truncated first packet begins no connection: the binding would not read it, and the place would be wasted.
    if (content.packets === 0 && this.#receivedBytes === 0) return 'droppedUnreadableInitial';
    if (content.packets > 0 && datagram.length < MIN_INITIAL_BYTES) return 'droppedShortInitial';
    if (
      this.#cryptoFrames + content.cryptoFrames > MAX_CRYPTO_FRAMES ||
      // A packet of the handshake may stand behind one that is ahead of it.
      (content.isOfHandshake && !this.#hasRoomFor(datagram.length, true))
    ) {
      return 'droppedHalfOpenExcess';
    }
    this.#receivedBytes += datagram.length;
    if (content.isOfHandshake) this.#handshakeBytes += datagram.length;
    this.#cryptoFrames += content.cryptoFrames;
    if (isFromClient) this.#credit += AMPLIFICATION * datagram.length;
    return undefined;
  }

  #hasRoomFor(bytes: number, isOfHandshake: boolean): boolean {
    if (!isOfHandshake) return this.#receivedBytes + bytes <= MAX_AHEAD_BYTES;
    return (
      this.#receivedBytes + bytes <= MAX_HALF_OPEN_BYTES &&
      this.#handshakeBytes + bytes <= MAX_HANDSHAKE_BYTES
    );
  }

  /** The largest datagram that the client takes, once its ClientHello has said so. */
  get takenBytes(): number | undefined {
    const { hello } = this.#reader;
    return hello === undefined ? undefined : takenDatagramBytes(hello);
  }

  /** The part of this memory that may be filled and sent now. */
  sendable(room: Buffer): Buffer {
    return room.length <= this.#credit ? room : room.subarray(0, this.#credit);
  }

  sent(bytes: number): void {
    this.#credit -= bytes;
  }
}

/** Whether it begins with a 0-RTT or 1-RTT packet. */
function isAhead(datagram: Buffer): boolean {
  const first = datagram[0] as number;
  return (first & 0x80) === 0 || (first & 0x30) === 0x10;
}
