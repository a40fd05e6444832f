/**
 * How large the datagrams of one connection may be: what the path has been seen to carry. DPLPMTUD, RFC 8899; RFC 9000,
 * section 14; SPEC.md, "Datagram sizes".
 *
 * The search begins with the first datagram that is full, so that connections of small calls cost nothing. It asks about
 * one size at a time, by probes that the peer answers, and nothing else goes in a larger datagram than one that was
 * answered for. When datagrams seem to be lost for their size, all others are as small as the base at once, until a probe
 * of the size in doubt is answered. If none is, while smaller datagrams do arrive, the path is a black hole for that size.
 *
 * Pure: sizes, times and answers in, sizes and a deadline out. Sizes are bytes of UDP payload.
 */
import { LossLook } from './loss-look.js';
import { SizeSearch } from './size-search.js';

/** What every path of QUIC carries (RFC 9000, section 14). */
export const BASE_DATAGRAM_BYTES = 1200;
/** A probe may be so much smaller than the size it is for: the length of packet numbers is not known before. */
export const SHORT_BYTES = 3;
/** Probes of the size in doubt, and of the base, that get no answer while smaller datagrams do. */
const DOUBT_TRIES = 3;
/** Times that a search's next probe may find no room. */
const MAX_DELAYS = 3;
const BASE_TRIES = 8;
/** Between those, at least; and how often that doubles while nothing at all arrives. */
const DOUBT_WAIT_MS = 200;
const MAX_DOUBLINGS = 4;
/** After a black hole, and after a first search that ended below the largest size. */
const SEARCH_AGAIN_MS = 60_000;
/** After later ones (RFC 8899, section 5.1.1: PMTU_RAISE_TIMER). */
const RAISE_MS = 600_000;
/** The first may only say that this process had no time to read what has arrived. */
const TIMEOUTS_TO_DOUBT = 2;
/** After a doubt that an answer settled, no other for so long. */
const CALM_MS = 250;
/** A datagram that lacks no more than this has no room for more. */
const FULL_BYTES = 64;
/** At the base size, what is larger than this may be lost for its size. */
const SMALL_BYTES = 600;
/** Probes whose answers may still come. */
const MAX_UNANSWERED = 16;

export interface PathMtuLimits {
  /** The largest size worth trying. */
  readonly maxBytes: number;
  /** Whether that is taken without a search, until it is in doubt. */
  readonly isFixed: boolean;
  /**
   * Whether the search begins with the connection, and not with the first full datagram: on loopback, where so much more goes
   * in a datagram that a first window of small ones takes long. Default false.
   */
  readonly isEager?: boolean | undefined;
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
  /** `delays`: times that the next probe found no room. */
  | { readonly kind: 'searching'; readonly search: SizeSearch; delays: number }
  | { readonly kind: 'settled'; readonly againAtMs: number }
  /** `tries`: probes without an answer while a witness had one; `silent`: those without either, in a row. */
  | {
      readonly kind: 'doubting';
      /** What goes on once the doubt comes to nothing. */
      readonly search: SizeSearch | undefined;
      tries: number;
      silent: number;
      hasAsked: boolean;
      isHeard: boolean;
    }
  | { readonly kind: 'unusable' };

/**
 * Decides how large the datagrams of one connection may be: what its path has been seen to carry. DPLPMTUD, RFC 8899.
 * Pure: sizes, times and answers in, sizes and a deadline out, in bytes of UDP payload.
 */
export class PathMtu {
  /** The largest ordinary datagram now. */
  bytes = BASE_DATAGRAM_BYTES;
  readonly #onEvent: (event: PathMtuEvent) => void;
  readonly #losses = new LossLook();
  /** Sizes of probes, by their names. */
  readonly #unanswered = new Map<number, number>();
  #limits: PathMtuLimits;
  #phase: Phase = { kind: 'idle' };
  #confirmed = BASE_DATAGRAM_BYTES;
  #dueAtMs = Number.POSITIVE_INFINITY;
  /** Larger ones are sent, and may be lost for their size. */
  #largeBytes = SMALL_BYTES;
  /** Whether such a one was sent since one was last known to have arrived. */
  #hasSentLarge = false;
  /** In a row. */
  #timeouts = 0;
  /** Whether something has arrived since a probe was last put off. */
  #isAlive = true;
  #doubtFromMs = Number.NEGATIVE_INFINITY;
  #searches = 0;
  #probesSent = 0;
  #probesAnswered = 0;

  /** @param onEvent called with what came of a step, within it */
  constructor(limits: PathMtuLimits, onEvent: (event: PathMtuEvent) => void) {
    this.#limits = limits;
    this.#onEvent = onEvent;
    this.restart(limits);
  }

  /** Another path, of which nothing is known. */
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

  /** The size that the path is known to carry, as long as no doubt has come true. */
  get confirmedBytes(): number {
    return this.#confirmed;
  }

  /** Whether what is asked for is the size in use, and not a larger one. */
  get isDoubting(): boolean {
    return this.#phase.kind === 'doubting';
  }

  /** An ordinary datagram has left. @returns whether {@link look} is due */
  sent(bytes: number): boolean {
    if (bytes <= this.#largeBytes) return false;
    this.#hasSentLarge = true;
    const isFull = bytes > BASE_DATAGRAM_BYTES - FULL_BYTES;
    return this.#losses.sent() || (isFull && this.#phase.kind === 'idle');
  }

  /**
   * Begins the search, or raises a doubt where much was lost.
   * @param lostPackets in all, as the binding counts them
   */
  look(lostPackets: () => number, nowMs: number): void {
    if (this.#phase.kind === 'idle') this.#begin(nowMs);
    const probes = this.#probesSent - this.#probesAnswered;
    if (this.#losses.isMuchLost(lostPackets, probes, nowMs)) this.#doubt(nowMs);
  }

  /** What was sent last is not acknowledged for a probe timeout. */
  timedOut(nowMs: number): void {
    this.#timeouts += 1;
    if (this.#hasSentLarge && this.#timeouts >= TIMEOUTS_TO_DOUBT) this.#doubt(nowMs);
  }

  /** Something arrived. */
  heard(): void {
    this.#timeouts = 0;
    this.#isAlive = true;
  }

  /** Once in a while: a search that ended early is made again, if there is a use for it. */
  tick(nowMs: number): void {
    const phase = this.#phase;
    if (phase.kind !== 'settled' || nowMs < phase.againAtMs || !this.#hasSentLarge) return;
    this.#search(nowMs);
  }

  /** @returns the probe that is due; {@link probeSent} or {@link probeDelayed} is to follow */
  nextProbe(nowMs: number): SizeProbe | undefined {
    if (nowMs < this.#dueAtMs) return undefined;
    if (this.#phase.kind === 'searching' && !this.#phase.search.unanswered()) this.#settle(nowMs);
    if (this.#phase.kind === 'doubting') this.#judgeDoubt(this.#phase, nowMs);
    if (this.#phase.kind === 'searching') {
      return { bytes: this.#phase.search.bytes, needsWitness: false };
    }
    if (this.#phase.kind === 'doubting') return { bytes: this.#confirmed, needsWitness: true };
    return undefined;
  }

  /**
   * A probe has left.
   * @param bytes its size, which may be up to 3 bytes less than was asked for
   * @param patienceMs after which it counts as lost
   * @returns by which name {@link answered} knows it
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
   * The probe could not be sent now, for want of congestion window, although nothing new was handed over. Where that happens
   * again and again while the peer is heard, a search would hold up all else: it ends. In a doubt what takes all room is small,
   * and sent again and again: it does not arrive either.
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

  /** A probe has arrived, maybe later than it was waited for. */
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

  /** A small datagram that left with the last probe has arrived. */
  witnessed(): void {
    if (this.#phase.kind === 'doubting') this.#phase.isHeard = true;
  }

  /** A doubt has come to nothing. */
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
   * A search is a reason to wait as long as it has found nothing: all is small then, and it ends soon. Later, the path may
   * swallow what was found to pass a moment ago. What is then sent again and again takes all room that the next probe would need.
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
      hasAsked: false,
      isHeard: false,
    };
    this.bytes = BASE_DATAGRAM_BYTES;
    this.#dueAtMs = nowMs;
  }

  /** The last probe had its time. Where nothing at all arrives, size is not what is wrong. */
  #judgeDoubt(doubt: Phase & { kind: 'doubting' }, nowMs: number): void {
    if (!doubt.hasAsked) return;
    doubt.silent = doubt.isHeard ? 0 : doubt.silent + 1;
    if (doubt.isHeard) doubt.tries += 1;
    this.#conclude(doubt, nowMs);
  }

  #conclude(doubt: Phase & { kind: 'doubting' }, nowMs: number): void {
    if (this.#confirmed === BASE_DATAGRAM_BYTES) {
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
