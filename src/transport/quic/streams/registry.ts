/**
 * Which streams a connection has: those with a place on the wire, this side's that wait for one, and which of the peer's
 * were seen. RFC 9000, sections 2.1 and 4.6.
 *
 * A stream has its place once it has QUIC's id. quiche 0.18.0 throws where a stream is past the peer's limit, so such
 * streams wait in line here.
 */
import { LazyMap } from '../../../base/lazy-collections.js';
import { Line } from '../../../base/line.js';
import { SequenceTable } from '../../../base/sequence-table.js';
import { MeshError } from '../../../errors.js';
import type { ConnectionCounters, Role } from '../../connection.js';
import type { NativeConnection } from '../binding/native.js';
import { SeenStreams } from './seen-streams.js';
import { messageIdOf, type QuicStream } from './stream.js';

/** What a {@link StreamRegistry} is given. */
export interface StreamRegistryOptions {
  readonly native: NativeConnection;
  readonly role: Role;
  readonly maxQueuedStreams: number;
  /** Counted up in place. */
  readonly counters: ConnectionCounters;
}

/** Of notices that overtake their streams. One more is ignored; the work is then done in vain. */
const MAX_EARLY_NOTICES = 1024;

/** The streams of one connection, by QUIC's id and in line. */
export class StreamRegistry {
  /** Streams of this side that the peer wants open at once, by the handshake. QUIC's own limit may be above that. */
  maxOwnStreams = Number.POSITIVE_INFINITY;
  readonly #native: NativeConnection;
  readonly #maxQueuedStreams: number;
  readonly #counters: ConnectionCounters;
  /** The lowest bit of the ids of the peer's streams. */
  readonly #peerBit: 0 | 1;
  /** By message id. */
  readonly #placed = new SequenceTable<QuicStream>();
  /** Streams in line for a place, in order. */
  readonly #waiting = new Line<QuicStream>();
  /** What arrives late on one of these is not taken for a new stream. */
  readonly #seen: SeenStreams;
  /** Notices about streams that are still to come, by QUIC's id. */
  readonly #earlyNotices = new LazyMap<number, MeshError>();
  /** This side's streams that have a place. */
  #ownPlaced = 0;
  /** This side's streams that have none: those in line, and those that have nothing to send yet. */
  #unplaced = 0;
  #nextId: number;
  /** Streams that the peer still allows, as last asked. */
  #streamsLeft = 0;

  constructor({ native, role, maxQueuedStreams, counters }: StreamRegistryOptions) {
    this.#native = native;
    this.#maxQueuedStreams = maxQueuedStreams;
    this.#counters = counters;
    this.#nextId = role === 'dialer' ? 0 : 1;
    this.#peerBit = role === 'dialer' ? 1 : 0;
    this.#seen = new SeenStreams(this.#peerBit);
  }

  /** Streams of this side that are open or in line. */
  get ownStreams(): number {
    return this.#ownPlaced + this.#waiting.size;
  }

  /** Whether another stream would get a place at once. */
  get hasRoom(): boolean {
    if (this.#waiting.size > 0 || this.#ownPlaced >= this.maxOwnStreams) return false;
    return this.#streamsLeft > 0 || this.#native.peerStreamsLeftBidi() > 0;
  }

  /** Streams of this side that have no place on the wire yet. */
  get unplacedStreams(): number {
    return this.#unplaced;
  }

  /** Streams of this side that ever had a place. */
  get everPlaced(): number {
    return Math.floor(this.#nextId / 4);
  }

  /** Whether any stream of either side is not over. */
  get hasStreams(): boolean {
    return this.#placed.size > 0 || this.#unplaced > 0;
  }

  get hasWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** The peer's stream that is due next, by QUIC's id. */
  get nextPeerId(): number {
    return this.#seen.next;
  }

  get(id: number): QuicStream | undefined {
    return isBidirectional(id) ? this.#placed.get(messageIdOf(id)) : undefined;
  }

  /** Whether the stream has its place and is not over. */
  has(stream: QuicStream): boolean {
    return stream.id >= 0 && this.#placed.get(messageIdOf(stream.id)) === stream;
  }

  /** Ids of all bidirectional streams that this side ever opened. */
  *ownIds(): Iterable<number> {
    for (let id = 1 - this.#peerBit; id < this.#nextId; id += 4) yield id;
  }

  /** Counts a stream of this side that is about to be made. @throws MeshError Overloaded where too many are in line */
  addOwn(): void {
    if (this.#waiting.size >= this.#maxQueuedStreams) {
      const text = `${this.#waiting.size} streams wait for the peer's stream limit`;
      throw new MeshError('Overloaded', text);
    }
    this.#unplaced += 1;
  }

  /** Puts a stream at the end of the line. */
  wait(stream: QuicStream): void {
    this.#waiting.push(stream);
  }

  /** The stream in line behind `stream`; the first where that has left, or is `undefined`. */
  waitingBehind(stream: QuicStream | undefined): QuicStream | undefined {
    return this.#waiting.following(stream);
  }

  /** Takes a stream out of the line that was given up. */
  stopWaiting(stream: QuicStream): void {
    this.#waiting.remove(stream);
  }

  /** Gives a stream of this side its place. @returns whether the limits of the peer allow one more */
  place(stream: QuicStream): boolean {
    if (this.#ownPlaced >= this.maxOwnStreams) return false;
    if (this.#streamsLeft <= 0) this.#streamsLeft = this.#native.peerStreamsLeftBidi();
    if (this.#streamsLeft <= 0) return false;
    this.#waiting.remove(stream);
    this.#streamsLeft -= 1;
    this.#ownPlaced += 1;
    this.#unplaced -= 1;
    this.#counters.streamsOpened += 1;
    stream.id = this.#nextId;
    this.#nextId += 4;
    this.#placed.add(messageIdOf(stream.id), stream);
    return true;
  }

  /** Whether this is a stream of the peer's that is new. */
  isNew(id: number): boolean {
    return this.#isPeers(id) && !this.#seen.has(id);
  }

  /** Takes up a new stream of the peer's. */
  accept(stream: QuicStream, id: number): void {
    this.#seen.add(id);
    stream.id = id;
    this.#placed.add(messageIdOf(id), stream);
    this.#counters.streamsAccepted += 1;
  }

  /** The stream is over. @returns whether it had its place */
  remove(stream: QuicStream): boolean {
    if (stream.id < 0) {
      this.#unplaced -= 1;
      return false;
    }
    if (!this.#placed.delete(messageIdOf(stream.id))) return false;
    if (stream.initiator === 'local') this.#ownPlaced -= 1;
    return true;
  }

  /** Keeps what the peer said about a stream of its own that is still to come. */
  keepNotice(id: number, error: MeshError): void {
    if (!this.isNew(id) || this.#earlyNotices.size >= MAX_EARLY_NOTICES) return;
    this.#earlyNotices.set(id, error);
  }

  /** What the peer said about a stream before it came. */
  takeNotice(id: number): MeshError | undefined {
    if (this.#earlyNotices.size === 0) return undefined;
    const notice = this.#earlyNotices.get(id);
    this.#earlyNotices.delete(id);
    return notice;
  }

  /** The connection is over. @returns the streams that are to hear of it; call {@link clear} once they have */
  takeAll(): QuicStream[] {
    const streams = [...this.#placed.values(), ...this.#waiting];
    this.#waiting.clear();
    return streams;
  }

  clear(): void {
    this.#placed.clear();
  }

  #isPeers(id: number): boolean {
    return (id & 1) === this.#peerBit;
  }
}

function isBidirectional(id: number): boolean {
  return (id & 2) === 0;
}
