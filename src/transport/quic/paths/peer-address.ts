/**
 * The address of an accepted connection's peer, which may change (RFC 9000, section 9).
 *
 * quiche 0.18.0 is not told of the change. Once a connection has a second path, one packet of the peer's can make `send()`
 * loop for ever (CVE-2025-7054). So the binding always sees the address that the connection began with, and this file does
 * what the binding would do for a new path. Until a new address is proved, it is sent no more than three times what came
 * from it, and the old address stays in reserve. A nonce proves it, which goes there and comes back from there on the
 * control stream.
 *
 * An acknowledgement from the new address is no proof. quiche numbers packets without gaps, so a peer could name another
 * host's address and acknowledge packets that it never saw. And only datagrams that the binding found authentic and new
 * may be followed.
 *
 * Pure: addresses, counts and times in, decisions out.
 */

import { RateLimit } from '../../../base/rate-limit.js';
import type { SocketAddress } from '../../connection.js';
import { isSameAddress } from '../../socket-address.js';

/** How many new addresses are tried at once, and how many a second in the long run. */
const TRIAL_BURST = 16;
const TRIALS_PER_SECOND = 4;
/** Until an address that is not proved is left again. */
const TRIAL_MS = 3000;
const AMPLIFICATION = 3;

/** An address in use that is not proved yet. */
interface Trial {
  readonly address: SocketAddress;
  readonly nonce: Buffer;
  readonly untilMs: number;
  /** Bytes that may still be sent there. */
  credit: number;
}

/** The peer has moved. */
export interface PeerMove {
  readonly from: SocketAddress;
  readonly to: SocketAddress;
}

/**
 * Where the datagrams of an accepted connection go. A new address of the peer gets three times what came from it at
 * most, until it is proved; the old one stays in reserve meanwhile. Pure. RFC 9000, section 9.
 */
export class PeerAddress {
  readonly #limit = new RateLimit(TRIALS_PER_SECOND, TRIAL_BURST);
  #proven: SocketAddress;
  #trial: Trial | undefined;

  /** @param first the address that the handshake proved */
  constructor(first: SocketAddress) {
    this.#proven = first;
  }

  /** The address to send to. */
  get current(): SocketAddress {
    return this.#trial?.address ?? this.#proven;
  }

  /** The address proved last. */
  get proven(): SocketAddress {
    return this.#proven;
  }

  get isOnTrial(): boolean {
    return this.#trial !== undefined;
  }

  /** Whether a datagram from another address than the current one may reach the connection. */
  mayFollowTo(address: SocketAddress, nowMs: number): boolean {
    return isSameAddress(address, this.#proven) || this.#limit.allows(nowMs);
  }

  /**
   * The peer sent a datagram from another address, which is the current one from now on.
   * @returns the nonce to ask the peer for; `undefined` when the peer is back at its proved address
   */
  follow(
    address: SocketAddress,
    bytes: number,
    nowMs: number,
    makeNonce: () => Buffer,
  ): Buffer | undefined {
    this.#trial = undefined;
    if (isSameAddress(address, this.#proven)) return undefined;
    this.#limit.take(nowMs);
    const nonce = makeNonce();
    this.#trial = { address, nonce, untilMs: nowMs + TRIAL_MS, credit: AMPLIFICATION * bytes };
    return nonce;
  }

  /** A datagram came from the current address. */
  received(bytes: number): void {
    if (this.#trial !== undefined) this.#trial.credit += AMPLIFICATION * bytes;
  }

  /** Bytes that may be sent now. */
  get credit(): number {
    return this.#trial?.credit ?? Number.POSITIVE_INFINITY;
  }

  sent(bytes: number): void {
    if (this.#trial !== undefined) this.#trial.credit -= bytes;
  }

  /** The peer sent a nonce back. @returns the move that it proves, if any */
  prove(nonce: Uint8Array): PeerMove | undefined {
    if (this.#trial === undefined || !this.#trial.nonce.equals(nonce)) return undefined;
    const move = { from: this.#proven, to: this.#trial.address };
    this.#proven = this.#trial.address;
    this.#trial = undefined;
    return move;
  }

  /** Goes back to the proved address when the time of the other is up. @returns the address that is left */
  expire(nowMs: number): SocketAddress | undefined {
    if (this.#trial === undefined || nowMs < this.#trial.untilMs) return undefined;
    const { address } = this.#trial;
    this.#trial = undefined;
    return address;
  }
}
