/**
 * This side's control stream and the peer's: what connections say of their streams, and proofs. SPEC.md, "QUIC". What is
 * said there is in `control-stream.ts`; here it is handed to QUIC.
 */
import { MeshError, type MeshErrorCode } from '../../../errors.js';
import type { Role } from '../../connection.js';
import type { NativeConnection } from '../binding/native.js';
import {
  CONTROL_STREAM_ID,
  type ControlHandler,
  ControlReceiver,
  ControlSender,
} from './control-stream.js';

/** What a {@link ControlLink} is given. */
export interface ControlLinkOptions {
  readonly native: NativeConnection;
  readonly role: Role;
  readonly handler: ControlHandler;
  /** Sends what QUIC has to send, once this turn's input is read. */
  readonly flushSoon: () => void;
}

/** quiche sends what is most urgent first. */
const MOST_URGENT = 0;

/** Both control streams of one connection. */
export class ControlLink {
  /** This side's, and the peer's, by QUIC's id. */
  readonly id: number;
  readonly peerId: number;
  readonly #native: NativeConnection;
  readonly #handler: ControlHandler;
  readonly #flushSoon: () => void;
  readonly #sender = new ControlSender();
  readonly #receiver = new ControlReceiver();
  #isUrgent = false;
  #handedBytes = 0;

  constructor({ native, role, handler, flushSoon }: ControlLinkOptions) {
    this.#native = native;
    this.#handler = handler;
    this.#flushSoon = flushSoon;
    this.id = CONTROL_STREAM_ID[role];
    this.peerId = CONTROL_STREAM_ID[role === 'dialer' ? 'acceptor' : 'dialer'];
  }

  /** Bytes of this side's control stream that QUIC took so far. */
  get handedBytes(): number {
    return this.#handedBytes;
  }

  /** What QUIC takes now on this side's control stream. */
  get capacityBytes(): number {
    try {
      return this.#native.streamCapacity(this.id);
    } catch {
      return 0;
    }
  }

  /** Tells the peer that this side gave up a stream. */
  notify(messageId: number, code: MeshErrorCode, reason: string): void {
    this.#sender.notify(messageId, code, reason, this.#write);
  }

  /** Asks the peer to send this nonce back. */
  askForProof(nonce: Uint8Array): void {
    this.#sender.prove('request', nonce, this.#write);
  }

  /** Sends a nonce back to the peer. */
  answerProof(nonce: Uint8Array): void {
    this.#sender.prove('answer', nonce, this.#write);
  }

  goAway(payload: Uint8Array): void {
    this.#sender.goAway(payload, this.#write);
  }

  /** Hands over what QUIC had no room for. Call when there may be room, and ahead of other streams. */
  pump(): void {
    if (this.#sender.isBlocked) this.#sender.pump(this.#write);
  }

  /**
   * Bytes of a unidirectional stream.
   * @throws MeshError ProtocolViolation, and what frames of the control stream may cause
   */
  receive(id: number, bytes: Uint8Array, fin: boolean): void {
    if (id !== this.peerId || fin) {
      const text = 'the control stream is the only unidirectional one, and never ends';
      throw new MeshError('ProtocolViolation', text);
    }
    this.#receiver.receive(bytes, this.#handler);
  }

  /**
   * Puts this side's control stream ahead of all others: a notice must not arrive behind the end of the stream that it is
   * about.
   * @returns whether the peer allows a control stream
   */
  urge(): boolean {
    if (this.#isUrgent) return true;
    try {
      this.#native.streamPriority(this.id, MOST_URGENT, false);
      this.#isUrgent = true;
      return true;
    } catch {
      return false;
    }
  }

  readonly #write = (bytes: Uint8Array): number => {
    this.#flushSoon();
    // A peer that allows no control stream, or has stopped it, does without: what goes there is dropped.
    if (!this.urge()) return bytes.length;
    try {
      const took = this.#native.streamSend(this.id, bytes, false) ?? 0;
      this.#handedBytes += took;
      return took;
    } catch {
      return bytes.length;
    }
  };
}
