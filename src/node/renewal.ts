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
  /** Another connection has replaced this one, which is to be retired. */
  readonly onRenewed: (session: CallSession) => void;
  /** The old connection stays, and its renewal is tried again after a while. */
  readonly onFailed: (session: CallSession, error: MeshError) => void;
}

/** The longest time between two looks at the connections. With short lives they are looked at more often. */
const MAX_LOOK_INTERVAL_MS = 2000;
/** This part of a connection's time is random, so that nodes that started together do not renew together. */
const TIME_SPREAD = 0.1;
const RETRY_MS = 10_000;
/** How many renewals go on at once when many are due. */
const RENEWALS_AT_ONCE = 16;

interface Watched {
  readonly target: PeerTarget;
  dueMs: number;
  notBeforeMs: number;
  /** The renewal under way. Fulfils with whether another connection has replaced this one. */
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
   * Renews a connection that this node dialed before it grows old.
   * @param isDue whether it is old already
   */
  watch(session: CallSession, target: PeerTarget, isDue = false): void {
    const { afterMs } = this.#options;
    const nowMs = performance.now();
    const dueMs = isDue ? nowMs : nowMs + afterMs * (1 - TIME_SPREAD * Math.random());
    this.#watched.set(session, { target, dueMs, notBeforeMs: nowMs, renewing: undefined });
  }

  /**
   * Renews a connection now, whatever its age. If that fails, it is tried again until it works.
   * @returns whether another has replaced it; false for one that this node did not dial, or that is closing
   */
  renewNow(session: CallSession): Promise<boolean> {
    const watched = this.#watched.get(session);
    if (watched === undefined || !session.isOpen) return Promise.resolve(false);
    watched.dueMs = Number.NEGATIVE_INFINITY;
    return watched.renewing ?? this.#renew(session, watched);
  }

  /** Renews the connections that are meant, a few at a time. Fulfils when each was tried once. */
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

  /** A failure is not reported: the connection still works, and the dialer remembers when to try again. */
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
        // The dialer does not remember every failure: a name may not resolve, or resolve to another address.
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
    // An answer shows that TLS is done at the peer's end, too. Before that it makes no calls on the connection.
    await fresh.request({ type: 'ping' }, {});
    this.forget(session);
    onRenewed(session);
  }
}
