/**
 * Answers datagrams of strangers: lets their connections in, or sends them a Retry, the versions that are spoken
 * here, or a stateless reset; or drops what they sent. Every answer is shorter than what it answers.
 */
import { randomBytes } from 'node:crypto';
import { RateLimit } from '../../../base/rate-limit.js';
import { sourceOf } from '../../admission/half-open.js';
import type { SocketAddress } from '../../connection.js';
import type { NativeQuic } from '../binding/native.js';
import type { EndpointCounters } from '../io/counters.js';
import {
  CONNECTION_ID_BYTES,
  type InitialHeader,
  QUIC_VERSION_1,
  readInitialHeader,
} from '../io/packet.js';
import type { UdpSocket } from '../io/udp-socket.js';
import { Door, type DoorLimits } from './door.js';
import { HalfOpenGuard } from './half-open-guard.js';
import { RetryTokens } from './retry-token.js';
import { MAX_RESET_RANDOM_BYTES, type ResetTokens } from './stateless-reset.js';
import { answerVersion } from './version-negotiation.js';

/** Header and IDs of 7 + 20 + 16 bytes, a token of 45, a tag of 16. */
const MAX_RETRY_BYTES = 128;
/** Of each kind, to whomever: an honest peer needs one once in a long while, many at once after a crash. */
const ANSWERS_PER_SECOND = 20;
const ANSWERS_AT_ONCE = 100;

export interface DoorkeeperOptions {
  readonly native: NativeQuic;
  readonly limits: DoorLimits;
  readonly counters: EndpointCounters;
  readonly resetTokens: ResetTokens;
  /** Takes the datagram's memory over. */
  readonly send: (datagram: Buffer, to: SocketAddress, by: UdpSocket) => void;
}

/** A client that may come in. Its place is taken as soon as `enter` is told of it. */
export interface Admission {
  readonly source: string;
  /** The ID of this side. */
  readonly connectionId: Buffer;
  /** After a Retry: the ID that the client chose first (RFC 9000, section 7.3). */
  readonly originalId: Buffer | null;
  /** IDs that lead to the connection, as keys of routes. */
  readonly routes: readonly string[];
  readonly guard: HalfOpenGuard;
}

export class Doorkeeper {
  readonly #options: DoorkeeperOptions;
  readonly #door: Door;
  readonly #tokens = new RetryTokens(performance.now());
  readonly #versionAnswers = new RateLimit(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE);
  readonly #resets = new RateLimit(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE);

  constructor(options: DoorkeeperOptions) {
    this.#options = options;
    this.#door = new Door(options.limits);
  }

  /**
   * A client's first packet.
   * @param routeId its destination, as a key of routes
   * @param at where it arrived, and an answer leaves
   * @returns `undefined` where it was dropped or answered
   */
  admit(
    datagram: Buffer,
    routeId: string,
    from: SocketAddress,
    at: UdpSocket,
  ): Admission | undefined {
    const { counters } = this.#options;
    const header = readInitialHeader(datagram);
    if (header === undefined) {
      counters.droppedMalformed += 1;
      return undefined;
    }
    const nowMs = performance.now();
    const token = this.#tokens.check(header.token, from, header.destinationId, nowMs);
    if (token.kind === 'invalid') {
      // The client takes no second Retry, and without its token it cannot come in.
      counters.droppedInvalidToken += 1;
      return undefined;
    }
    const isValidated = token.kind === 'valid';
    const source = sourceOf(from.host);
    const verdict = this.#door.judge(source, isValidated, nowMs);
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
    // After a Retry the client uses the ID that this side chose in it.
    if (isValidated) {
      const connectionId = Buffer.from(header.destinationId);
      return { source, connectionId, originalId: token.originalId, routes: [routeId], guard };
    }
    const connectionId = randomBytes(CONNECTION_ID_BYTES);
    // The client's own choice stays a route: its first packets may arrive late or twice.
    const routes = [connectionId.toString('latin1'), routeId];
    return { source, connectionId, originalId: null, routes, guard };
  }

  enter(source: string): void {
    this.#door.enter(source);
  }

  leave(source: string): void {
    this.#door.leave(source);
  }

  /** A datagram of another version. */
  answerUnknownVersion(datagram: Buffer, from: SocketAddress, at: UdpSocket): void {
    const { counters, send } = this.#options;
    const answer = answerVersion(datagram, randomBytes(5));
    if (answer === undefined || !this.#versionAnswers.take(performance.now())) return;
    counters.versionNegotiationsSent += 1;
    send(answer, from, at);
  }

  /** A datagram with a short header for a connection that does not exist. */
  answerUnknownConnection(datagram: Buffer, from: SocketAddress, at: UdpSocket): void {
    const { counters, resetTokens, send } = this.#options;
    if (!this.#resets.take(performance.now())) return;
    const answer = resetTokens.answer(datagram, randomBytes(MAX_RESET_RANDOM_BYTES));
    if (answer === undefined) return;
    counters.statelessResetsSent += 1;
    send(answer, from, at);
  }

  /** RFC 9000, section 8.1.2. Shorter than what it answers, and nothing is kept of it. */
  #sendRetry({ destinationId, sourceId }: InitialHeader, to: SocketAddress, by: UdpSocket): void {
    const { native, counters, send } = this.#options;
    const retryId = randomBytes(CONNECTION_ID_BYTES);
    const token = this.#tokens.issue(to, destinationId, retryId, performance.now());
    const room = Buffer.allocUnsafe(MAX_RETRY_BYTES);
    const length = native.retry(sourceId, destinationId, retryId, token, QUIC_VERSION_1, room);
    counters.retriesSent += 1;
    send(room.subarray(0, length), to, by);
  }
}
