/**
 * Which streams a connection has, which ids they have, and which wait for a place. SPEC.md, "Message ids".
 *
 * The dialer counts 1, 3, 5…, the acceptor 2, 4, 6…, each in the order in which streams reach the wire.
 */
import { Line } from '../../base/line.js';
import { SequenceTable } from '../../base/sequence-table.js';
import { MeshError } from '../../errors.js';
import type { Role } from '../connection.js';
import type { MuxStream } from './stream.js';

/** Bounds of a {@link StreamTable}. */
export interface StreamTableLimits {
  maxOutgoingStreams: number;
  maxIncomingStreams: number;
  readonly maxQueuedStreams: number;
}

/**
 * The streams of one connection by message id, and those that wait for a place. The dialer counts 1, 3, 5…, the
 * acceptor 2, 4, 6…, in the order in which streams reach the wire. SPEC.md, "Message ids".
 */
export class StreamTable {
  readonly #limits: StreamTableLimits;
  /** Streams on the wire. */
  readonly #byId = new SequenceTable<MuxStream>();
  /** This side's streams beyond the peer's limit, first come first served. */
  readonly #waiting = new Line<MuxStream>();
  /** Those that have a place and have sent nothing yet. */
  readonly #starting = new Line<MuxStream>();
  #nextOwnId: number;
  #nextPeerId: number;
  #peerStreams = 0;

  constructor(role: Role, limits: StreamTableLimits) {
    this.#limits = limits;
    this.#nextOwnId = role === 'dialer' ? 1 : 2;
    this.#nextPeerId = role === 'dialer' ? 2 : 1;
  }

  /** Whether another stream of this side has a place now. */
  get hasRoom(): boolean {
    return this.#waiting.size === 0 && this.#openOutgoing < this.#limits.maxOutgoingStreams;
  }

  get ownStreams(): number {
    return this.#openOutgoing + this.#waiting.size;
  }

  /** Those of them that have not reached the wire. */
  get unplaced(): number {
    return this.#starting.size + this.#waiting.size;
  }

  /** This side's streams that ever reached the wire. */
  get placed(): number {
    return Math.floor((this.#nextOwnId - 1) / 2);
  }

  /** The same of the peer's. */
  get accepted(): number {
    return Math.floor((this.#nextPeerId - 1) / 2);
  }

  get isEmpty(): boolean {
    return this.unplaced === 0 && this.#byId.size === 0;
  }

  find(messageId: number): MuxStream | undefined {
    return this.#byId.get(messageId);
  }

  /** Whether an id was in use once; frames may still arrive for it while it is no longer. */
  wasUsed(messageId: number): boolean {
    return messageId < (this.#isOwn(messageId) ? this.#nextOwnId : this.#nextPeerId);
  }

  /** Takes up a stream of this side. @throws MeshError Overloaded when too many wait already */
  add(stream: MuxStream): void {
    const { maxOutgoingStreams, maxQueuedStreams } = this.#limits;
    const mustWait = this.#openOutgoing >= maxOutgoingStreams;
    if (mustWait && this.#waiting.size >= maxQueuedStreams) {
      throw new MeshError('Overloaded', `${maxQueuedStreams} streams wait for the peer's limit`);
    }
    if (mustWait) this.#waiting.push(stream);
    else this.#start(stream);
  }

  /** Gives a stream of this side its id, with its first frame. */
  assignId(stream: MuxStream): void {
    stream.reachWire(this.#nextOwnId);
    this.#starting.remove(stream);
    this.#byId.add(this.#nextOwnId, stream);
    this.#nextOwnId += 2;
  }

  /** Checks that the peer may open a stream with this id. @throws MeshError ProtocolViolation, StreamLimitExceeded */
  assertOpens(messageId: number): void {
    if (this.#isOwn(messageId)) {
      throw new MeshError('ProtocolViolation', `frame for stream ${messageId}, never opened here`);
    }
    if (messageId !== this.#nextPeerId) {
      throw new MeshError(
        'ProtocolViolation',
        `stream ${messageId} opened where ${this.#nextPeerId} is next`,
      );
    }
    const { maxIncomingStreams } = this.#limits;
    if (this.#peerStreams >= maxIncomingStreams) {
      throw new MeshError('StreamLimitExceeded', `more than ${maxIncomingStreams} streams open`);
    }
  }

  /** Takes up a stream of the peer's, under the id that is next. */
  addFromPeer(stream: MuxStream): void {
    stream.reachWire(this.#nextPeerId);
    this.#byId.add(this.#nextPeerId, stream);
    this.#nextPeerId += 2;
    this.#peerStreams += 1;
  }

  remove(stream: MuxStream): void {
    const wasOnWire = this.#byId.delete(stream.messageId);
    if (stream.initiator === 'remote') {
      if (wasOnWire) this.#peerStreams -= 1;
      return;
    }
    this.#starting.remove(stream);
    this.#waiting.remove(stream);
  }

  /** Takes the next stream from the queue, which may now start. `undefined` when none may start or none waits. */
  takeNextWaiting(): MuxStream | undefined {
    if (this.#openOutgoing >= this.#limits.maxOutgoingStreams) return undefined;
    const { first } = this.#waiting;
    if (first === undefined) return undefined;
    this.#waiting.remove(first);
    this.#start(first);
    return first;
  }

  /** All streams, which the table then knows no longer. */
  takeAll(): Set<MuxStream> {
    const all = new Set([...this.#byId.values(), ...this.#starting, ...this.#waiting]);
    this.#starting.clear();
    this.#waiting.clear();
    this.#byId.clear();
    this.#peerStreams = 0;
    return all;
  }

  #start(stream: MuxStream): void {
    stream.mayStart = true;
    this.#starting.push(stream);
  }

  /** This side's streams that count for the peer's limit. */
  get #openOutgoing(): number {
    return this.#starting.size + this.#byId.size - this.#peerStreams;
  }

  #isOwn(messageId: number): boolean {
    return messageId % 2 === this.#nextOwnId % 2;
  }
}
