/**
 * How large the datagrams of one connection may be: what the path has been seen to carry. DPLPMTUD, RFC 8899; RFC 9000,
 * section 14; SPEC.md, "QUIC".
 *
 * The search begins with the first datagram that is full, so that connections of small calls cost nothing. It asks about
 * one size at a time, by probes that the peer answers, and nothing else goes in a larger datagram than one that was
 * answered for. When datagrams seem to be lost for their size, all others are as small as the base at once, until a probe
 * of the size in doubt is answered; if none is, the path is a black hole for that size.
 *
 * Pure: sizes, times and answers in, sizes and a deadline out. Sizes are bytes of UDP payload.
 */

/** What every path of QUIC carries (RFC 9000, section 14). */
export const BASE_DATAGRAM_BYTES = 1200;
/** An Ethernet's 1,500 bytes, less the headers of IPv6 and UDP. */
export const ETHERNET_DATAGRAM_BYTES = 1452;
/**
 * Sizes worth asking for where the largest is too much: IPv6's least, tunnels of IPsec and WireGuard, PPPoE, and steps
 * between them.
 */
const PLATEAUS = [1232, 1256, 1280, 1304, 1328, 1350, 1372, 1392, 1412, 1432, 1444, 1452];
/** Probes of one size while the search goes on. A lost one costs congestion window, and the search is made again. */
const SEARCH_TRIES = 2;
/** Probes of the size in doubt. Meanwhile nothing else is larger than the base, so that there is no haste. */
const CONFIRM_TRIES = 3;
/** Probes of the base size that get no answer, while smaller datagrams do, until the path is given up. */
const BASE_TRIES = 8;
/** Between those, at least; and how often that doubles while nothing at all arrives. */
const BASE_TRY_MS = 200;
const MAX_DOUBLINGS = 4;
/** After a black hole, and after a search that ended below the largest size. */
const SEARCH_AGAIN_MS = 60_000;
/** After the second such search (RFC 8899, section 5.1.1: PMTU_RAISE_TIMER). */
const RAISE_MS = 600_000;
/** The first may only say that this process had no time to read what has arrived. */
const TIMEOUTS_TO_DOUBT = 2;
/** After a doubt that an answer settled, no other for so long. */
const CALM_MS = 250;
/** Looks that are further apart say nothing of losses. */
const STALE_LOOK_MS = 1000;
/** A datagram that lacks no more than this has no room for more. */
const FULL_BYTES = 64;
/** At the base size, what is larger than this may be lost for its size. */
const SMALL_BYTES = 600;
/** Datagrams between looks at losses: few at first, and more with each look that finds nothing. */
const MIN_LOOK = 8;
const MAX_LOOK = 256;
/** Probes whose answers may still come. */
const MAX_UNANSWERED = 16;

export interface PathMtuLimits {
  /** The largest size worth trying. */
  readonly maxBytes: number;
  /** Whether that is taken without a search, until it is in doubt. */
  readonly isFixed: boolean;
}

/** A probe to be sent. */
export interface SizeProbe {
  readonly bytes: number;
  /** Whether the peer is to be asked for a sign of life by a small datagram as well: the answer tells the two apart. */
  readonly needsWitness: boolean;
}

/** What came of it all; told once. */
export type PathMtuEvent =
  | { readonly kind: 'grown'; readonly from: number; readonly to: number }
  | { readonly kind: 'blackHole'; readonly from: number; readonly to: number }
  /** Not even the base size passes. */
  | { readonly kind: 'unusable' };

type Phase =
  /** Nothing was large so far. */
  | { readonly kind: 'idle' }
  /** `sizes`: candidates, in ascending order; the ones above failed, the ones below are confirmed. */
  | { readonly kind: 'searching'; sizes: readonly number[]; bytes: number; tries: number }
  | { readonly kind: 'settled'; readonly againAtMs: number }
  | { readonly kind: 'doubting'; tries: number; hasWitness: boolean; silent: number }
  | { readonly kind: 'unusable' };

/** Called with what came of a step. */
export type OnPathMtuEvent = (event: PathMtuEvent) => void;

export class PathMtu {
  /** The largest ordinary datagram now. */
  bytes = BASE_DATAGRAM_BYTES;
  readonly #onEvent: OnPathMtuEvent;
  #limits: PathMtuLimits;
  #phase: Phase = { kind: 'idle' };
  #confirmed = BASE_DATAGRAM_BYTES;
  /** When the current probe counts as lost; a probe is due from then on. Infinite while there is nothing to ask. */
  #dueAtMs = Number.POSITIVE_INFINITY;
  /** Larger ones are sent, and may be lost, for their size. */
  #largeBytes = SMALL_BYTES;
  /** Large datagrams since one was last known to have arrived. */
  #largeSent = 0;
  /** Until losses are to be looked at. */
  #datagramsToLook = MIN_LOOK;
  #lookEvery = MIN_LOOK;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #lostBefore = 0;
  #doubtFromMs = Number.NEGATIVE_INFINITY;
  /** In a row. */
  #timeouts = 0;
  #searches = 0;
  readonly #unanswered = new Map<number, number>();
  #nextProbe = 0;

  constructor(limits: PathMtuLimits, onEvent: OnPathMtuEvent) {
    this.#limits = limits;
    this.#onEvent = onEvent;
    this.restart(limits);
  }

  /** Another path, of which nothing is known. */
  restart(limits: PathMtuLimits = this.#limits): void {
    this.#limits = limits;
    this.#phase = { kind: 'idle' };
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    this.#searches = 0;
    this.#unanswered.clear();
    this.#confirm(limits.isFixed ? limits.maxBytes : BASE_DATAGRAM_BYTES);
  }

  /** Until {@link nextProbe} is to be asked; infinite for never. */
  get dueAtMs(): number {
    return this.#dueAtMs;
  }

  /** The size of datagrams that were answered for last. */
  get confirmedBytes(): number {
    return this.#confirmed;
  }

  /**
   * An ordinary datagram has left.
   * @returns whether {@link look} is due
   */
  sent(bytes: number): boolean {
    if (bytes <= this.#largeBytes) return false;
    this.#largeSent += 1;
    this.#datagramsToLook -= 1;
    return this.#datagramsToLook <= 0 || (this.#isIdle && bytes > BASE_DATAGRAM_BYTES - FULL_BYTES);
  }

  /**
   * Begins the search, or raises a doubt where much was lost.
   * @param lostPackets in all, as the binding counts them: not cheap, so asked for where it matters only
   */
  look(lostPackets: () => number, nowMs: number): void {
    if (this.#isIdle) this.#begin(nowMs);
    if (this.#datagramsToLook > 0) return;
    const lostNow = lostPackets();
    const isMuch = lostNow - this.#lostBefore >= this.#lookEvery / 2;
    const isLate = nowMs - this.#lookedAtMs > STALE_LOOK_MS;
    this.#lookEvery = isMuch || isLate ? MIN_LOOK : Math.min(2 * this.#lookEvery, MAX_LOOK);
    this.#datagramsToLook = this.#lookEvery;
    this.#lostBefore = lostNow;
    this.#lookedAtMs = nowMs;
    if (isMuch && !isLate && nowMs >= this.#doubtFromMs) this.#doubt(nowMs);
  }

  /** What was sent last is not acknowledged for a probe timeout. */
  timedOut(nowMs: number): void {
    if (this.#largeSent === 0) return;
    this.#timeouts += 1;
    if (this.#timeouts < TIMEOUTS_TO_DOUBT || nowMs < this.#doubtFromMs) return;
    this.#doubt(nowMs);
  }

  /** Something arrived. */
  heard(): void {
    this.#timeouts = 0;
  }

  /** Once in a while: a search that ended early is made again. */
  tick(nowMs: number): void {
    const phase = this.#phase;
    if (phase.kind === 'settled' && nowMs >= phase.againAtMs && this.#largeSent > 0) {
      this.#search(nowMs);
    }
  }

  /** @returns the probe that is due, which `probeSent` is to follow */
  nextProbe(nowMs: number): SizeProbe | undefined {
    if (nowMs < this.#dueAtMs) return undefined;
    this.#expire(nowMs);
    const phase = this.#phase;
    if (phase.kind === 'searching') return { bytes: phase.bytes, needsWitness: false };
    if (phase.kind !== 'doubting') return undefined;
    return { bytes: this.#confirmed, needsWitness: this.#confirmed === BASE_DATAGRAM_BYTES };
  }

  /**
   * A probe has left.
   * @param bytes its size, which may be a few bytes less than was asked for
   * @param patienceMs after which it counts as lost
   * @returns by which name {@link answered} knows it
   */
  probeSent(bytes: number, nowMs: number, patienceMs: number): number {
    const phase = this.#phase;
    if (phase.kind === 'searching' || phase.kind === 'doubting') phase.tries += 1;
    let waitMs = patienceMs;
    if (phase.kind === 'doubting' && this.#confirmed === BASE_DATAGRAM_BYTES) {
      waitMs = Math.max(patienceMs, BASE_TRY_MS) * 2 ** Math.min(phase.silent, MAX_DOUBLINGS);
      phase.hasWitness = false;
    }
    this.#dueAtMs = nowMs + waitMs;
    this.#nextProbe += 1;
    this.#unanswered.set(this.#nextProbe, bytes);
    if (this.#unanswered.size > MAX_UNANSWERED) {
      const [oldest] = this.#unanswered.keys();
      this.#unanswered.delete(oldest as number);
    }
    return this.#nextProbe;
  }

  /** The probe could not be sent now, for want of congestion window. */
  probeDelayed(nowMs: number, patienceMs: number): void {
    this.#dueAtMs = nowMs + patienceMs;
  }

  /** A probe has arrived, maybe later than it was waited for. */
  answered(probe: number, nowMs: number): void {
    const bytes = this.#unanswered.get(probe);
    if (bytes === undefined) return;
    this.#unanswered.delete(probe);
    this.#largeSent = 0;
    const phase = this.#phase;
    if (phase.kind === 'doubting') {
      if (bytes < this.#confirmed) return;
      this.#doubtFromMs = nowMs + CALM_MS;
      this.#confirm(this.#confirmed);
      if (this.#searches > 0) this.#settle(nowMs);
      else this.#begin(nowMs);
    }
    if (bytes > this.#confirmed) {
      this.#onEvent({ kind: 'grown', from: this.#confirmed, to: bytes });
      this.#confirm(bytes);
    }
    if (phase.kind === 'searching' && bytes >= phase.bytes - SHORT_BYTES) this.#goOn(nowMs);
  }

  /** A small datagram that left after the last probe has arrived. */
  witnessed(): void {
    if (this.#phase.kind === 'doubting') this.#phase.hasWitness = true;
  }

  get #isIdle(): boolean {
    return this.#phase.kind === 'idle';
  }

  #begin(nowMs: number): void {
    if (this.#limits.isFixed || this.#limits.maxBytes <= this.#confirmed) this.#settle(nowMs);
    else this.#search(nowMs);
  }

  #search(nowMs: number): void {
    const { maxBytes } = this.#limits;
    this.#searches += 1;
    const sizes = PLATEAUS.filter((size) => size > this.#confirmed && size < maxBytes);
    if (maxBytes > this.#confirmed) sizes.push(maxBytes);
    if (sizes.length === 0) {
      this.#settle(nowMs);
      return;
    }
    this.#phase = { kind: 'searching', sizes, bytes: maxBytes, tries: 0 };
    this.#dueAtMs = nowMs;
  }

  /** The size that was asked for passes, or does not: on to the next, which halves what is left. */
  #goOn(nowMs: number): void {
    const phase = this.#phase;
    if (phase.kind !== 'searching') return;
    const hasPassed = this.#confirmed >= phase.bytes - SHORT_BYTES;
    const left = phase.sizes.filter((size) =>
      hasPassed ? size > phase.bytes : size < phase.bytes && size > this.#confirmed,
    );
    if (left.length === 0) {
      this.#settle(nowMs);
      return;
    }
    // Below the largest, most paths carry what an Ethernet does.
    const isJumbo = phase.bytes > ETHERNET_DATAGRAM_BYTES;
    const index = isJumbo && !hasPassed ? left.length - 1 : left.length >> 1;
    this.#phase = { kind: 'searching', sizes: left, bytes: left[index] as number, tries: 0 };
    this.#dueAtMs = nowMs;
  }

  #settle(nowMs: number): void {
    const isDone = this.#confirmed >= this.#limits.maxBytes - SHORT_BYTES;
    const againMs = this.#searches > 1 ? RAISE_MS : SEARCH_AGAIN_MS;
    this.#phase = {
      kind: 'settled',
      againAtMs: isDone ? Number.POSITIVE_INFINITY : nowMs + againMs,
    };
    this.#dueAtMs = Number.POSITIVE_INFINITY;
  }

  /** While a search goes on, its own probes may be what is lost; and it ends soon. */
  #doubt(nowMs: number): void {
    const { kind } = this.#phase;
    if (kind !== 'idle' && kind !== 'settled') return;
    this.#phase = { kind: 'doubting', tries: 0, hasWitness: false, silent: 0 };
    this.bytes = BASE_DATAGRAM_BYTES;
    this.#dueAtMs = nowMs;
  }

  /** The last probe had its time. */
  #expire(nowMs: number): void {
    const phase = this.#phase;
    if (phase.kind === 'searching') {
      if (phase.tries >= SEARCH_TRIES) this.#goOn(nowMs);
      return;
    }
    if (phase.kind !== 'doubting' || phase.tries === 0) return;
    if (this.#confirmed > BASE_DATAGRAM_BYTES) {
      if (phase.tries < CONFIRM_TRIES) return;
      this.#onEvent({ kind: 'blackHole', from: this.#confirmed, to: BASE_DATAGRAM_BYTES });
      this.#confirm(BASE_DATAGRAM_BYTES);
      this.#searches = 1;
      this.#settle(nowMs);
      return;
    }
    // Where nothing at all arrives, size is not what is wrong.
    if (phase.hasWitness) {
      phase.silent = 0;
    } else {
      phase.silent += 1;
      phase.tries -= 1;
    }
    if (phase.tries < BASE_TRIES) return;
    this.#phase = { kind: 'unusable' };
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    this.#onEvent({ kind: 'unusable' });
  }

  #confirm(bytes: number): void {
    this.#confirmed = bytes;
    this.bytes = bytes;
    this.#largeBytes = bytes > BASE_DATAGRAM_BYTES ? BASE_DATAGRAM_BYTES : SMALL_BYTES;
    this.#largeSent = 0;
    this.#datagramsToLook = MIN_LOOK;
    this.#lookEvery = MIN_LOOK;
  }
}

/** A probe may be so much smaller than the size it is for: the length of packet numbers is not known before. */
export const SHORT_BYTES = 3;
