/**
 * The unidirectional stream on which each side tells the other that it abandoned a request. SPEC.md, "QUIC".
 *
 * RESET_STREAM and STOP_SENDING do not serve: a request whose sending side has ended cannot be reset any more
 * (RFC 9000, section 3.1), and where one of the two meets bytes that quiche 0.18.0 holds unsent, the stream is never
 * released and the peer's stream credit shrinks for good. So the notice is a reset frame here, as it is on TCP, with
 * its reason.
 */
import { MeshError, type MeshErrorCode } from '../../errors.js';
import { decodeReset, encodeReset, MAX_REASON_BYTES } from '../../protocol/control.js';
import { encodeFrame, FrameDecoder, FrameFlag } from '../../protocol/frame.js';

/** Unsent notices beyond this are dropped: the other side then does its work in vain, no more. */
const MAX_UNSENT_BYTES = 64 * 1024;
const MAX_NOTICE_BYTES = 4 + MAX_REASON_BYTES;

/** The dialer's and the acceptor's first unidirectional stream. */
export const CONTROL_STREAM_ID = { dialer: 2, acceptor: 3 } as const;

/** The sending half. */
export class ControlSender {
  #unsent: Buffer = Buffer.alloc(0);

  get isBlocked(): boolean {
    return this.#unsent.length > 0;
  }

  /** Adds a notice; `write` hands bytes to QUIC and returns how many it took. */
  notify(
    messageId: number,
    code: MeshErrorCode,
    reason: string,
    write: (bytes: Uint8Array) => number,
  ): void {
    if (this.#unsent.length > MAX_UNSENT_BYTES) return;
    const payload = encodeReset({ code, reason });
    const frame = encodeFrame({ control: FrameFlag.reset, messageId, payload, checksum: true });
    this.#unsent = this.#unsent.length === 0 ? frame : Buffer.concat([this.#unsent, frame]);
    this.pump(write);
  }

  pump(write: (bytes: Uint8Array) => number): void {
    if (this.#unsent.length > 0) this.#unsent = this.#unsent.subarray(write(this.#unsent));
  }
}

/** The receiving half. */
export class ControlReceiver {
  readonly #decoder = new FrameDecoder({ maxPayloadBytes: MAX_NOTICE_BYTES });

  /**
   * Reads notices out of the stream's bytes.
   * @throws MeshError what the decoder throws; ProtocolViolation for anything but a reset of a request
   */
  receive(bytes: Uint8Array, onNotice: (messageId: number, error: MeshError) => void): void {
    this.#decoder.push(bytes);
    for (let frame = this.#decoder.next(); frame !== undefined; frame = this.#decoder.next()) {
      if ((frame.flags & FrameFlag.reset) === 0 || frame.messageId === 0) {
        throw new MeshError(
          'ProtocolViolation',
          'the control stream carries resets of requests only',
        );
      }
      const { code, reason } = decodeReset(frame.payload, 'StreamReset');
      onNotice(
        frame.messageId,
        new MeshError(code, reason || `stream reset with ${code}`, { side: 'remote' }),
      );
    }
  }
}
