/**
 * The unidirectional stream on which each side says that it abandoned a request or opens no more, and asks for proof that
 * the peer receives what it acknowledges (`receipt-proof.ts`). SPEC.md, "QUIC".
 *
 * RESET_STREAM and STOP_SENDING cannot do this. A request whose sending side has ended cannot be reset any more (RFC 9000,
 * section 3.1). And where either meets bytes that quiche 0.18.0 holds unsent, the stream is never released and the peer's
 * stream credit shrinks for good. So a notice is a reset frame with its reason, as on TCP.
 */
import { randomBytes } from 'node:crypto';
import { NO_BYTES } from '../../../base/buffers.js';
import { MeshError, type MeshErrorCode } from '../../../errors.js';
import {
  decodeGoAway,
  decodeReset,
  encodeReset,
  MAX_REASON_BYTES,
} from '../../../protocol/control.js';
import { encodeFrame, type Frame, FrameDecoder, FrameFlag } from '../../../protocol/frame.js';

/** Beyond this many unsent bytes frames are dropped: the peer then works in vain, or gets no proof. */
const MAX_UNSENT_BYTES = 64 * 1024;
const MAX_NOTICE_BYTES = 4 + MAX_REASON_BYTES;

/** The dialer's and the acceptor's first unidirectional stream. */
export const CONTROL_STREAM_ID = { dialer: 2, acceptor: 3 } as const;

/** The message ids of a request for proof and of its answer. Both carry the same nonce. */
const PROOF_ID = { request: 1, answer: 2 } as const;
/** Length of the nonce of a proof. */
export const PROOF_NONCE_BYTES = 16;
const CONTROL_FLAGS = FrameFlag.reset | FrameFlag.end | FrameFlag.credit;

/** A nonce that nobody can guess: only who receives it can send it back. */
export function makeProofNonce(): Buffer {
  return randomBytes(PROOF_NONCE_BYTES);
}

/** Hands bytes to QUIC and returns how many it took. */
type Write = (bytes: Uint8Array) => number;

/** The sending half. */
export class ControlSender {
  #unsent: Buffer = NO_BYTES;

  get isBlocked(): boolean {
    return this.#unsent.length > 0;
  }

  notify(messageId: number, code: MeshErrorCode, reason: string, write: Write): void {
    this.#add(FrameFlag.reset, messageId, encodeReset({ code, reason }), write);
  }

  /** Asks for a proof, or gives one. */
  prove(kind: keyof typeof PROOF_ID, nonce: Uint8Array, write: Write): void {
    this.#add(0, PROOF_ID[kind], nonce, write);
  }

  /**
   * Says that this side goes away. Never dropped: there are two such frames at most.
   * @param payload made by `protocol/control.ts`
   */
  goAway(payload: Uint8Array, write: Write): void {
    this.#push(FrameFlag.end, 0, payload, write);
  }

  #add(control: number, messageId: number, payload: Uint8Array, write: Write): void {
    if (this.#unsent.length <= MAX_UNSENT_BYTES) this.#push(control, messageId, payload, write);
  }

  #push(control: number, messageId: number, payload: Uint8Array, write: Write): void {
    const frame = encodeFrame({ control, messageId, payload, checksum: true });
    this.#unsent = this.#unsent.length === 0 ? frame : Buffer.concat([this.#unsent, frame]);
    this.pump(write);
  }

  pump(write: Write): void {
    if (this.#unsent.length > 0) this.#unsent = this.#unsent.subarray(write(this.#unsent));
  }
}

/** What the receiving half is told. Nonces are only good during the call. */
export interface ControlHandler {
  onNotice(messageId: number, error: MeshError): void;
  onProofRequest(nonce: Uint8Array): void;
  onProof(nonce: Uint8Array): void;
  /** @param streams as `decodeGoAway` gives it */
  onGoAway(streams: number | undefined): void;
}

/** The receiving half. */
export class ControlReceiver {
  readonly #decoder = new FrameDecoder({ maxPayloadBytes: MAX_NOTICE_BYTES });

  /**
   * Reads frames out of the stream's bytes.
   * @throws MeshError what the decoder throws; ProtocolViolation for any other frame
   */
  receive(bytes: Uint8Array, handler: ControlHandler): void {
    this.#decoder.push(bytes);
    for (let frame = this.#decoder.next(); frame !== undefined; frame = this.#decoder.next()) {
      if ((frame.flags & FrameFlag.reset) !== 0 && frame.messageId !== 0) {
        handler.onNotice(frame.messageId, errorOfNotice(frame.payload));
      } else if (isProof(frame, PROOF_ID.request)) {
        handler.onProofRequest(frame.payload);
      } else if (isProof(frame, PROOF_ID.answer)) {
        handler.onProof(frame.payload);
      } else if ((frame.flags & FrameFlag.end) !== 0 && frame.messageId === 0) {
        handler.onGoAway(decodeGoAway(frame.payload));
      } else {
        throw new MeshError(
          'ProtocolViolation',
          'the control stream carries resets of requests, proofs and going away only',
        );
      }
    }
  }
}

function isProof({ flags, messageId, payload }: Frame, id: number): boolean {
  return (flags & CONTROL_FLAGS) === 0 && messageId === id && payload.length === PROOF_NONCE_BYTES;
}

function errorOfNotice(payload: Uint8Array): MeshError {
  const { code, reason } = decodeReset(payload, 'StreamReset');
  return new MeshError(code, reason || `stream reset with ${code}`, { side: 'remote' });
}
