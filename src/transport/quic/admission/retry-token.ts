/**
 * Tokens of Retry packets (RFC 9000, sections 8.1.2 to 8.1.4): whoever brings one back receives datagrams at the
 * address that it was sent to. Nothing is remembered for it; all that is needed is in the token, under a MAC.
 *
 *     mark u8 | key number u8 | issued u48, ms | original ID length u8 | original ID | MAC, 16 bytes
 *
 * The MAC covers that and the client's address and the source ID of the Retry, which the client's next packet
 * has as its destination: while that connection lives, the same packet again leads to it and not to another one.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { SocketAddress } from '../../connection.js';
import { MAX_ID_BYTES } from '../io/packet.js';

/** How long a token is good for. The client has it back after a round trip. */
export const RETRY_TOKEN_LIFETIME_MS = 10_000;
/** A key makes tokens for so long, and is then kept for as long again. Longer than a token lives. */
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
  /** Made here, or made to look like it, but not for this client now. */
  | { readonly kind: 'invalid' }
  /** No token, or one from elsewhere: counts as none (RFC 9000, section 8.1.3). */
  | { readonly kind: 'foreign' };

const INVALID: TokenVerdict = { kind: 'invalid' };
const FOREIGN: TokenVerdict = { kind: 'foreign' };

interface Key {
  readonly number: number;
  readonly bytes: Buffer;
  readonly madeAtMs: number;
}

/** Issues and checks tokens, with keys of its own that no one else has and that do not outlive it. */
export class RetryTokens {
  #current: Key;
  #previous: Key | undefined;

  /** @param nowMs any clock, as long as it is the same one throughout and never goes back */
  constructor(nowMs: number) {
    this.#current = makeKey(0, nowMs);
  }

  /**
   * A token for a client.
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

/** Every part has its length before it, or a fixed one: no two inputs read the same. */
function macOf(key: Key, body: Buffer, client: SocketAddress, retryId: Uint8Array): Buffer {
  const place = Buffer.from(`${client.host} ${client.port}`);
  return createHmac('sha256', key.bytes)
    .update(body)
    .update(Buffer.of(retryId.length))
    .update(retryId)
    .update(place)
    .digest()
    .subarray(0, MAC_BYTES);
}
