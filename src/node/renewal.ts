/** When a connection is replaced by another one to the same peer. */
import { Alarm, type Alarms } from '../base/alarms.js';
import { DeadlineHeap, type Scheduled } from '../base/deadline-heap.js';
import type { CallSession } from '../calls/session/session.js';
import { type MeshError, toMeshError } from '../errors.js';
import type { ConnectionClass } from '../protocol/connection-class.js';
import type { TransportName } from '../transport/connection.js';
import type { PeerTarget } from '../transport/dialing/discovery.js';

export interface RenewalOptions {
  /** Rings when a connection is to be looked at. */
  readonly alarms: Alarms;
  readonly afterStreams: number;
  readonly afterMs: number;
  /**
   * Makes another connection of the same class to the same node.
   * @param betterThan only by a transport that is preferred to this one
   */
  readonly dial: (target: PeerTarget, options: RenewingDial) => Promise<CallSession>;
  /** Whether a transport that is preferred to the connection's own is worth a try now. */
  readonly mayImprove: (session: CallSession) => boolean;
  /** Whether any transport is preferred to the connection's own. */
  readonly isSecondChoice: (session: CallSession) => boolean;
  /** Another connection has replaced this one, which is to be retired. */
  readonly onRenewed: (session: CallSession) => void;
  /** The old connection stays, and its renewal is tried again after a while. */
  readonly onFailed: (session: CallSession, error: MeshError) => void;
}

/** How to dial in place of a connection. */
export interface RenewingDial {
  readonly betterThan: TransportName | undefined;
  readonly connectionClass: ConnectionClass;
}

/** The longest time between two looks at the connections. With short lives they are looked at more often. */
const MAX_LOOK_INTERVAL_MS = 2000;
/** This part of a connection's time is random, so that nodes that started together do not renew together. */
const TIME_SPREAD = 0.1;
const RETRY_MS = 10_000;
/** How many renewals go on at once when many are due. */
const RENEWALS_AT_ONCE = 16;
/** In usual intervals: how long a connection without calls is left alone. Only signs of life go over it meanwhile. */
const RESTING_INTERVALS = 15;

interface Watched extends Scheduled {
  readonly session: CallSession;
  readonly target: PeerTarget;
  /** Calls at the last look. */
  activity: number;
  dueMs: number;
  notBeforeMs: number;
  /** The renewal under way. Fulfils with whether another connection has replaced this one. */
  renewing: Promise<boolean> | undefined;
  /** A call has begun after a time without; `undefined` while it is looked at in every interval. */
  wake: (() => void) | undefined;
}

/**
 * Replaces connections before they grow old: after so many streams, so much time, or when the transport says so. It
 * also replaces those over a second-choice transport, once the first may work again.
 *
 * The side that dialed dials again. New calls take the new connection. Those under way end on the old one, which is
 * closed when both sides are done with it. A connection has one renewal at a time.
 *
 * A connection in use is looked at in every interval, one without calls seldom: there may be thousands of those.
 */
export class Renewal {
  readonly #options: RenewalOptions;
  readonly #watched = new Map<CallSession, Watched>();
  readonly #due = new DeadlineHeap<Watched>();
  readonly #alarm: Alarm;
  readonly #intervalMs: number;

  constructor(options: RenewalOptions) {
    this.#options = options;
    this.#alarm = new Alarm(options.alarms, (nowMs) => this.#look(nowMs));
    this.#intervalMs = Math.min(MAX_LOOK_INTERVAL_MS, Math.ceil(options.afterMs / 4));
  }

  /**
   * Renews a connection that this node dialed before it grows old.
   * @param isDue whether it is old already
   */
  watch(session: CallSession, target: PeerTarget, isDue = false): void {
    const { afterMs } = this.#options;
    const nowMs = performance.now();
    const dueMs = isDue ? nowMs : nowMs + afterMs * (1 - TIME_SPREAD * Math.random());
    const watched: Watched = {
      session,
      target,
      activity: session.activity,
      dueMs,
      notBeforeMs: nowMs,
      renewing: undefined,
      wake: undefined,
      scheduledMs: Number.POSITIVE_INFINITY,
      heapIndex: -1,
    };
    this.#watched.set(session, watched);
    this.#schedule(watched, nowMs);
    this.#arm();
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
    const watched = this.#watched.get(session);
    if (watched === undefined) return;
    this.#watched.delete(session);
    this.#due.delete(watched);
  }

  close(): void {
    this.#alarm.stop();
    for (const session of [...this.#watched.keys()]) this.forget(session);
  }

  #look(nowMs: number): void {
    for (let next = this.#due.take(nowMs); next !== undefined; next = this.#due.take(nowMs)) {
      this.#lookAt(next, nowMs);
      this.#schedule(next, nowMs);
    }
    this.#arm();
  }

  #lookAt(watched: Watched, nowMs: number): void {
    const { session } = watched;
    const isResting = watched.renewing !== undefined || nowMs < watched.notBeforeMs;
    if (isResting || !session.isOpen) return;
    if (this.#isDue(session, watched, nowMs)) void this.#renew(session, watched);
    else if (this.#options.mayImprove(session)) void this.#improve(session, watched);
  }

  /** Sets the next look at a connection, in one of the usual intervals. */
  #schedule(watched: Watched, nowMs: number): void {
    const { session, dueMs } = watched;
    if (this.#watched.get(session) !== watched) return;
    const { activity } = session;
    const isQuiet = activity === watched.activity && session.load === 0;
    const soonMs = this.#roundUp(nowMs + 1);
    watched.activity = activity;
    if (!isQuiet || watched.renewing !== undefined || this.#options.isSecondChoice(session)) {
      this.#due.set(watched, soonMs);
      return;
    }
    const restMs = nowMs + RESTING_INTERVALS * this.#intervalMs;
    this.#due.set(watched, Math.max(soonMs, this.#roundUp(Math.min(restMs, dueMs))));
    if (watched.wake !== undefined) return;
    watched.wake = () => {
      watched.wake = undefined;
      this.#schedule(watched, performance.now());
      this.#arm();
    };
    session.whenActive(watched.wake);
  }

  #roundUp(atMs: number): number {
    return Math.ceil(atMs / this.#intervalMs) * this.#intervalMs;
  }

  #arm(): void {
    if (this.#due.nextMs < this.#alarm.deadlineMs) this.#alarm.set(this.#due.nextMs);
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
    this.#schedule(watched, performance.now());
    this.#arm();
    return succeeded;
  }

  /** @throws MeshError why there is no other connection */
  async #replace(
    session: CallSession,
    target: PeerTarget,
    betterThan?: TransportName,
  ): Promise<void> {
    const { dial, onRenewed } = this.#options;
    const { connectionClass } = session;
    const same = { ...target, nodeId: session.peer.nodeId };
    const fresh = await dial(same, { betterThan, connectionClass });
    // An answer shows that TLS is done at the peer's end, too. Before that it makes no calls on the connection.
    await fresh.request({ type: 'ping' }, {});
    this.forget(session);
    onRenewed(session);
  }
}
