/**
 * Where the datagrams of an accepted connection go: the address of its peer, which may change (RFC 9000, section 9).
 *
 * quiche 0.18.0 is not told. With a second path in it, one packet of the peer's makes `send()` loop for ever
 * (CVE-2025-7054); with one path, none does. So the binding always sees the address that the connection began with, and
 * what it would do for a new path is done here: a new address is sent no more than three times what came from it until
 * it is proved, by a nonce that went there and came back from there on the control stream; the old one stays in reserve
 * meanwhile. An acknowledgement from the new address is no proof: packets are numbered one by one, and quiche leaves none out,
 * so a peer that has moved in the name of another host could acknowledge what it never saw. Only datagrams that the binding found to be the peer's, and new, are to be followed.
 *
 * Pure: addresses, counts and times in, decisions out.
 */

import { RateLimit } from '../../../base/rate-limit.js';
import type { SocketAddress } from '../../connection.js';
import { isSameAddress } from '../../socket-address.js';

/** New addresses: so many at once, and so many a second in the long run. */
const TRIAL_BURST = 16;
const TRIALS_PER_SECOND = 4;
/** An address that is not proved by then is left again. */
const TRIAL_MS = 3000;
const AMPLIFICATION = 3;

/** An address that is used, and not proved yet. */
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

  /** @param first which the handshake proved */
  constructor(first: SocketAddress) {
    this.#proven = first;
  }

  /** Where to send. */
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

  /** Whether a datagram from another address than the current one is to be looked at at all. */
  mayFollowTo(address: SocketAddress, nowMs: number): boolean {
    return isSameAddress(address, this.#proven) || this.#limit.allows(nowMs);
  }

  /**
   * The peer sent a datagram from another address than the current one, so that is the current one from now on.
   * @returns the nonce to ask the peer for; none where it has come back
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

  /** A nonce came back from the current address. @returns the move that it proves */
  prove(nonce: Uint8Array): PeerMove | undefined {
    if (this.#trial === undefined || !this.#trial.nonce.equals(nonce)) return undefined;
    const move = { from: this.#proven, to: this.#trial.address };
    this.#proven = this.#trial.address;
    this.#trial = undefined;
    return move;
  }

  /** Goes back to the proved address when the other had its time. @returns the one that is left */
  expire(nowMs: number): SocketAddress | undefined {
    if (this.#trial === undefined || nowMs < this.#trial.untilMs) return undefined;
    const { address } = this.#trial;
    this.#trial = undefined;
    return address;
  }
}
