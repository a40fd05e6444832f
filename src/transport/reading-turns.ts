/**
 * Shares the event loop among peers: of what one peer sends, so much is read in a turn as takes a moment. The rest waits
 * until the sockets were polled again. Otherwise a peer that sends many calls at once, over many connections, would hold up
 * everybody's heartbeats. Nothing is read more slowly where nobody else has anything to be read.
 */
import { Fifo } from '../base/fifo.js';
import type { PeerIdentity } from './connection.js';

/**
 * What the reading of one peer's input may take in one turn of the event loop, with all that follows synchronously. libuv takes
 * 32 datagrams from a UDP socket in a turn: the longer a turn is, the longer those of everybody wait in the socket behind those
 * of one who floods it.
 */
export const TURN_MS = 0.5;
/**
 * Of what a turn takes besides, a peer may read for this share: a program that computes for long in each turn would hardly read
 * at all. What all peers spend does not count, so that several who flood do not lengthen each other's turns. Nor does what other
 * processes have the processor for: where a flood makes the machine busy, that would lengthen the turns of whoever floods.
 */
const SHARE_OF_OTHER_WORK = 1 / 4;
const MAX_TURN_MS = 25;
/** From here on a turn's end is waited for. Before, it is not worth its cost. */
const NOTED_MS = TURN_MS / 4;

/** The turns of all peers of a transport. */
export class ReadingTurns {
  readonly #shares = new Map<string, ReadingShare>();
  /** Those that have spent much of this turn, or wait for the next one. */
  #noted: ReadingShare[] = [];
  /** What a peer may spend in this turn. */
  turnMs = TURN_MS;
  #beganMs = 0;
  /** What the process had worked by then. */
  #workedMs = 0;
  /** What all peers have spent since then. */
  #spentMs = 0;
  /** Shares begin their turns. */
  #isTurning = false;
  readonly #nowMs: () => number;
  readonly #processorMs: () => number;

  /** @param processorMs how long the process has had a processor */
  constructor(nowMs = () => performance.now(), processorMs = ownProcessorMs) {
    this.#nowMs = nowMs;
    this.#processorMs = processorMs;
  }

  /** The share of a peer, for one more of its connections, which must {@link ReadingShare.leave} it once. */
  join(peerId: string): ReadingShare {
    let share = this.#shares.get(peerId);
    if (share === undefined) {
      share = new ReadingShare(this, () => this.#shares.delete(peerId));
      this.#shares.set(peerId, share);
    }
    share.members += 1;
    return share;
  }

  /** Peers with connections. */
  get size(): number {
    return this.#shares.size;
  }

  /** Only for {@link ReadingShare}: it is to begin a new turn after this one. */
  note(share: ReadingShare): void {
    this.#noted.push(share);
    if (this.#noted.length > 1) return;
    if (!this.#isTurning) this.#begin(this.#nowMs(), this.#processorMs());
    setImmediate(this.#nextTurn);
  }

  /** Only for {@link ReadingShare}. */
  spent(ms: number): void {
    this.#spentMs += ms;
  }

  /** An immediate that is set while immediates run is called only after the sockets were polled again. */
  readonly #nextTurn = (): void => {
    const shares = this.#noted;
    this.#noted = [];
    const nowMs = this.#nowMs();
    // Other threads of the process work as well, so that it may have worked for longer than there was time.
    const processorMs = this.#processorMs();
    const workedMs = Math.min(processorMs - this.#workedMs, nowMs - this.#beganMs);
    const otherMs = workedMs - this.#spentMs;
    this.turnMs = Math.min(Math.max(TURN_MS, otherMs * SHARE_OF_OTHER_WORK), MAX_TURN_MS);
    this.#begin(nowMs, processorMs);
    this.#isTurning = true;
    for (const share of shares) share.beginTurn();
    this.#isTurning = false;
    if (this.#noted.length === 0) this.turnMs = TURN_MS;
  };

  #begin(nowMs: number, processorMs: number): void {
    this.#beganMs = nowMs;
    this.#workedMs = processorMs;
    this.#spentMs = 0;
  }
}

/** What one peer may spend, over all of its connections. */
export class ReadingShare {
  /** Connections that have it. */
  members = 0;
  #spentMs = 0;
  #isNoted = false;
  /** One reader of a connection at most. */
  readonly #waiting = new Fifo<() => void>();
  readonly #turns: ReadingTurns;
  readonly #onLeft: () => void;

  constructor(turns: ReadingTurns, onLeft: () => void) {
    this.#turns = turns;
    this.#onLeft = onLeft;
  }

  /** Until when a reader that begins now may go on. Where that is `nowMs` itself, it has to {@link wait}. */
  untilMs(nowMs: number): number {
    return nowMs + Math.max(0, this.#turns.turnMs - this.#spentMs);
  }

  /** A reader has gone on for so long. */
  spend(ms: number): void {
    this.#spentMs += ms;
    this.#turns.spent(ms);
    if (this.#spentMs >= NOTED_MS) this.#noteOnce();
  }

  /** Has a reader called in a later turn. It must not throw, and does nothing if its connection is over by then. */
  wait(read: () => void): void {
    this.#waiting.push(read);
    this.#noteOnce();
  }

  leave(): void {
    this.members -= 1;
    if (this.members === 0) this.#onLeft();
  }

  /** Only for {@link ReadingTurns}: those who wait go first. */
  beginTurn(): void {
    this.#spentMs = 0;
    this.#isNoted = false;
    const { turnMs } = this.#turns;
    for (let left = this.#waiting.length; left > 0 && this.#spentMs < turnMs; left -= 1) {
      this.#waiting.shift()?.();
    }
    if (this.#waiting.length > 0) this.#noteOnce();
  }

  #noteOnce(): void {
    if (this.#isNoted) return;
    this.#isNoted = true;
    this.#turns.note(this);
  }
}

function ownProcessorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Whose connections share: those of one certificate's first node id, whichever of its ids a connection claims. */
export function readerOf({ nodeIds, fingerprint256 }: PeerIdentity): string {
  return nodeIds[0] ?? fingerprint256;
}
