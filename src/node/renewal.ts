/** When a connection is replaced by another one to the same peer. */
import type { CallSession } from '../calls/session/session.js';
import { type MeshError, toMeshError } from '../errors.js';
import type { TransportName } from '../transport/connection.js';
import type { PeerTarget } from '../transport/dialing/discovery.js';

export interface RenewalOptions {
  readonly afterStreams: number;
  readonly afterMs: number;
  /**
   * Makes another connection to the same node.
   * @param betterThan only by a transport that is preferred to this one
   */
  readonly dial: (target: PeerTarget, betterThan?: TransportName) => Promise<CallSession>;
  /** Whether a transport that is preferred to the connection's own is worth a try now. */
  readonly mayImprove: (session: CallSession) => boolean;
  /** Another connection has taken the place of this one, which is to be retired. */
  readonly onRenewed: (session: CallSession) => void;
  /** A connection that has grown old stays: it is tried again after a while. */
  readonly onFailed: (session: CallSession, error: MeshError) => void;
}

/** Connections are looked at so often; with shorter lives, more often. */
const MAX_LOOK_INTERVAL_MS = 2000;
/** The last tenth of a connection's time is up to chance, so that a cluster that starts at once does not renew at once. */
const TIME_SPREAD = 0.1;
const RETRY_MS = 10_000;
/** Of many that are due at once. */
const RENEWALS_AT_ONCE = 16;

interface Watched {
  readonly target: PeerTarget;
  dueMs: number;
  notBeforeMs: number;
  /** Under way; fulfils with whether another connection has taken the place of this one. */
  renewing: Promise<boolean> | undefined;
}

/**
 * Replaces connections before they grow old: after so many streams, so much time, or when the transport says so. It
 * also replaces those over a second-choice transport, once the first may work again.
 *
 * The side that dialed dials again. New calls take the new connection. Those under way end on the old one, which is
 * closed when both sides are done with it. A connection has one renewal at a time.
 */
export class Renewal {
  readonly #options: RenewalOptions;
  readonly #watched = new Map<CallSession, Watched>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: RenewalOptions) {
    this.#options = options;
    const intervalMs = Math.min(MAX_LOOK_INTERVAL_MS, Math.ceil(options.afterMs / 4));
    this.#timer = setInterval(() => this.#look(), intervalMs).unref();
  }

  /**
   * Renews a connection of this node's own dialing in time.
   * @param isDue it is old from the beginning
   */
  watch(session: CallSession, target: PeerTarget, isDue = false): void {
    const { afterMs } = this.#options;
    const nowMs = performance.now();
    const dueMs = isDue ? nowMs : nowMs + afterMs * (1 - TIME_SPREAD * Math.random());
    this.#watched.set(session, { target, dueMs, notBeforeMs: nowMs, renewing: undefined });
  }

  /**
   * Renews a connection now, whatever its age, and if that fails again and again.
   * @returns whether another has taken its place; false for one that this node has not dialed, or that is on its way out
   */
  renewNow(session: CallSession): Promise<boolean> {
    const watched = this.#watched.get(session);
    if (watched === undefined || !session.isOpen) return Promise.resolve(false);
    watched.dueMs = Number.NEGATIVE_INFINITY;
    return watched.renewing ?? this.#renew(session, watched);
  }

  /** Renews those connections, a few at a time. Fulfils when each was tried once. */
  async renewAll(isMeant: (session: CallSession) => boolean): Promise<void> {
    const left = [...this.#watched.keys()].filter(isMeant).values();
    const renewOneByOne = async (): Promise<void> => {
      for (const session of left) await this.renewNow(session);
    };
    await Promise.all(Array.from({ length: RENEWALS_AT_ONCE }, renewOneByOne));
  }

  forget(session: CallSession): void {
    this.#watched.delete(session);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#watched.clear();
  }

  #look(): void {
    const nowMs = performance.now();
    for (const [session, watched] of this.#watched) {
      const isResting = watched.renewing !== undefined || nowMs < watched.notBeforeMs;
      if (isResting || !session.isOpen) continue;
      if (this.#isDue(session, watched, nowMs)) void this.#renew(session, watched);
      else if (this.#options.mayImprove(session)) void this.#improve(session, watched);
    }
  }

  #isDue({ connection }: CallSession, { dueMs }: Watched, nowMs: number): boolean {
    const { streamsOpened, streamsAccepted } = connection.counters;
    const streams = streamsOpened + streamsAccepted;
    return (
      nowMs >= dueMs ||
      streams >= this.#options.afterStreams ||
      connection.needsReplacement === true
    );
  }

  #renew(session: CallSession, watched: Watched): Promise<boolean> {
    const { onFailed } = this.#options;
    return this.#attempt(watched, this.#replace(session, watched.target), (thrown) =>
      onFailed(session, toMeshError(thrown)),
    );
  }

  /** A failure is no news: the connection serves, and whoever dials remembers when to try again. */
  #improve(session: CallSession, watched: Watched): Promise<boolean> {
    return this.#attempt(watched, this.#replace(session, watched.target, session.transport));
  }

  #attempt(
    watched: Watched,
    replaced: Promise<void>,
    onFailed: (thrown: unknown) => void = () => {},
  ): Promise<boolean> {
    const succeeded = replaced.then(
      () => true,
      (thrown: unknown) => {
        // Not every failure leads to an address that is remembered: a name may not resolve, or to another one.
        watched.notBeforeMs = performance.now() + RETRY_MS;
        watched.renewing = undefined;
        onFailed(thrown);
        return false;
      },
    );
    watched.renewing = succeeded;
    return succeeded;
  }

  /** @throws MeshError why there is no other connection */
  async #replace(
    session: CallSession,
    target: PeerTarget,
    betterThan?: TransportName,
  ): Promise<void> {
    const { dial, onRenewed } = this.#options;
    const fresh = await dial({ ...target, nodeId: session.peer.nodeId }, betterThan);
    // The peer makes no calls by a connection whose TLS is not done at its end: an answer shows that it is.
    await fresh.request({ type: 'ping' }, {});
    this.forget(session);
    onRenewed(session);
  }
}
