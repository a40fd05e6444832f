/** Ends the use of a connection without the loss of a call. SPEC.md, "Going away". */
import type { Connection } from '../../transport/connection.js';
import type { OpenTransfers } from '../transfers/open-transfers.js';

/** A retired connection whose peer does not go away too is closed when no call was under way for this long. */
const RETIRE_QUIET_MS = 5000;
/** The same where the node itself closes. */
const DRAIN_QUIET_MS = 1000;
/** Part of the time that a node has to close: a transfer that makes no progress for this long is given up. */
const STALLED_FRACTION = 0.2;
/** Quiet periods to wait for where the peer does go away: what it sent last may take its time to arrive. */
const MAX_QUIET_WAITS = 12;

/** What a drain asks of the session whose connection it is. */
export interface DrainHost {
  readonly connection: Connection;
  readonly openTransfers: OpenTransfers;
  /** Calls under way, of both sides. */
  readonly load: number;
  readonly counters: { readonly handled: number };
}

/** Waits until no call of a session is under way on either side. */
export class SessionDrain {
  readonly #host: DrainHost;
  #isDraining = false;
  /** Whoever waits until no call is under way. */
  #onQuiet: (() => void)[] = [];

  constructor(host: DrainHost) {
    this.#host = host;
  }

  /** Whether the node closes: this side makes no more calls. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** See CallSession.drain. */
  async drain(timeoutMs: number): Promise<void> {
    this.#isDraining = true;
    const patienceMs = Math.max(DRAIN_QUIET_MS, timeoutMs * STALLED_FRACTION);
    const stop = this.#host.openTransfers.giveUpStalled(patienceMs);
    await Promise.race([this.#drained(DRAIN_QUIET_MS), delay(timeoutMs)]);
    stop();
  }

  /** See CallSession.retire. */
  async retire(reason: string): Promise<void> {
    const { connection } = this.#host;
    const isPeersWish = connection.isGoingAway;
    await this.#drained(RETIRE_QUIET_MS);
    if (isPeersWish) await Promise.race([connection.closed, delay(RETIRE_QUIET_MS)]);
    await connection.close('NoError', reason);
  }

  /** To be called when any call has ended. */
  callEnded(): void {
    if (this.#onQuiet.length === 0 || this.#host.load > 0) return;
    for (const resolve of this.#onQuiet.splice(0)) resolve();
  }

  async #drained(quietMs: number): Promise<void> {
    const { connection, counters } = this.#host;
    const { onGoAway } = connection;
    let hasAnswered = connection.isGoingAway;
    connection.onGoAway = () => {
      hasAnswered = true;
      onGoAway?.();
    };
    connection.goAway();
    let isDrained = false;
    const drained = connection.drained.then(() => {
      isDrained = true;
    });
    for (let waits = 0; !isDrained && waits < (hasAnswered ? MAX_QUIET_WAITS : 1); ) {
      await Promise.race([drained, this.#quiet()]);
      const { handled } = counters;
      await Promise.race([drained, delay(quietMs)]);
      waits = this.#host.load === 0 && counters.handled === handled ? waits + 1 : 0;
    }
  }

  /** Fulfils when no call is under way, or the connection is over. */
  async #quiet(): Promise<void> {
    if (this.#host.load === 0) return;
    await new Promise<void>((resolve) => {
      this.#onQuiet.push(resolve);
      void this.#host.connection.closed.then(() => resolve());
    });
  }
}

/** Keeps no process alive. */
function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
