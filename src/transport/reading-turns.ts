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
/** From here on a turn's end is waited for. Before, it is not worth its cost. */
const NOTED_MS = TURN_MS / 4;

/** The turns of all peers of a transport. */
export class ReadingTurns {
  readonly #shares = new Map<string, ReadingShare>();
  /** Those that have spent much of this turn, or wait for the next one. */
  #noted: ReadingShare[] = [];

  /** The share of a peer, for one more of its connections, which must {@link ReadingShare.leave} it once. */
  join(peerId: string): ReadingShare {
    let share = this.#shares.get(peerId);
    if (share === undefined) {
      share = new ReadingShare(
        (noted) => this.#note(noted),
        () => this.#shares.delete(peerId),
      );
      this.#shares.set(peerId, share);
    }
    share.members += 1;
    return share;
  }

  /** Peers with connections. */
  get size(): number {
    return this.#shares.size;
  }

  #note(share: ReadingShare): void {
    this.#noted.push(share);
    if (this.#noted.length === 1) setImmediate(this.#nextTurn);
  }

  /** An immediate that is set while immediates run is called only after the sockets were polled again. */
  readonly #nextTurn = (): void => {
    const shares = this.#noted;
    this.#noted = [];
    for (const share of shares) share.beginTurn();
  };
}

/** What one peer may spend, over all of its connections. */
export class ReadingShare {
  /** Connections that have it. */
  members = 0;
  #spentMs = 0;
  #isNoted = false;
  /** One reader of a connection at most. */
  readonly #waiting = new Fifo<() => void>();
  readonly #note: (share: ReadingShare) => void;
  readonly #onLeft: () => void;

  constructor(note: (share: ReadingShare) => void, onLeft: () => void) {
    this.#note = note;
    this.#onLeft = onLeft;
  }

  /** Until when a reader that begins now may go on. Where that is `nowMs` itself, it has to {@link wait}. */
  untilMs(nowMs: number): number {
    return nowMs + Math.max(0, TURN_MS - this.#spentMs);
  }

  /** A reader has gone on for so long. */
  spend(ms: number): void {
    this.#spentMs += ms;
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
    for (let left = this.#waiting.length; left > 0 && this.#spentMs < TURN_MS; left -= 1) {
      this.#waiting.shift()?.();
    }
    if (this.#waiting.length > 0) this.#noteOnce();
  }

  #noteOnce(): void {
    if (this.#isNoted) return;
    this.#isNoted = true;
    this.#note(this);
  }
}

/** Whose connections share: those of one certificate's first node id, whichever of its ids a connection claims. */
export function readerOf({ nodeIds, fingerprint256 }: PeerIdentity): string {
  return nodeIds[0] ?? fingerprint256;
}
