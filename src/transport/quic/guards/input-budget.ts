/**
 * How much a peer may send that brings nothing: a guard against holes of quiche 0.18.0, which keeps without limit what
 * some frames carry (CVE-2023-6193, CVE-2024-1410, CVE-2024-1765). SECURITY.md.
 *
 * Frames cannot be seen from here. But apart from a few bytes of each datagram, an honest peer sends either stream bytes,
 * which are read soon, or acknowledgements, which are few beside what they acknowledge. What a connection received beyond
 * that is its debt. Stream bytes that wait, for a lost one before them or for a paused reader, are debt until they are read.
 * So a peer that sends many stream bytes may owe more.
 *
 * Pure: counts in, verdicts out. A datagram costs two additions and a comparison; the rest is done once for so many
 * bytes.
 */

/** What is judged: totals of a connection since its beginning, in bytes. */
export interface InputTotals {
  /** Read from streams. */
  readonly read: number;
  readonly sent: number;
}

/** Facts that cost something to find out: asked for only once a peer owes more than it may. */
export interface InputWitness {
  /** Bytes of datagrams that were authentic, since the beginning: anyone can send others. */
  authenticBytes(): number;
  /** Stream bytes that may wait because nobody reads them now: a window's worth, or none. */
  unreadBytes(): number;
}

/** Every peer may owe so much. */
const BASE_BYTES = 512 * 1024;
const JUDGE_EVERY_BYTES = 64 * 1024;
/** Allowed for each datagram: packet header and tag, frame headers, and one or two small frames. */
const OVERHEAD_BYTES = 64;
/** Share of the bytes sent that may come back as acknowledgements. Without loss it is less. */
const ACKNOWLEDGED_FRACTION = 1 / 4;
/** Share of the stream bytes read that may come twice because QUIC took them for lost. */
const REPEATED_FRACTION = 1 / 16;
/** After so long, what was read counts by half. */
const HALF_LIFE_MS = 10_000;
/** Of a peer that owes so much, datagrams are timed: the more the binding keeps of a peer, the longer they take. */
const STRAINED_BYTES = 128 * 1024;
const SLOW_MS = 200;
const MAX_SLOW = 4;

/**
 * Bounds what a peer may send that brings nothing: a guard against frames that quiche 0.18.0 keeps without limit. Pure:
 * counts in, verdicts out. SECURITY.md.
 */
export class InputBudget {
  readonly #maxWaitingBytes: number;
  #received = 0;
  #datagrams = 0;
  #judgeAt = JUDGE_EVERY_BYTES;
  #debt = 0;
  #slow = 0;
  #readLately = 0;
  #lastMs = 0;
  #before = { received: 0, datagrams: 0, read: 0, sent: 0, foreign: 0 };

  /** @param maxWaitingBytes as much as may wait on all streams */
  constructor(maxWaitingBytes: number) {
    this.#maxWaitingBytes = maxWaitingBytes;
  }

  /** Counts a datagram. @returns whether it is time to judge */
  count(bytes: number): boolean {
    this.#received += bytes;
    this.#datagrams += 1;
    return this.#received >= this.#judgeAt;
  }

  /** Whether it is worth a look at the clock how long the binding takes for a datagram: see `took`. */
  get isStrained(): boolean {
    return this.#debt > STRAINED_BYTES;
  }

  /** Bytes that arrived and were not read. Of an honest peer they wait for readers. */
  get owedBytes(): number {
    return this.#debt;
  }

  /** The binding took so many milliseconds for a datagram. */
  took(ms: number): void {
    if (ms > SLOW_MS) this.#slow += 1;
  }

  /** @returns what the peer did too much of; `undefined` when all is well */
  judge(totals: InputTotals, nowMs: number, witness: InputWitness): string | undefined {
    this.#judgeAt = this.#received + JUDGE_EVERY_BYTES;
    this.#addUp(totals, nowMs);
    if (this.#slow >= MAX_SLOW)
      return `${this.#slow} datagrams took longer than ${SLOW_MS} ms each`;
    if (this.#excess <= 0) return undefined;
    this.#forgiveForeign(witness.authenticBytes());
    if (this.#excess <= 0 || this.#excess <= witness.unreadBytes()) return undefined;
    return `${Math.round(this.#debt)} bytes arrived that brought nothing`;
  }

  get #excess(): number {
    return this.#debt - BASE_BYTES - Math.min(this.#readLately, this.#maxWaitingBytes);
  }

  /** Removes from the debt what others sent under the connection's ID. */
  #forgiveForeign(authenticBytes: number): void {
    const foreign = this.#received - authenticBytes;
    this.#debt = Math.max(0, this.#debt - (foreign - this.#before.foreign));
    this.#before.foreign = foreign;
  }

  /** Turns what happened since the last time into debt. It never falls below zero: nobody saves up for later. */
  #addUp({ read, sent }: InputTotals, nowMs: number): void {
    const before = this.#before;
    const readNow = read - before.read;
    const due =
      this.#received -
      before.received -
      OVERHEAD_BYTES * (this.#datagrams - before.datagrams) -
      readNow * (1 + REPEATED_FRACTION) -
      (sent - before.sent) * ACKNOWLEDGED_FRACTION;
    this.#debt = Math.max(0, this.#debt + due);
    this.#readLately = this.#readLately * 0.5 ** ((nowMs - this.#lastMs) / HALF_LIFE_MS) + readNow;
    this.#lastMs = nowMs;
    before.received = this.#received;
    before.datagrams = this.#datagrams;
    before.read = read;
    before.sent = sent;
  }
}
