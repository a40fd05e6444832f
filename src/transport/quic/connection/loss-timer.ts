/**
 * The timer of one connection: it fires when the native connection's own timeout is over, or earlier, when the tail of a
 * flight may be lost ({@link TailProbe}).
 */
import { Alarm, type Alarms } from '../../../base/alarms.js';
import type { NativeConnection } from '../binding/native.js';
import { TailProbe } from './tail-probe.js';

/** Arms one timer for whatever the connection waits for, and keeps the shortest round trip that it saw. */
export class LossTimer {
  readonly #native: NativeConnection;
  readonly #idleTimeoutMs: number;
  readonly #alarm: Alarm;
  readonly #probe = new TailProbe();

  /** @param idleTimeoutMs this side's; 0 is none */
  constructor(
    native: NativeConnection,
    idleTimeoutMs: number,
    alarms: Alarms,
    timedOut: () => void,
  ) {
    this.#native = native;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#alarm = new Alarm(alarms, timedOut);
  }

  /** The handshake is done, and the peer's idle timeout is known. */
  established(): void {
    this.#probe.begin(this.#shortestIdleMs());
    this.learnRtt();
  }

  /** Takes over the native connection's RTT, if it is the shortest so far. */
  learnRtt(): void {
    const rttMs = activePath(this.#native)?.rtt;
    if (rttMs !== undefined) this.#probe.learn(rttMs);
  }

  /** A datagram arrived. */
  received(): void {
    if (this.#probe.heard(this.lostPackets)) this.learnRtt();
  }

  /** How long an acknowledgement of what is sent now may take. */
  get patienceMs(): number {
    return this.#probe.patienceMs;
  }

  /** The connection takes another path: its round trip is unknown. */
  restart(): void {
    this.#probe.restart();
  }

  /** Waits for an open connection. @param silentMs since something arrived */
  armOpen(silentMs: number): void {
    this.#alarm.setIn(this.#probe.delayMs(this.#native.timeout(), silentMs));
  }

  /** Waits for the native connection alone. */
  armHandshake(): void {
    this.#alarm.setIn(this.#native.timeout());
  }

  armClosing(delayMs: number): void {
    this.#alarm.setIn(delayMs);
  }

  /** Whether the wait that is over was for a tail probe, which is to be sent now. */
  takeProbe(): boolean {
    return this.#probe.takeProbe(this.lostPackets);
  }

  /** Lost packets in all, as the native connection counts them. */
  readonly lostPackets = (): number => this.#native.stats().lost;

  stop(): void {
    this.#alarm.stop();
  }

  /** The idle timeout in force: the shorter of both sides'; 0 is none (RFC 9000, section 10.1). */
  #shortestIdleMs(): number {
    const peersMs = this.#native.stats().peerMaxIdleTimeout;
    return peersMs > 0 ? Math.min(peersMs, this.#idleTimeoutMs) : this.#idleTimeoutMs;
  }
}

/** What the native connection knows of the path in use. */
export function activePath(native: NativeConnection) {
  return native.pathStats().find(({ active }) => active);
}
