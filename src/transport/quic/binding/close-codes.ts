/**
 * Maps the error code of a QUIC close to a code of this library. SPEC.md, "Closing".
 *
 * This library closes with application errors, which carry its own numbers. TLS failures close with an alert, offset by 0x100
 * (RFC 9001, section 4.8). The rest are transport errors (RFC 9000, section 20.1).
 */
import { codeOfWire, type ErrorSide, MeshError, type MeshErrorCode } from '../../../errors.js';
import { TLS_ALERTS } from '../../trust/tls-alerts.js';

/** A close as the binding reports it. */
export interface NativeClose {
  readonly isApp: boolean;
  readonly errorCode: number;
  readonly reason: Uint8Array;
}

const CRYPTO_ERROR = 0x100;

/**
 * Transport errors (RFC 9000, section 20.1) that mean that one side broke a rule, and would break it again. An error that is
 * neither here nor in {@link ENDS} is ProtocolViolation, too.
 */
const FAULTS: Readonly<Record<number, MeshErrorCode>> = {
  1: 'InternalError',
  3: 'FlowControlViolation',
  4: 'StreamLimitExceeded',
  5: 'ProtocolViolation',
  6: 'ProtocolViolation',
  7: 'ProtocolViolation',
  8: 'ProtocolViolation',
  9: 'ProtocolViolation',
  10: 'ProtocolViolation',
  13: 'ProtocolViolation',
  14: 'ProtocolViolation',
};

/** Transport errors that only mean that a connection ended, or did not come about. The next one may succeed. */
const ENDS: Readonly<Record<number, string>> = {
  0: 'closed before the handshake was done',
  2: 'connection refused',
  // The peer was restarted after it made the token, or this side's address has changed.
  11: 'token of an address is not valid',
  // APPLICATION_ERROR hides the application's code from a peer that is not authenticated yet (RFC 9000, section 10.2.3).
  12: 'closed before the handshake was done',
  15: 'keys are worn out',
  16: 'no path works',
};

/**
 * The error that a close of either side stands for.
 * @param wasOpen whether QUIC's handshake was done at this side: before, there is no connection to lose
 */
export function errorOfClose(close: NativeClose, side: ErrorSide, wasOpen: boolean): MeshError {
  const { isApp, errorCode } = close;
  const reason = Buffer.from(close.reason).toString('utf8');
  if (isApp) {
    const code = codeOfWire(errorCode) ?? 'ConnectionClosed';
    return new MeshError(code, reason || `connection closed with ${code}`, { side });
  }
  if (errorCode >= CRYPTO_ERROR && errorCode < 2 * CRYPTO_ERROR) {
    const number = errorCode - CRYPTO_ERROR;
    const alert = TLS_ALERTS.get(number);
    if (alert === undefined) return new MeshError('TlsFailure', `TLS alert ${number}`, { side });
    return new MeshError(alert.code, alert.text, { side });
  }
  const end = ENDS[errorCode];
  if (end === undefined) {
    const text = reason || `QUIC transport error 0x${errorCode.toString(16)}`;
    return new MeshError(FAULTS[errorCode] ?? 'ProtocolViolation', text, { side });
  }
  if (errorCode === 0 && wasOpen) return new MeshError('NoError', reason || 'closed', { side });
  return new MeshError(wasOpen ? 'ConnectionLost' : 'ConnectFailed', reason || end, { side });
}
