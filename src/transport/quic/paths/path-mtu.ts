/**
 * Finds the largest datagram that the path of one connection carries. DPLPMTUD, RFC 8899; RFC 9000, section 14; SPEC.md,
 * "Datagram sizes".
 *
 * The search begins with the first full datagram, so that connections with small calls pay nothing. It probes one size at a
 * time. A larger datagram is used only after the peer has answered a probe of its size.
 *
 * When datagrams seem to be lost because of their size, that size is in doubt. Datagrams shrink to the base size at once, until
 * a probe of the size in doubt is answered. If none is answered while smaller datagrams arrive, the path is a black hole for
 * that size.
 *
 * Pure: sizes, times and answers in, sizes and a deadline out. Sizes are bytes of UDP payload.
 */
import { LazyMap } from '../../../base/lazy-collections.js';
import { LossLook } from './loss-look.js';
import { SizeSearch } from './size-search.js';

/** The datagram size that every QUIC path carries (RFC 9000, section 14). */
export const BASE_DATAGRAM_BYTES = 1200;
/** How much smaller a probe may be than the size it is for: the length of its packet number is not known before. */
export const SHORT_BYTES = 3;
/** How many probes of the size in doubt must go unanswered, while smaller datagrams arrive, to prove a black hole. */
const DOUBT_TRIES = 3;
/** How often a search's next probe may find no room in the congestion window. */
const MAX_DELAYS = 3;
/** As {@link DOUBT_TRIES}, for the base size: the path is unusable then. */
const BASE_TRIES = 8;
/** How many probes of the base size must arrive without an answer to show that the peer answers none. */
const ARRIVED_TRIES = 3;
/** The least time between probes of a doubt, and how often it doubles while nothing at all arrives. */
const DOUBT_WAIT_MS = 200;
const MAX_DOUBLINGS = 4;
/** Until the next search, after a black hole, and after a first search that ended below the largest size. */
const SEARCH_AGAIN_MS = 60_000;
/** The same after later searches (PMTU_RAISE_TIMER of RFC 8899, section 5.1.1). */
const RAISE_MS = 600_000;
/** How many probe timeouts in a row raise a doubt. A single one may only mean that this process was too busy to read. */
const TIMEOUTS_TO_DOUBT = 2;
/** How long after a doubt that an answer settled no other one begins. */
const CALM_MS = 250;
/** A datagram counts as full if no more than this is free. */
const FULL_BYTES = 64;
/** While the base size is in use, larger datagrams than this may be lost because of their size. */
const SMALL_BYTES = 600;
/** How many unanswered probes are remembered, because their answers may still come. */
const MAX_UNANSWERED = 16;

export interface PathMtuLimits {
  /** The largest size worth trying. */
  readonly maxBytes: number;
  /** Whether that size is used without a search, until it is in doubt. */
  readonly isFixed: boolean;
  /**
   * Whether the search begins with the connection, and not with the first full datagram. So on loopback, where datagrams can be
   * so large that a first window of small ones costs much time. Default false.
   */
  readonly isEager?: boolean | undefined;
}

/** A probe to be sent. */
export interface SizeProbe {
  readonly bytes: number;
  /** Whether to ask the peer for an answer by a small datagram, too: it tells a lost size from a lost path. */
  readonly needsWitness: boolean;
}

/** What a step has found. Each finding is reported once. */
export type PathMtuEvent =
  | { readonly kind: 'grown'; readonly from: number; readonly to: number }
  | { readonly kind: 'blackHole'; readonly from: number; readonly to: number }
  /** Not even the base size passes. */
  | { readonly kind: 'unusable' };

type Phase =
  /** No datagram was full so far. */
  | { readonly kind: 'idle' }
  /** `delays`: how often the next probe found no room. */
  | { readonly kind: 'searching'; readonly search: SizeSearch; delays: number }
  | { readonly kind: 'settled'; readonly againAtMs: number }
  /**
   * `tries`: probes without an answer while their witness had one; `silent`: probes in a row where neither had one. For the base
   * size: `lostBefore`, the lost packets when the probe left; `arrived`: probes without an answer after which no packet was lost.
   */
  | {
      readonly kind: 'doubting';
      /** The search that goes on if the doubt proves wrong. */
      readonly search: SizeSearch | undefined;
      tries: number;
      silent: number;
      arrived: number;
      lostBefore: number;
      hasAsked: boolean;
      isHeard: boolean;
    }
  | { readonly kind: 'unusable' };

/**
 * Decides how large the datagrams of one connection may be, by what its path was found to carry. DPLPMTUD, RFC 8899. Pure:
 * sizes, times and answers in, sizes and a deadline out, in bytes of UDP payload.
 */
export class PathMtu {
  /** The largest datagram, other than a probe, that may be sent now. */
  bytes = BASE_DATAGRAM_BYTES;
  readonly #onEvent: (event: PathMtuEvent) => void;
  readonly #losses = new LossLook();
  /** The sizes of probes, by their numbers. */
  readonly #unanswered = new LazyMap<number, number>();
  #limits: PathMtuLimits;
  #phase: Phase = { kind: 'idle' };
  #confirmed = BASE_DATAGRAM_BYTES;
  #dueAtMs = Number.POSITIVE_INFINITY;
  /** Larger datagrams than this may be lost because of their size. */
  #largeBytes = SMALL_BYTES;
  /** Whether such a datagram was sent since one is known to have arrived. */
  #hasSentLarge = false;
  /** Probe timeouts in a row. */
  #timeouts = 0;
  /** Whether something has arrived since a probe was last delayed. */
  #isAlive = true;
  #doubtFromMs = Number.NEGATIVE_INFINITY;
  #searches = 0;
  #probesSent = 0;
  #probesAnswered = 0;

  /** @param onEvent called during a step, with what it found */
  constructor(limits: PathMtuLimits, onEvent: (event: PathMtuEvent) => void) {
    this.#limits = limits;
    this.#onEvent = onEvent;
    this.restart(limits);
  }

  /** Begins anew on a path of which nothing is known. */
  restart(limits: PathMtuLimits): void {
    this.#limits = limits;
    this.#phase = { kind: 'idle' };
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    this.#searches = 0;
    this.#unanswered.clear();
    this.#confirm(limits.isFixed ? limits.maxBytes : BASE_DATAGRAM_BYTES);
  }

  /** The handshake is done: probes may be sent. */
  opened(nowMs: number): void {
    if (this.#limits.isEager === true && this.#phase.kind === 'idle') this.#begin(nowMs);
  }

  /** When {@link nextProbe} is to be asked; infinite for never. */
  get dueAtMs(): number {
    return this.#dueAtMs;
  }

  /** The size that the path is known to carry, also while it is in doubt. */
  get confirmedBytes(): number {
    return this.#confirmed;
  }

  /** Whether probes are for the size in use, and not for a larger one. */
  get isDoubting(): boolean {
    return this.#phase.kind === 'doubting';
  }

  /** A datagram, other than a probe, has left. @returns whether {@link look} is due */
  sent(bytes: number): boolean {
    if (bytes <= this.#largeBytes) return false;
    this.#hasSentLarge = true;
    const isFull = bytes > BASE_DATAGRAM_BYTES - FULL_BYTES;
    return this.#losses.sent() || (isFull && this.#phase.kind === 'idle');
  }

  /**
   * Begins the search, or raises a doubt if much was lost.
   * @param lostPackets in all, as the binding counts them
   */
  look(lostPackets: () => number, nowMs: number): void {
    if (this.#phase.kind === 'idle') this.#begin(nowMs);
    const probes = this.#probesSent - this.#probesAnswered;
    if (this.#losses.isMuchLost(lostPackets, probes, nowMs)) this.#doubt(nowMs);
  }

  /** The latest packets were not acknowledged within a probe timeout. */
  timedOut(nowMs: number): void {
    this.#timeouts += 1;
    if (this.#hasSentLarge && this.#timeouts >= TIMEOUTS_TO_DOUBT) this.#doubt(nowMs);
  }

  /** A datagram arrived. */
  heard(): void {
    this.#timeouts = 0;
    this.#isAlive = true;
  }

  /** Call it once in a while: repeats a search that ended below the largest size, if large datagrams are sent. */
  tick(nowMs: number): void {
    const phase = this.#phase;
    if (phase.kind !== 'settled' || nowMs < phase.againAtMs || !this.#hasSentLarge) return;
    this.#search(nowMs);
  }

  /**
   * @param lostPackets in all, as the binding counts them
   * @returns the probe that is due; then call {@link probeSent} or {@link probeDelayed}
   */
  nextProbe(lostPackets: () => number, nowMs: number): SizeProbe | undefined {
    if (nowMs < this.#dueAtMs) return undefined;
    if (this.#phase.kind === 'searching' && !this.#phase.search.unanswered()) this.#settle(nowMs);
    if (this.#phase.kind === 'doubting') this.#judgeDoubt(this.#phase, lostPackets, nowMs);
    if (this.#phase.kind === 'searching') {
      return { bytes: this.#phase.search.bytes, needsWitness: false };
    }
    if (this.#phase.kind !== 'doubting') return undefined;
    if (this.#confirmed === BASE_DATAGRAM_BYTES) this.#phase.lostBefore = lostPackets();
    return { bytes: this.#confirmed, needsWitness: true };
  }

  /**
   * A probe has left.
   * @param bytes its size, which may be up to 3 bytes less than asked for
   * @param patienceMs how long to wait for the answer before the probe counts as lost
   * @returns its number, for {@link answered}
   */
  probeSent(bytes: number, nowMs: number, patienceMs: number): number {
    const phase = this.#phase;
    this.#dueAtMs = nowMs + patienceMs;
    if (phase.kind === 'searching') phase.search.asked();
    if (phase.kind === 'doubting') {
      phase.hasAsked = true;
      phase.isHeard = false;
      const doublings = Math.min(phase.silent, MAX_DOUBLINGS);
      this.#dueAtMs = nowMs + Math.max(patienceMs, DOUBT_WAIT_MS) * 2 ** doublings;
    }
    this.#probesSent += 1;
    this.#unanswered.set(this.#probesSent, bytes);
    if (this.#unanswered.size > MAX_UNANSWERED) {
      const [oldest] = this.#unanswered.keys();
      this.#unanswered.delete(oldest as number);
    }
    return this.#probesSent;
  }

  /**
   * The probe found no room in the congestion window, although no new stream bytes were handed over. If that happens again and
   * again while datagrams of the peer arrive, a search ends, because it would hold up everything else. In a doubt it counts
   * against the path: small packets fill the window, are retransmitted again and again, and do not arrive either.
   */
  probeDelayed(nowMs: number, patienceMs: number): void {
    this.#dueAtMs = nowMs + patienceMs;
    const phase = this.#phase;
    if (this.#isAlive && phase.kind === 'searching') {
      phase.delays += 1;
      if (phase.delays >= MAX_DELAYS) this.#settle(nowMs);
    }
    if (this.#isAlive && phase.kind === 'doubting' && this.#confirmed > BASE_DATAGRAM_BYTES) {
      phase.tries += 1;
      this.#conclude(phase, nowMs);
    }
    this.#isAlive = false;
  }

  /** The peer has answered a probe, maybe after its time. */
  answered(probe: number, nowMs: number): void {
    const bytes = this.#unanswered.get(probe);
    if (bytes === undefined) return;
    this.#unanswered.delete(probe);
    this.#probesAnswered += 1;
    this.#hasSentLarge = false;
    if (this.#phase.kind === 'doubting') {
      if (bytes < this.#confirmed) return;
      this.#doubtFromMs = nowMs + CALM_MS;
      this.#confirm(this.#confirmed);
      this.#goOn(this.#phase.search, nowMs);
    }
    if (bytes > this.#confirmed) {
      this.#onEvent({ kind: 'grown', from: this.#confirmed, to: bytes });
      this.#confirm(bytes);
    }
    const phase = this.#phase;
    if (phase.kind !== 'searching' || bytes < phase.search.bytes - SHORT_BYTES) return;
    if (phase.search.passed()) this.#dueAtMs = nowMs;
    else this.#settle(nowMs);
  }

  /** The peer has answered the small datagram that left with the last probe. */
  witnessed(): void {
    if (this.#phase.kind === 'doubting') this.#phase.isHeard = true;
  }

  /** A doubt has proved wrong. */
  #goOn(search: SizeSearch | undefined, nowMs: number): void {
    if (search !== undefined) {
      this.#phase = { kind: 'searching', search, delays: 0 };
      this.#dueAtMs = nowMs;
    } else if (this.#searches > 0) this.#settle(nowMs);
    else this.#begin(nowMs);
  }

  #begin(nowMs: number): void {
    if (this.#limits.isFixed) this.#settle(nowMs);
    else this.#search(nowMs);
  }

  #search(nowMs: number): void {
    const { maxBytes } = this.#limits;
    this.#searches += 1;
    if (maxBytes <= this.#confirmed) {
      this.#settle(nowMs);
      return;
    }
    const search = new SizeSearch(this.#confirmed, maxBytes);
    this.#phase = { kind: 'searching', search, delays: 0 };
    this.#dueAtMs = nowMs;
  }

  #settle(nowMs: number): void {
    const isDone = this.#confirmed >= this.#limits.maxBytes - SHORT_BYTES;
    const againMs = this.#searches > 1 ? RAISE_MS : SEARCH_AGAIN_MS;
    const againAtMs = isDone ? Number.POSITIVE_INFINITY : nowMs + againMs;
    this.#phase = { kind: 'settled', againAtMs };
    this.#dueAtMs = Number.POSITIVE_INFINITY;
  }

  /**
   * Begins a doubt, unless a search that has found nothing yet is under way: all datagrams are small then, and it ends soon.
   * Later the path may swallow a size that passed a moment ago, and retransmissions of that size would
   * take all the room that the next probe needs.
   */
  #doubt(nowMs: number): void {
    const { kind } = this.#phase;
    if (nowMs < this.#doubtFromMs || kind === 'doubting' || kind === 'unusable') return;
    if (kind === 'searching' && this.#confirmed === BASE_DATAGRAM_BYTES) return;
    const search = this.#phase.kind === 'searching' ? this.#phase.search : undefined;
    this.#phase = {
      kind: 'doubting',
      search,
      tries: 0,
      silent: 0,
      arrived: 0,
      lostBefore: 0,
      hasAsked: false,
      isHeard: false,
    };
    this.bytes = BASE_DATAGRAM_BYTES;
    this.#dueAtMs = nowMs;
  }

  /**
   * The time of the last probe is up. While nothing at all arrives, the fault is not the size. A peer SHOULD answer probes, and
   * need not: a path is given up only if its probes are lost, too.
   */
  #judgeDoubt(doubt: Phase & { kind: 'doubting' }, lostPackets: () => number, nowMs: number): void {
    if (!doubt.hasAsked) return;
    doubt.silent = doubt.isHeard ? 0 : doubt.silent + 1;
    if (!doubt.isHeard) return;
    const isBase = this.#confirmed === BASE_DATAGRAM_BYTES;
    if (isBase && lostPackets() === doubt.lostBefore) doubt.arrived += 1;
    else doubt.tries += 1;
    this.#conclude(doubt, nowMs);
  }

  #conclude(doubt: Phase & { kind: 'doubting' }, nowMs: number): void {
    if (this.#confirmed === BASE_DATAGRAM_BYTES) {
      if (doubt.arrived >= ARRIVED_TRIES) {
        this.#doubtFromMs = nowMs + SEARCH_AGAIN_MS;
        this.#goOn(doubt.search, nowMs);
        return;
      }
      if (doubt.tries < BASE_TRIES) return;
      this.#phase = { kind: 'unusable' };
      this.#dueAtMs = Number.POSITIVE_INFINITY;
      this.#onEvent({ kind: 'unusable' });
    } else if (doubt.tries >= DOUBT_TRIES) {
      this.#onEvent({ kind: 'blackHole', from: this.#confirmed, to: BASE_DATAGRAM_BYTES });
      this.#confirm(BASE_DATAGRAM_BYTES);
      this.#searches = 1;
      this.#settle(nowMs);
    }
  }

  #confirm(bytes: number): void {
    this.#confirmed = bytes;
    this.bytes = bytes;
    this.#largeBytes = bytes > BASE_DATAGRAM_BYTES ? BASE_DATAGRAM_BYTES : SMALL_BYTES;
    this.#hasSentLarge = false;
    this.#losses.restart();
  }
}
