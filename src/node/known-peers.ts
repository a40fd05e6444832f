/** What a node keeps of its peers, and for how long. */
import { AsyncResource } from 'node:async_hooks';
import type { PoolClock } from '../base/clock.js';

/** A peer, as far as it matters here. */
export interface KnownPeer {
  /** Whether there is a connection, one is wanted, or something of the peer still runs. */
  readonly isInUse: boolean;
}

/** How long a peer that is gone stays known. */
const GONE_MS = 60_000;
/** How many of them stay known at once. Beyond that, those that went first are forgotten. */
export const MAX_GONE_PEERS = 128;
/** How often to look for peers that went without a call of {@link KnownPeers.reviewOne}. */
const SWEEP_MS = 15_000;

/**
 * The peers of a node by canonical node id: those that it is connected to or dials, and for a while those that are gone. Nodes with
 * names of their own come and go for ever, so what is kept of them must not grow with that.
 *
 * To forget a peer is not to end it: as long as somebody holds it, it comes back when its node does.
 */
export class KnownPeers<P extends KnownPeer> {
  readonly #create: (nodeId: string) => P;
  readonly #clock: PoolClock;
  /** The async context of the node's creation: the sweep outlives that of whoever obtains a peer. */
  readonly #home = new AsyncResource('quicmesh.KnownPeers');
  readonly #known = new Map<string, P>();
  /** The known peers that are not in use, and since when, oldest first. */
  readonly #gone = new Map<string, number>();
  /** Forgotten peers that somebody may still hold. */
  readonly #forgotten = new Map<string, WeakRef<P>>();
  readonly #collected = new FinalizationRegistry<string>((key) => {
    if (this.#forgotten.get(key)?.deref() === undefined) this.#forgotten.delete(key);
  });
  #stopSweep: (() => void) | undefined;

  constructor(create: (nodeId: string) => P, clock: PoolClock) {
    this.#create = create;
    this.#clock = clock;
  }

  /** In the order in which they became known. */
  get all(): readonly P[] {
    return [...this.#known.values()];
  }

  /** The known peers, and the forgotten ones that somebody holds. */
  get held(): readonly P[] {
    const forgotten = [...this.#forgotten.values()].map((reference) => reference.deref());
    return [...this.all, ...forgotten.filter((peer) => peer !== undefined)];
  }

  /** How many forgotten peers somebody may still hold. */
  get forgottenCount(): number {
    return this.#forgotten.size;
  }

  get(nodeId: string): P | undefined {
    return this.#known.get(nodeId);
  }

  /** The peer of that name: the known one, a forgotten one that somebody holds, or a new one. */
  obtain(nodeId: string): P {
    this.#gone.delete(nodeId);
    const known = this.#known.get(nodeId);
    if (known !== undefined) return known;
    const peer = this.#forgotten.get(nodeId)?.deref() ?? this.#create(nodeId);
    this.#forgotten.delete(nodeId);
    this.#known.set(nodeId, peer);
    this.#stopSweep ??= this.#home.runInAsyncScope(() =>
      this.#clock.every(SWEEP_MS, () => this.review()),
    );
    return peer;
  }

  /** Looks which peers are in use, and forgets those that are gone for too long or are too many. */
  review(): void {
    const nowMs = this.#clock.nowMs();
    for (const [key, peer] of this.#known) {
      if (peer.isInUse) this.#gone.delete(key);
      else if (!this.#gone.has(key)) this.#gone.set(key, nowMs);
    }
    this.#forgetOld(nowMs);
    if (this.#known.size === 0) this.close();
  }

  /** The same for one peer that may not be in use any more, at less cost. */
  reviewOne(nodeId: string): void {
    const peer = this.#known.get(nodeId);
    if (peer === undefined || peer.isInUse || this.#gone.has(nodeId)) return;
    const nowMs = this.#clock.nowMs();
    this.#gone.set(nodeId, nowMs);
    this.#forgetOld(nowMs);
  }

  /** Ends the sweep. */
  close(): void {
    this.#stopSweep?.();
    this.#stopSweep = undefined;
  }

  #forgetOld(nowMs: number): void {
    for (const [key, sinceMs] of this.#gone) {
      if (this.#gone.size <= MAX_GONE_PEERS && nowMs - sinceMs < GONE_MS) return;
      this.#gone.delete(key);
      this.#forget(key);
    }
  }

  #forget(key: string): void {
    const peer = this.#known.get(key);
    if (peer === undefined || peer.isInUse) return;
    this.#known.delete(key);
    this.#forgotten.set(key, new WeakRef(peer));
    this.#collected.register(peer, key);
  }
}
