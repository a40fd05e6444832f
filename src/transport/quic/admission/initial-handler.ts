/**
 * Handles datagrams that belong to no connection yet. An Initial is accepted, answered with a Retry, or dropped; a
 * datagram of another version is answered with Version Negotiation, a stray one with a stateless reset. Every answer is
 * shorter than what it answers, so that nobody can use this node to amplify traffic.
 *
 * A silent listener answers only who knocks: see `knock-gate.ts`. Everybody else's datagrams are dropped here, before anything
 * but their header is read.
 */
import { randomBytes } from 'node:crypto';
import { RateLimit } from '../../../base/rate-limit.js';
import { sourceOf } from '../../admission/half-open.js';
import type { KnockGate } from '../../admission/knock-gate.js';
import type { SocketAddress } from '../../connection.js';
import { addressKey } from '../../socket-address.js';
import type { NativeQuic } from '../binding/native.js';
import type { EndpointCounters } from '../io/counters.js';
import {
  CONNECTION_ID_BYTES,
  type InitialHeader,
  MIN_INITIAL_BYTES,
  QUIC_VERSION_1,
  readInitialHeader,
  routeOf,
  sourceIdOf,
} from '../io/packet.js';
import type { UdpSocket } from '../io/udp-socket.js';
import { type AdmissionLimits, AdmissionPolicy } from './admission-policy.js';
import { HalfOpenGuard } from './half-open-guard.js';
import { RetryTokens } from './retry-token.js';
import { MAX_RESET_RANDOM_BYTES, type ResetTokens } from './stateless-reset.js';
import { answerVersion } from './version-negotiation.js';

/** Header and IDs of 7 + 20 + 16 bytes, a token of 45, a tag of 16. */
const MAX_RETRY_BYTES = 128;
/** Limits for each kind of answer. An honest peer needs one rarely; after a crash, many peers need one at once. */
const ANSWERS_PER_SECOND = 20;
const ANSWERS_AT_ONCE = 100;

export interface InitialHandlerOptions {
  readonly native: NativeQuic;
  readonly limits: AdmissionLimits;
  /** Judges knocks; `undefined` where everybody is answered. */
  readonly gate: KnockGate | undefined;
  readonly counters: EndpointCounters;
  readonly resetTokens: ResetTokens;
  /** Takes the datagram's memory over. */
  readonly send: (datagram: Buffer, to: SocketAddress, by: UdpSocket) => void;
}

/** A client that may connect. It takes a half-open place once `enter` is called for it. */
export interface AcceptedInitial {
  readonly source: string;
  /** This side's connection ID. */
  readonly connectionId: Buffer;
  /** After a Retry: the ID that the client chose first (RFC 9000, section 7.3). */
  readonly originalId: Buffer | null;
  /** Connection IDs that lead to the connection, as keys of the routing table. */
  readonly routes: readonly string[];
  readonly guard: HalfOpenGuard;
  /** The client's own connection ID, a view of the datagram: its knock, where it had to knock. */
  readonly sourceId: Buffer;
}

/** Judges Initials by the admission policy, and writes the answers that need no connection. */
export class InitialHandler {
  readonly #options: InitialHandlerOptions;
  readonly #policy: AdmissionPolicy;
  readonly #tokens = new RetryTokens(performance.now());
  readonly #versionAnswers = new RateLimit(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE);
  readonly #resets = new RateLimit(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE);

  constructor(options: InitialHandlerOptions) {
    this.#options = options;
    this.#policy = new AdmissionPolicy(options.limits);
  }

  /**
   * Judges a client's first packet.
   * @param routeId its destination connection ID, as a key of the routing table
   * @param at the socket where it arrived, and from which it is answered
   * @returns `undefined` where it was dropped or answered
   */
  accept(
    datagram: Buffer,
    routeId: string,
    from: SocketAddress,
    at: UdpSocket,
  ): AcceptedInitial | undefined {
    const { counters } = this.#options;
    const knock = this.#knock(datagram, from);
    if (knock === 'none') return undefined;
    const header = readInitialHeader(datagram);
    if (header === undefined) {
      counters.droppedMalformed += 1;
      return undefined;
    }
    const nowMs = performance.now();
    const token = this.#tokens.check(header.token, from, header.destinationId, nowMs);
    if (token.kind === 'invalid') {
      // A client accepts no second Retry (RFC 9000, section 17.2.5), so this one cannot connect any more.
      counters.droppedInvalidToken += 1;
      return undefined;
    }
    const isValidated = token.kind === 'valid';
    const source = sourceOf(from.host);
    const verdict = this.#policy.judge(source, isValidated, nowMs, knock === 'full');
    if (verdict === 'retry') {
      this.#sendRetry(header, from, at);
      return undefined;
    }
    if (verdict !== 'accept') {
      counters[verdict] += 1;
      return undefined;
    }
    const guard = new HalfOpenGuard(header.destinationId, isValidated);
    const refused = guard.refuses(datagram, true);
    if (refused !== undefined) {
      counters[refused] += 1;
      return undefined;
    }
    const { sourceId } = header;
    // After a Retry the client uses the ID that this side chose in it.
    if (isValidated) {
      const connectionId = Buffer.from(header.destinationId);
      const { originalId } = token;
      return { source, connectionId, originalId, routes: [routeId], guard, sourceId };
    }
    const connectionId = this.#options.resetTokens.newConnectionId(CONNECTION_ID_BYTES);
    // The ID that the client chose stays a route: its first packets may arrive late or twice.
    const routes = [routeOf(connectionId), routeId];
    return { source, connectionId, originalId: null, routes, guard, sourceId };
  }

  /** What `accept` returned has become a connection. Its knock is good for no other. */
  spendKnock({ sourceId }: AcceptedInitial): void {
    this.#options.gate?.spend(sourceId);
  }

  /** A connection that `accept` returned takes its half-open place. */
  enter(source: string): void {
    this.#policy.enter(source, performance.now());
  }

  /** Its handshake is done, or it is gone. Call it once for every `enter`. */
  leave(source: string, isTrusted: boolean): void {
    this.#policy.leave(source, isTrusted, performance.now());
  }

  /** Answers a datagram of another version with Version Negotiation. */
  answerUnknownVersion(datagram: Buffer, from: SocketAddress, at: UdpSocket): void {
    const { counters, send } = this.#options;
    if (datagram.length < MIN_INITIAL_BYTES || this.#knock(datagram, from) === 'none') return;
    const answer = answerVersion(datagram, randomBytes(5));
    if (answer === undefined || !this.#versionAnswers.take(performance.now())) return;
    counters.versionNegotiationsSent += 1;
    send(answer, from, at);
  }

  /** Answers a datagram with a short header for a connection that does not exist with a stateless reset. */
  answerUnknownConnection(datagram: Buffer, from: SocketAddress, at: UdpSocket): void {
    const { counters, resetTokens, send } = this.#options;
    const answer = resetTokens.answer(datagram, randomBytes(MAX_RESET_RANDOM_BYTES));
    // What strangers send must not use up the answers for peers.
    if (answer === undefined || !this.#resets.take(performance.now())) return;
    counters.statelessResetsSent += 1;
    send(answer, from, at);
  }

  /** Whether the sender of a datagram with a long header may be answered: `'full'`, if it proves its address. */
  #knock(datagram: Buffer, from: SocketAddress): 'good' | 'full' | 'none' {
    const { gate, counters } = this.#options;
    if (gate === undefined) return 'good';
    const verdict = gate.judge(sourceIdOf(datagram), addressKey(from), Date.now());
    if (verdict === 'good' || verdict === 'full') return verdict;
    counters[verdict === 'stranger' ? 'droppedWithoutKnock' : 'droppedReplayedKnock'] += 1;
    return 'none';
  }

  /** RFC 9000, section 8.1.2. It is shorter than what it answers, and this side keeps no state for it. */
  #sendRetry({ destinationId, sourceId }: InitialHeader, to: SocketAddress, by: UdpSocket): void {
    const { native, counters, resetTokens, send } = this.#options;
    const retryId = resetTokens.newConnectionId(CONNECTION_ID_BYTES);
    const token = this.#tokens.issue(to, destinationId, retryId, performance.now());
    const room = Buffer.allocUnsafe(MAX_RETRY_BYTES);
    const length = native.retry(sourceId, destinationId, retryId, token, QUIC_VERSION_1, room);
    counters.retriesSent += 1;
    send(room.subarray(0, length), to, by);
  }
}
