/**
 * Carries out what `path-mtu.ts` decides for one connection: sends its probes, takes their answers, and answers the peer's
 * probes. SPEC.md, "QUIC", "Datagram sizes".
 *
 * A probe is a DATAGRAM frame (RFC 9221), which QUIC never retransmits, in a packet of the size in question. It begins with a
 * nonce, which the peer sends back on its control stream. The binding learns how large a datagram may be from the size of the
 * memory that it gets to write into.
 */

import { Alarm, type Alarms } from '../../../base/alarms.js';
import { asBuffer } from '../../../base/buffers.js';
import { LazyMap } from '../../../base/lazy-collections.js';
import { RateLimit } from '../../../base/rate-limit.js';
import { MeshError } from '../../../errors.js';
import type { PathEvent } from '../../connection.js';
import type { NativeConnection } from '../binding/native.js';
import type { EndpointCounters } from '../io/counters.js';
import { makeProofNonce, PROOF_NONCE_BYTES } from '../streams/control-stream.js';
import {
  BASE_DATAGRAM_BYTES,
  PathMtu,
  type PathMtuEvent,
  type PathMtuLimits,
  SHORT_BYTES,
  type SizeProbe,
} from './path-mtu.js';

/** The smallest datagram that can be a probe. */
const MIN_PROBE_BYTES = BASE_DATAGRAM_BYTES - SHORT_BYTES;
/** First byte, AEAD tag, and the frame's type and length. Connection ID and packet number are added to that. */
const PACKET_BYTES = 20;
/** How many datagrams may leave before the probe: acknowledgements that became due meanwhile. */
const MAX_DATAGRAMS = 3;
/** The least time to wait for an answer: both processes may be busy, and nothing depends on it. */
const MIN_PATIENCE_MS = 100;
/** The longest time that streams wait for a probe. Packets in flight make room for it within a round trip, if at all. */
const MAX_HOLD_MS = 1000;
/** How many of the peer's probes are answered, at once and a second in the long run. */
const ANSWERS_AT_ONCE = 64;
const ANSWERS_PER_SECOND = 16;

/** What {@link DatagramSize} asks of its connection. */
export interface DatagramSizeHost {
  readonly counters: EndpointCounters;
  readonly alarms: Alarms;
  /** Sends the next datagram, of up to `maxBytes`. @returns its size; 0 for none */
  sendNext(maxBytes: number): number;
  /** How many datagrams were sent: packet numbers are not above that. */
  datagramsSent(): number;
  /** How many packets were lost, as the binding counts them. */
  lostPackets(): number;
  /** How long an acknowledgement may take. */
  patienceMs(): number;
  flush(): void;
  /** Gives the binding no more stream bytes for now: they would take all the room of the congestion window. */
  holdBack(): void;
  /** Asks the peer, on the control stream, to send this nonce back. */
  askForProof(nonce: Uint8Array): void;
  answerProof(nonce: Uint8Array): void;
  /** Counts bytes of the peer as useful, although no stream got them. */
  credit(bytes: number): void;
  emit(event: PathEvent): void;
  fail(error: MeshError): void;
}

/** A probe that was given to the binding, and waits for room in the congestion window. */
interface LeavingProbe {
  readonly probe: SizeProbe;
  readonly nonce: Buffer;
  readonly sinceMs: number;
}

/**
 * Finds out for one connection how large its datagrams may be: sends the probes that {@link PathMtu} asks for, takes
 * their answers, and answers those of the peer. SPEC.md, "Datagram sizes".
 */
export class DatagramSize {
  readonly #native: NativeConnection;
  readonly #host: DatagramSizeHost;
  readonly #mtu: PathMtu;
  /** Rings for the next probe; made for the first. */
  #alarm: Alarm | undefined;
  readonly #answers = new RateLimit(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE);
  /** The numbers of probes by their nonce; `undefined` for witnesses, which have none. */
  readonly #asked = new LazyMap<string, number | undefined>();
  #limits: PathMtuLimits;
  #leaving: LeavingProbe | undefined;
  #isOpen = false;
  /** Whether the handshake's last flight has left: only later datagrams are full because of calls. */
  #isSettled = false;
  /** Whether the peer takes DATAGRAM frames. */
  #canProbe = false;

  constructor(native: NativeConnection, limits: PathMtuLimits, host: DatagramSizeHost) {
    this.#native = native;
    this.#host = host;
    this.#limits = limits;
    this.#mtu = new PathMtu(limits, (event) => this.#changed(event));
  }

  /** The largest datagram that may be sent now: the base size until the handshake is done. */
  get bytes(): number {
    return this.#isOpen ? this.#mtu.bytes : BASE_DATAGRAM_BYTES;
  }

  /** The size that the path is known to carry, to show to people. */
  get confirmedBytes(): number {
    return this.#isOpen ? this.#mtu.confirmedBytes : BASE_DATAGRAM_BYTES;
  }

  established(): void {
    this.#isOpen = true;
    this.#begins();
    if (this.#canProbe) this.#mtu.opened(performance.now());
  }

  /** A datagram, other than a probe, has left. */
  sent(bytes: number): void {
    if (!this.#isSettled || !this.#mtu.sent(bytes)) return;
    this.#mtu.look(this.#lostPackets, performance.now());
    this.#arm();
  }

  /** The latest packets were not acknowledged within a probe timeout. */
  timedOut(nowMs: number): void {
    if (!this.#canProbe) return;
    this.#mtu.timedOut(nowMs);
    this.#arm();
  }

  /** Call it once in a while. */
  tick(nowMs: number): void {
    if (!this.#canProbe) return;
    this.#mtu.tick(nowMs);
    this.#arm();
  }

  /** Whether stream bytes have to wait until a probe has left. */
  get isHolding(): boolean {
    return this.#leaving !== undefined;
  }

  /** The connection takes another path. */
  restart(limits: PathMtuLimits): void {
    this.#limits = limits;
    this.#asked.clear();
    this.#drop();
    if (this.#isOpen) this.#begins();
    else this.#mtu.restart(limits);
    this.#alarm?.stop();
  }

  stop(): void {
    this.#leaving = undefined;
    this.#isOpen = false;
    this.#canProbe = false;
    this.#isSettled = false;
    this.#alarm?.stop();
  }

  /** Everything else was sent: sends the probe that is due, if any. */
  flushed(): void {
    this.#isSettled = this.#canProbe;
    if (this.#mtu.dueAtMs === Number.POSITIVE_INFINITY) {
      // An earlier probe was answered while this one waited for room. It is not needed any more, but streams wait for it.
      this.#drop();
      return;
    }
    const nowMs = performance.now();
    // A doubt has come up, or come to nothing: something else is to be asked.
    if (this.#leaving !== undefined && this.#leaving.probe.needsWitness !== this.#mtu.isDoubting) {
      this.#drop();
    }
    if (this.#leaving === undefined && this.#mtu.dueAtMs <= nowMs) this.#begin(nowMs);
    if (this.#leaving !== undefined) this.#push(this.#leaving, nowMs);
    this.#arm();
  }

  /** A datagram of so many bytes was received. If it is a probe, answers it. */
  received(bytes: number, nowMs: number): void {
    this.#mtu.heard();
    if (bytes < MIN_PROBE_BYTES || !this.#isOpen) return;
    while (this.#native.dgramRecvQueueLen() > 0) {
      const probe = this.#native.dgramRecvVec();
      if (probe === null || probe.length < PROOF_NONCE_BYTES) continue;
      if (!this.#answers.allows(nowMs)) continue;
      this.#answers.take(nowMs);
      this.#host.credit(probe.length);
      this.#host.answerProof(probe.subarray(0, PROOF_NONCE_BYTES));
    }
  }

  /** The peer sent a nonce back. */
  proofArrived(nonce: Uint8Array): void {
    if (this.#asked.size === 0) return;
    const key = keyOf(nonce);
    const probe = this.#asked.get(key);
    if (!this.#asked.delete(key)) return;
    if (probe === undefined) {
      this.#mtu.witnessed();
      return;
    }
    this.#mtu.answered(probe, performance.now());
    // The probe that waits may be for a size that is known now: streams must not wait for it.
    this.#drop();
  }

  /** Begins anew on a path of which nothing is known. Sizes that no probe can have are not searched. */
  #begins(): void {
    const probeBytes = this.#maxProbeBytes;
    this.#canProbe = probeBytes >= BASE_DATAGRAM_BYTES;
    const maxBytes = Math.min(this.#limits.maxBytes, probeBytes);
    this.#mtu.restart(this.#canProbe ? { ...this.#limits, maxBytes } : this.#limits);
  }

  /** The largest probe that the peer accepts and the binding writes; 0 for none. */
  get #maxProbeBytes(): number {
    const payloadBytes = this.#native.dgramMaxWritableLen();
    return payloadBytes === null ? 0 : payloadBytes + this.#headerBytes(0);
  }

  /** The bytes of a probe's packet besides the payload of its one frame. */
  #headerBytes(packets: number): number {
    return PACKET_BYTES + this.#native.destinationId().length + packetNumberBytes(packets);
  }

  /** Gives the due probe to the binding, which sends it once the congestion window has room. */
  #begin(nowMs: number): void {
    const probe = this.#canProbe ? this.#mtu.nextProbe(this.#lostPackets, nowMs) : undefined;
    if (probe === undefined) return;
    const headerBytes = this.#headerBytes(this.#host.datagramsSent());
    const payload = Buffer.alloc(probe.bytes - headerBytes);
    const nonce = makeProofNonce();
    nonce.copy(payload);
    try {
      this.#native.dgramSendVec(payload);
      this.#leaving = { probe, nonce, sinceMs: nowMs };
    } catch {
      // The binding's queue is full.
      this.#mtu.probeDelayed(nowMs, this.#patienceMs);
    }
  }

  /** Sends what the binding has. Everything else has left, so that is the probe, and what became due meanwhile. */
  #push({ probe, nonce, sinceMs }: LeavingProbe, nowMs: number): void {
    // Of the base size, it may have left as one datagram among others.
    if (this.#native.dgramSendQueueLen() === 0) {
      this.#leaving = undefined;
      this.#hasLeft(probe, nonce, probe.bytes, nowMs);
      return;
    }
    for (let datagram = 0; datagram < MAX_DATAGRAMS; datagram += 1) {
      const bytes = this.#host.sendNext(probe.bytes);
      if (bytes === 0) break;
      if (this.#native.dgramSendQueueLen() > 0) continue;
      this.#leaving = undefined;
      this.#hasLeft(probe, nonce, bytes, nowMs);
      return;
    }
    if (nowMs - sinceMs < MAX_HOLD_MS) {
      this.#host.holdBack();
      return;
    }
    this.#drop();
    this.#mtu.probeDelayed(nowMs, this.#patienceMs);
  }

  #hasLeft({ needsWitness }: SizeProbe, nonce: Buffer, bytes: number, nowMs: number): void {
    this.#host.counters.pathProbes += 1;
    this.#remember(nonce, this.#mtu.probeSent(bytes, nowMs, this.#patienceMs));
    if (!needsWitness) return;
    const witness = makeProofNonce();
    this.#remember(witness, undefined);
    this.#host.askForProof(witness);
  }

  get #patienceMs(): number {
    return Math.max(MIN_PATIENCE_MS, this.#host.patienceMs());
  }

  /** Takes back the probe that has not left. */
  #drop(): void {
    if (this.#leaving === undefined) return;
    this.#leaving = undefined;
    this.#native.dgramPurgeOutgoing(() => true);
  }

  #remember(nonce: Buffer, probe: number | undefined): void {
    this.#asked.set(keyOf(nonce), probe);
    if (this.#asked.size <= MAX_ASKED) return;
    const [oldest] = this.#asked.keys();
    this.#asked.delete(oldest as string);
  }

  #arm(): void {
    const dueAtMs =
      this.#leaving === undefined ? this.#mtu.dueAtMs : this.#leaving.sinceMs + MAX_HOLD_MS;
    if (this.#alarm === undefined && dueAtMs === Number.POSITIVE_INFINITY) return;
    this.#alarm ??= new Alarm(this.#host.alarms, () => this.#host.flush());
    this.#alarm.set(dueAtMs);
  }

  #changed(event: PathMtuEvent): void {
    if (event.kind === 'unusable') {
      this.#host.counters.pathsUnusable += 1;
      const text = `the path carries no datagrams of ${BASE_DATAGRAM_BYTES} bytes any more`;
      this.#host.fail(new MeshError('ConnectionLost', text));
      return;
    }
    if (event.kind === 'blackHole') this.#host.counters.blackHoles += 1;
    const { from, to } = event;
    this.#host.emit({ kind: 'datagramSizeChanged', from, to });
  }

  readonly #lostPackets = (): number => this.#host.lostPackets();
}

/** How many nonces are remembered, because their answers may still come. */
const MAX_ASKED = 32;

function keyOf(nonce: Uint8Array): string {
  return asBuffer(nonce).toString('latin1');
}

/** The length of packet numbers as quiche 0.18.0 writes them. */
function packetNumberBytes(packets: number): number {
  if (packets < 0xff) return 1;
  return packets < 0xffff ? 2 : 4;
}
