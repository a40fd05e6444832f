/**
 * Why a QUIC connection ended, as the one table of codes says it. SPEC.md, "Closing".
 *
 * Our own closes are application closes and carry our numbers. What TLS refuses closes with an alert, offset by
 * 0x100 (RFC 9001, section 4.8); the rest are transport errors (RFC 9000, section 20.1).
 */
import { codeOfWire, type ErrorSide, MeshError, type MeshErrorCode } from '../../errors.js';

/** A close as the binding reports it. */
export interface NativeClose {
  readonly isApp: boolean;
  readonly errorCode: number;
  readonly reason: Uint8Array;
}

const CRYPTO_ERROR = 0x100;

/** TLS alerts (RFC 8446, section 6) that have a code of their own here. */
const ALERTS: Readonly<Record<number, readonly [MeshErrorCode, string]>> = {
  42: ['CertificateInvalid', 'certificate refused'],
  43: ['CertificateUsage', 'certificate is not meant for this use'],
  44: ['CertificateRevoked', 'certificate was revoked'],
  45: ['CertificateExpired', 'certificate has expired'],
  46: ['CertificateInvalid', 'certificate refused'],
  48: ['CertificateUntrusted', 'certificate does not lead to a trusted CA'],
  116: ['CertificateRequired', 'no certificate was sent'],
  120: ['ApplicationProtocolMismatch', 'no application protocol in common'],
};

const TRANSPORT_ERRORS: Readonly<Record<number, MeshErrorCode>> = {
  0: 'NoError',
  1: 'InternalError',
  2: 'ConnectFailed',
  3: 'FlowControlViolation',
  4: 'StreamLimitExceeded',
};

/** The error behind a close of either side. */
export function errorOfClose(close: NativeClose, side: ErrorSide): MeshError {
  const { isApp, errorCode } = close;
  const reason = Buffer.from(close.reason).toString('utf8');
  if (isApp) {
    const code = codeOfWire(errorCode) ?? 'ConnectionClosed';
    return new MeshError(code, reason || `connection closed with ${code}`, { side });
  }
  if (errorCode >= CRYPTO_ERROR && errorCode < 2 * CRYPTO_ERROR) {
    const alert = errorCode - CRYPTO_ERROR;
    const [code, text] = ALERTS[alert] ?? (['TlsFailure', `TLS alert ${alert}`] as const);
    return new MeshError(code, text, { side });
  }
  const code = TRANSPORT_ERRORS[errorCode] ?? 'ProtocolViolation';
  return new MeshError(code, reason || `QUIC transport error 0x${errorCode.toString(16)}`, {
    side,
  });
}
