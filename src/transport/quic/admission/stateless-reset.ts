/**
 * Stateless resets (RFC 9000, section 10.3). By them a node that was restarted tells its peers that their connections are
 * gone, so that they need not wait for the idle timeout.
 *
 * A token is a MAC of one connection ID under a secret. The secret is derived from the private key: it is the same after a
 * restart, and nobody else has it. It is derived from the socket's address, too: sockets that share a key must not give
 * away each other's tokens.
 *
 * Only packets with an ID that this side has issued are answered. IDs carry a MAC of their own, so that a stranger cannot make
 * one, and the port looks closed to it.
 *
 * The binding knows only the token that an acceptor sends in its transport parameters. So only dialers understand resets.
 */
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';
import type { SocketAddress } from '../../connection.js';
import { CONNECTION_ID_BYTES } from '../io/packet.js';

export const RESET_TOKEN_BYTES = 16;
/** At least five unpredictable bytes come before the token (RFC 9000, section 10.3). */
const MIN_RESET_BYTES = 5 + RESET_TOKEN_BYTES;
/** Longer than a connection's shortest packets, so that a reset looks like any other packet. */
const MAX_RESET_BYTES = 43;
const SECRET_BYTES = 32;
/** The beginning of an ID, which is random. The MAC behind it is as long. */
const ID_RANDOM_BYTES = CONNECTION_ID_BYTES / 2;

/** Issues connection IDs for one socket, derives their reset tokens, and writes resets with them. */
export class ResetTokens {
  readonly #secret: Buffer;
  readonly #idSecret: Buffer;

  /**
   * @param privateKey in PEM
   * @param address where the socket is bound
   */
  constructor(privateKey: string, address: SocketAddress) {
    const secretFor = (use: string) => {
      const info = `quicmesh ${use} ${address.host} ${address.port}`;
      return Buffer.from(hkdfSync('sha256', privateKey, '', info, SECRET_BYTES));
    };
    this.#secret = secretFor('stateless reset');
    this.#idSecret = secretFor('connection id');
  }

  /**
   * Makes a connection ID that {@link isOwn} knows again.
   * @param bytes how long it is, at least as long as an acceptor's
   */
  newConnectionId(bytes: number): Buffer {
    const connectionId = randomBytes(bytes);
    this.#macOf(connectionId).copy(connectionId, ID_RANDOM_BYTES);
    return connectionId;
  }

  /** Whether an ID was issued here, before a restart too. Only as much of it counts as an acceptor's ID has. */
  isOwn(connectionId: Uint8Array): boolean {
    if (connectionId.length < CONNECTION_ID_BYTES) return false;
    const mac = connectionId.subarray(ID_RANDOM_BYTES, CONNECTION_ID_BYTES);
    return timingSafeEqual(this.#macOf(connectionId), mac);
  }

  /** The token of one of this side's connection IDs. It follows from as much of the ID as an acceptor's has. */
  tokenOf(connectionId: Uint8Array): Buffer {
    const known = connectionId.subarray(0, CONNECTION_ID_BYTES);
    return createHmac('sha256', this.#secret).update(known).digest().subarray(0, RESET_TOKEN_BYTES);
  }

  /** The same as a number, as the binding takes it. */
  numberOf(connectionId: Uint8Array): bigint {
    return BigInt(`0x${this.tokenOf(connectionId).toString('hex')}`);
  }

  /**
   * Writes the reset that answers a datagram with a short header for a connection that does not exist.
   * @param random as many bytes as {@link MAX_RESET_RANDOM_BYTES}
   * @returns `undefined` when its ID was not issued here, or when it would not be shorter than the datagram: two sides must not
   *   answer each other for ever
   */
  answer(datagram: Buffer, random: Uint8Array): Buffer | undefined {
    const length = Math.min(datagram.length - 1, MAX_RESET_BYTES);
    if (length < MIN_RESET_BYTES) return undefined;
    const connectionId = datagram.subarray(1, 1 + CONNECTION_ID_BYTES);
    if (!this.isOwn(connectionId)) return undefined;
    const reset = Buffer.alloc(length);
    reset.set(random.subarray(0, length - RESET_TOKEN_BYTES));
    reset[0] = 0x40 | ((reset[0] as number) & 0x3f);
    reset.set(this.tokenOf(connectionId), length - RESET_TOKEN_BYTES);
    return reset;
  }

  #macOf(connectionId: Uint8Array): Buffer {
    const random = connectionId.subarray(0, ID_RANDOM_BYTES);
    const mac = createHmac('sha256', this.#idSecret).update(random).digest();
    return mac.subarray(0, CONNECTION_ID_BYTES - ID_RANDOM_BYTES);
  }
}

export const MAX_RESET_RANDOM_BYTES = MAX_RESET_BYTES - RESET_TOKEN_BYTES;

/** Whether a datagram is long enough for a reset, and has a short header. */
export function mayBeReset(datagram: Buffer): boolean {
  return datagram.length >= MIN_RESET_BYTES && ((datagram[0] as number) & 0xc0) === 0x40;
}
