/** The TLS alerts that have an error code of their own (RFC 8446, section 6). SPEC.md, "Identity". */
import type { MeshErrorCode } from '../../errors.js';

/** What an alert stands for. One that is not in {@link TLS_ALERTS} is TlsFailure. */
export interface TlsAlert {
  readonly code: MeshErrorCode;
  readonly text: string;
  /** OpenSSL's name for it. */
  readonly name: string;
}

export const TLS_ALERTS: ReadonlyMap<number, TlsAlert> = new Map([
  [42, alert('CertificateInvalid', 'SSLV3_ALERT_BAD_CERTIFICATE', 'certificate is not valid')],
  [
    43,
    alert(
      'CertificateUsage',
      'SSLV3_ALERT_UNSUPPORTED_CERTIFICATE',
      'certificate is not meant for this use, or of a kind that is not supported',
    ),
  ],
  [44, alert('CertificateRevoked', 'SSLV3_ALERT_CERTIFICATE_REVOKED', 'certificate was revoked')],
  [
    45,
    alert(
      'CertificateExpired',
      'SSLV3_ALERT_CERTIFICATE_EXPIRED',
      'certificate has expired, or is not valid yet',
    ),
  ],
  [46, alert('CertificateInvalid', 'SSLV3_ALERT_CERTIFICATE_UNKNOWN', 'certificate was refused')],
  [
    48,
    alert(
      'CertificateUntrusted',
      'TLSV1_ALERT_UNKNOWN_CA',
      'certificate does not lead to a trusted CA',
    ),
  ],
  [80, alert('InternalError', 'TLSV1_ALERT_INTERNAL_ERROR', 'TLS failed at the other side')],
  [
    90,
    alert(
      'ConnectFailed',
      'TLSV1_ALERT_USER_CANCELLED',
      'the other side has given up the handshake',
    ),
  ],
  [
    116,
    alert('CertificateRequired', 'TLSV13_ALERT_CERTIFICATE_REQUIRED', 'no certificate was sent'),
  ],
  [
    120,
    alert(
      'ApplicationProtocolMismatch',
      'TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
      'no application protocol in common',
    ),
  ],
]);

function alert(code: MeshErrorCode, name: string, text: string): TlsAlert {
  return { code, name, text };
}
