/**
 * How a connection comes to rest without losing a call: each side says that it opens no more streams and how many it has
 * opened, and then that all of them are over at its end. SPEC.md, "Going away".
 */
import { MeshError } from '../errors.js';
import { encodeAllOver, encodeGoAway } from '../protocol/control.js';

/** What going away needs to know of the streams of one connection. Nothing of it throws. */
export interface GoAwayHost {
  /** Whether frames of the connection itself can be sent now; if not, {@link GoAway.advance} is called when they can. */
  readonly canSayGoAway: boolean;
  /** Whether the peer's announcement arrives behind the beginning of every stream that it counts. */
  readonly isOrdered: boolean;
  /** Streams of this side that were opened and have no place on the wire yet. */
  readonly unplacedStreams: number;
  /** Streams of this side that ever had a place on the wire. */
  readonly placedStreams: number;
  /** Streams of the peer that were seen here, over or not. */
  readonly acceptedStreams: number;
  /** Whether any stream of either side is not over. */
  readonly hasStreams: boolean;
  /** Sends a frame with the end bit on message id 0. */
  sendGoAway(payload: Uint8Array): void;
}

/** Made when it is first asked for: most connections never are, and there may be many. */
export class GoAway {
  /** Fulfils once both sides have said that all is over, or the connection is. */
  readonly drained: Promise<void>;
  readonly #host: GoAwayHost;
  #settle: () => void = () => {};
  #hasBegun = false;
  #hasAnnounced = false;
  /** How many streams the peer has opened, once it has said that there will be no more. */
  #peersStreams: number | undefined;
  /** Whether this side, and the peer, has said that all is over. */
  #isOverHere = false;
  #isOverThere = false;
  #hasEnded = false;

  constructor(host: GoAwayHost) {
    this.#host = host;
    this.drained = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** Whether this side opens no more streams. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** This side opens no more streams from here on. */
  begin(): void {
    this.#hasBegun = true;
    this.advance();
  }

  /**
   * The peer goes away. This side does so too.
   * @param streams that the peer has opened
   * @throws MeshError ProtocolViolation
   */
  receiveAnnouncement(streams: number): void {
    const { acceptedStreams, isOrdered } = this.#host;
    if (this.#peersStreams !== undefined) throw violation('a second announcement of going away');
    if (streams < acceptedStreams || (isOrdered && streams > acceptedStreams)) {
      throw violation(`${streams} streams announced where ${acceptedStreams} were opened`);
    }
    this.#peersStreams = streams;
    this.begin();
  }

  /** All streams are over at the peer's end. @throws MeshError ProtocolViolation */
  receiveAllOver(): void {
    if (this.#peersStreams === undefined || !this.#hasAnnounced || this.#isOverThere) {
      throw violation('the end of a connection that goes on');
    }
    this.#isOverThere = true;
    this.advance();
  }

  /** The peer has opened a stream, and it is counted. @throws MeshError ProtocolViolation */
  checkAccepted(): void {
    if (this.#peersStreams === undefined || this.#host.acceptedStreams <= this.#peersStreams)
      return;
    throw violation('a stream beyond those that were announced');
  }

  /** A stream got its place, or is over, or frames can be sent: says what is due. */
  advance(): void {
    if (!this.#hasBegun || this.#hasEnded) return;
    const host = this.#host;
    if (!this.#hasAnnounced) {
      if (!host.canSayGoAway || host.unplacedStreams > 0) return;
      this.#hasAnnounced = true;
      host.sendGoAway(encodeGoAway(host.placedStreams));
    }
    if (!this.#isOverHere && this.#isAllOver()) {
      this.#isOverHere = true;
      host.sendGoAway(encodeAllOver());
    }
    if (this.#isOverHere && this.#isOverThere) this.end();
  }

  /** There is nothing more to wait for. */
  end(): void {
    this.#hasEnded = true;
    this.#settle();
  }

  #isAllOver(): boolean {
    const { hasStreams, acceptedStreams } = this.#host;
    if (hasStreams || this.#peersStreams === undefined) return false;
    return acceptedStreams >= this.#peersStreams;
  }
}

/** What `openStream` throws from then on. */
export function goingAwayError(): MeshError {
  return new MeshError('GoingAway', 'connection is going away and opens no more streams');
}

function violation(text: string): MeshError {
  return new MeshError('ProtocolViolation', text);
}
