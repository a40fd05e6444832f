/**
 * What a connection may receive and send before its peer has proved anything: bounded bytes in, bounded memory for
 * them, and three times the bytes in as bytes out (RFC 9000, section 8.1).
 *
 * The binding has a limit of its own on what it sends, but leaves out of it what it pads Initials with: 80 bytes
 * got 1,200 back, as often as one liked.
 */

import { MIN_INITIAL_BYTES } from '../io/packet.js';
import { takenDatagramBytes } from './client-hello.js';
import { InitialReader } from './initial-reader.js';

export const MAX_HALF_OPEN_BYTES = 64 * 1024;
/** Of these, for early data and whatever comes ahead of the client's handshake: that one must still find its place. */
const MAX_AHEAD_BYTES = 48 * 1024;
/** A ClientHello takes one or two; the rest is for clients that cut it up, and for what is sent again. */
export const MAX_CRYPTO_FRAMES = 64;
const AMPLIFICATION = 3;

export type GuardDrop =
  | 'droppedShortInitial'
  | 'droppedUnreadableInitial'
  | 'droppedHalfOpenExcess';

export class HalfOpenGuard {
  readonly #reader: InitialReader;
  #receivedBytes = 0;
  #cryptoFrames = 0;
  /** Bytes that may be sent. */
  #credit: number;

  /**
   * @param connectionId the destination of the client's first packet here
   * @param isValidated the client's address is its own, as a token showed: what is sent there needs no limit
   */
  constructor(connectionId: Uint8Array, isValidated: boolean) {
    this.#reader = new InitialReader(connectionId);
    this.#credit = isValidated ? Number.POSITIVE_INFINITY : 0;
  }

  /**
   * Counts a datagram.
   * @param isFromClient it came from the address that answers go to; others earn no credit for it
   * @returns `undefined` where it may reach the connection, else the reason to drop it
   */
  refuses(datagram: Buffer, isFromClient: boolean): GuardDrop | undefined {
    const limit = isAhead(datagram) ? MAX_AHEAD_BYTES : MAX_HALF_OPEN_BYTES;
    if (this.#receivedBytes + datagram.length > limit) return 'droppedHalfOpenExcess';
    const content = this.#reader.read(datagram);
    if (content === undefined) return 'droppedUnreadableInitial';
    // One that is cut off begins nothing: the binding would not read it, and its place would be taken in vain.
    if (content.packets === 0 && this.#receivedBytes === 0) return 'droppedUnreadableInitial';
    if (content.packets > 0 && datagram.length < MIN_INITIAL_BYTES) return 'droppedShortInitial';
    if (this.#cryptoFrames + content.cryptoFrames > MAX_CRYPTO_FRAMES) {
      return 'droppedHalfOpenExcess';
    }
    this.#receivedBytes += datagram.length;
    this.#cryptoFrames += content.cryptoFrames;
    if (isFromClient) this.#credit += AMPLIFICATION * datagram.length;
    return undefined;
  }

  /** The largest datagram that the client takes, where it has said so by now. */
  get takenBytes(): number | undefined {
    const { hello } = this.#reader;
    return hello === undefined ? undefined : takenDatagramBytes(hello);
  }

  /** As much of this memory as may be sent now. */
  sendable(room: Buffer): Buffer {
    return room.length <= this.#credit ? room : room.subarray(0, this.#credit);
  }

  sent(bytes: number): void {
    this.#credit -= bytes;
  }
}

/** Whether it begins with a packet of 0-RTT or 1-RTT. */
function isAhead(datagram: Buffer): boolean {
  const first = datagram[0] as number;
  return (first & 0x80) === 0 || (first & 0x30) === 0x10;
}
