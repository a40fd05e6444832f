/**
 * Stateless resets (RFC 9000, section 10.3): how a node that has been started anew tells peers of its former life
 * that their connections are gone, before they have waited for the idle timeout.
 *
 * A token belongs to one connection ID, and follows from it by a secret. That secret follows from the private key,
 * so it is the same after a restart and no one else has it; and from the address, so that of several sockets with
 * the same key none gives away what belongs to another.
 *
 * The binding knows the token that an acceptor sends in its transport parameters, and no other: it is dialers that
 * learn something by a reset.
 */
import { createHmac, hkdfSync } from 'node:crypto';
import type { SocketAddress } from '../../connection.js';
import { CONNECTION_ID_BYTES } from '../io/packet.js';

export const RESET_TOKEN_BYTES = 16;
/** Unpredictable bits before the token: five bytes (RFC 9000, section 10.3). */
const MIN_RESET_BYTES = 5 + RESET_TOKEN_BYTES;
/** Longer than the shortest packets of a connection: looks like any of them. */
const MAX_RESET_BYTES = 43;
const SECRET_BYTES = 32;

export class ResetTokens {
  readonly #secret: Buffer;

  /**
   * @param privateKey in PEM
   * @param address where the socket is bound
   */
  constructor(privateKey: string, address: SocketAddress) {
    const info = `quicmesh stateless reset ${address.host} ${address.port}`;
    this.#secret = Buffer.from(hkdfSync('sha256', privateKey, '', info, SECRET_BYTES));
  }

  /** The token of a connection ID of this side. */
  tokenOf(connectionId: Uint8Array): Buffer {
    const mac = createHmac('sha256', this.#secret).update(connectionId).digest();
    return mac.subarray(0, RESET_TOKEN_BYTES);
  }

  /** The same as a number, which is what the binding takes. */
  numberOf(connectionId: Uint8Array): bigint {
    return BigInt(`0x${this.tokenOf(connectionId).toString('hex')}`);
  }

  /**
   * The answer to a datagram with a short header for a connection that does not exist.
   * @param random as many bytes as {@link MAX_RESET_RANDOM_BYTES}
   * @returns `undefined` when it would not be shorter than what it answers: two sides must not go on for ever
   */
  answer(datagram: Buffer, random: Uint8Array): Buffer | undefined {
    const length = Math.min(datagram.length - 1, MAX_RESET_BYTES);
    if (length < MIN_RESET_BYTES) return undefined;
    const reset = Buffer.alloc(length);
    reset.set(random.subarray(0, length - RESET_TOKEN_BYTES));
    reset[0] = 0x40 | ((reset[0] as number) & 0x3f);
    const connectionId = datagram.subarray(1, 1 + CONNECTION_ID_BYTES);
    reset.set(this.tokenOf(connectionId), length - RESET_TOKEN_BYTES);
    return reset;
  }
}

export const MAX_RESET_RANDOM_BYTES = MAX_RESET_BYTES - RESET_TOKEN_BYTES;

/** Whether a datagram is long enough to be a reset, and looks like a packet of a connection. */
export function mayBeReset(datagram: Buffer): boolean {
  return datagram.length >= MIN_RESET_BYTES && ((datagram[0] as number) & 0xc0) === 0x40;
}
