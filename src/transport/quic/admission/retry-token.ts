/**
 * Tokens of Retry packets (RFC 9000, sections 8.1.2 to 8.1.4). A client that brings one back has proved that it receives
 * datagrams at its address. This side keeps no state for it: all that it needs is in the token, under a MAC.
 *
 *     mark u8 | key number u8 | issued u48, ms | original ID length u8 | original ID | MAC, 16 bytes
 *
 * The MAC also covers the client's address and the source connection ID of the Retry. The client's next packet has that ID
 * as its destination, so while its connection lives, a copy of the packet leads to that connection and begins no other.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { SocketAddress } from '../../connection.js';
import { addressKey } from '../../socket-address.js';
import { MAX_ID_BYTES } from '../io/packet.js';

/** How long a token is valid. A client brings it back after one round trip. */
export const RETRY_TOKEN_LIFETIME_MS = 10_000;
/** A key makes tokens for one period, and checks them for one more. A period is longer than a token is valid. */
const KEY_PERIOD_MS = 10 * 60_000;
const KEY_BYTES = 32;
const MARK = 0x71;
const HEAD_BYTES = 9;
const MAC_BYTES = 16;

export type TokenVerdict =
  | {
      readonly kind: 'valid';
      /** The destination connection ID of the client's first packet. */
      readonly originalId: Buffer;
    }
  /** It looks like a token of this side, but is forged, expired or another client's. */
  | { readonly kind: 'invalid' }
  /** No token, or another server's, which counts as none (RFC 9000, section 8.1.3). */
  | { readonly kind: 'foreign' };

const INVALID: TokenVerdict = { kind: 'invalid' };
const FOREIGN: TokenVerdict = { kind: 'foreign' };

interface Key {
  readonly number: number;
  readonly bytes: Buffer;
  readonly madeAtMs: number;
}

/** Issues and checks tokens. Its keys are its own and are gone with it. */
export class RetryTokens {
  #current: Key;
  #previous: Key | undefined;

  /** @param nowMs on a monotonic clock, the same one for all calls */
  constructor(nowMs: number) {
    this.#current = makeKey(0, nowMs);
  }

  /**
   * Makes a token for a client.
   * @param originalId the destination connection ID of its packet
   * @param retryId the source connection ID of the Retry that carries the token
   */
  issue(client: SocketAddress, originalId: Uint8Array, retryId: Uint8Array, nowMs: number): Buffer {
    this.#turn(nowMs);
    const key = this.#current;
    const body = Buffer.alloc(HEAD_BYTES + originalId.length);
    body[0] = MARK;
    body[1] = key.number;
    body.writeUIntBE(Math.floor(nowMs), 2, 6);
    body[8] = originalId.length;
    body.set(originalId, HEAD_BYTES);
    return Buffer.concat([body, macOf(key, body, client, retryId)]);
  }

  /**
   * Judges the token of a client's packet.
   * @param retryId the destination connection ID of that packet
   */
  check(
    token: Uint8Array,
    client: SocketAddress,
    retryId: Uint8Array,
    nowMs: number,
  ): TokenVerdict {
    const bodyBytes = HEAD_BYTES + (token[8] ?? 0);
    if (token[0] !== MARK || token.length !== bodyBytes + MAC_BYTES) return FOREIGN;
    if (bodyBytes > HEAD_BYTES + MAX_ID_BYTES) return FOREIGN;
    this.#turn(nowMs);
    const key = this.#keyOf(token[1] as number);
    if (key === undefined) return INVALID;
    const body = Buffer.from(token.subarray(0, bodyBytes));
    if (!timingSafeEqual(macOf(key, body, client, retryId), token.subarray(bodyBytes))) {
      return INVALID;
    }
    const ageMs = Math.floor(nowMs) - body.readUIntBE(2, 6);
    if (ageMs > RETRY_TOKEN_LIFETIME_MS) return INVALID;
    return { kind: 'valid', originalId: body.subarray(HEAD_BYTES) };
  }

  #keyOf(number: number): Key | undefined {
    if (number === this.#current.number) return this.#current;
    return number === this.#previous?.number ? this.#previous : undefined;
  }

  #turn(nowMs: number): void {
    const idleMs = nowMs - this.#current.madeAtMs;
    if (idleMs < KEY_PERIOD_MS) return;
    this.#previous = idleMs < 2 * KEY_PERIOD_MS ? this.#current : undefined;
    this.#current = makeKey((this.#current.number + 1) % 256, nowMs);
  }
}

function makeKey(number: number, madeAtMs: number): Key {
  return { number, bytes: randomBytes(KEY_BYTES), madeAtMs };
}

/** Every part has a fixed length or its length before it, so no two inputs give the same bytes. */
function macOf(key: Key, body: Buffer, client: SocketAddress, retryId: Uint8Array): Buffer {
  const place = Buffer.from(addressKey(client));
  return createHmac('sha256', key.bytes)
    .update(body)
    .update(Buffer.of(retryId.length))
    .update(retryId)
    .update(place)
    .digest()
    .subarray(0, MAC_BYTES);
}
