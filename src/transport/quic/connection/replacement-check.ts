/**
 * Tells when a new connection should take the place of one, because quiche 0.18.0 cannot repair it: its keys have protected
 * many packets, it has had many paths, or its RTT estimate is wrong.
 */
import type { NativeConnection } from '../binding/native.js';
import type { ConnectionPaths } from '../paths/paths.js';
import type { DatagramPump } from './datagram-pump.js';
import { activePath } from './loss-timer.js';
import { RttWatch } from './rtt-watch.js';

/**
 * AES-GCM may protect 2^23 packets under one key (RFC 9001, section 6.6), and quiche 0.18.0 starts no key updates. A new
 * connection is due well before that.
 */
const MANY_DATAGRAMS = 2 ** 22;

export interface ReplacementCheckOptions {
  readonly native: NativeConnection;
  readonly paths: ConnectionPaths;
  readonly pump: DatagramPump;
}

/** Holds the counts and looks by which one connection is judged. */
export class ReplacementCheck {
  datagramsReceived = 0;
  readonly #options: ReplacementCheckOptions;
  readonly #rttWatch = new RttWatch();
  #rttLookedAtMs = 0;

  constructor(options: ReplacementCheckOptions) {
    this.#options = options;
  }

  /**
   * Whether a new connection is due.
   * @param lastReceivedMs when something last arrived: before that, nothing can have changed
   */
  isDue(lastReceivedMs: number): boolean {
    const { paths, pump } = this.#options;
    return (
      paths.needsReplacement ||
      pump.datagramsSent >= MANY_DATAGRAMS ||
      this.datagramsReceived >= MANY_DATAGRAMS ||
      this.#isRttWrong(lastReceivedMs)
    );
  }

  #isRttWrong(lastReceivedMs: number): boolean {
    // Where nothing has arrived, the estimate is what it was; and asking the native connection is not cheap.
    if (this.#rttLookedAtMs >= lastReceivedMs) return false;
    this.#rttLookedAtMs = performance.now();
    const path = activePath(this.#options.native);
    if (path === undefined) return false;
    const { rtt: rttMs, cwnd: windowBytes, pmtu } = path;
    return this.#rttWatch.isRunaway(rttMs, windowBytes / pmtu);
  }
}
