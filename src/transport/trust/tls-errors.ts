/** Maps errors of Node's TLS and of OpenSSL to codes of this library. */

import { systemCodeOf, textOf } from '../../base/realms.js';
import { isAboutCertificate, MeshError, type MeshErrorCode } from '../../errors.js';
import { TLS_ALERTS, type TlsAlert } from './tls-alerts.js';

/** Error codes of sockets whose TLS handshake is not done. Any other `ERR_SSL_*` is TlsFailure. */
const HANDSHAKE_CODES: Readonly<Record<string, MeshErrorCode>> = {
  ETIMEDOUT: 'ConnectTimeout',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'ConnectTimeout',
  EPROTO: 'TlsFailure',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'ApplicationProtocolMismatch',
  ERR_SSL_CALLBACK_FAILED: 'ApplicationProtocolMismatch',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'CertificateRequired',
};

/** The other side's alerts, by the code of Node's error for each. */
const ALERTS: ReadonlyMap<string, TlsAlert> = new Map(
  [...TLS_ALERTS.values()].map((alert) => [`ERR_SSL_${alert.name}`, alert]),
);

/** The error of a socket that never became a connection. An alert counts as the other side's decision. */
export function handshakeError(cause: unknown): MeshError {
  const { code, message } = describe(cause);
  const alert = ALERTS.get(code);
  if (alert !== undefined) return new MeshError(alert.code, alert.text, { side: 'remote', cause });
  const meshCode =
    HANDSHAKE_CODES[code] ?? (code.startsWith('ERR_SSL_') ? 'TlsFailure' : 'ConnectFailed');
  const side = code.includes('_ALERT_') ? 'remote' : 'local';
  return new MeshError(meshCode, message, { side, cause });
}

/**
 * The peer's objection to this side's certificate, if an alert about one ended a connection that was open here. In TLS 1.3 a
 * dialer is done before the acceptor has checked its certificate.
 */
export function certificateAlert(cause: unknown): MeshError | undefined {
  const alert = ALERTS.get(describe(cause).code);
  if (alert === undefined || !isAboutCertificate(alert.code)) return undefined;
  return new MeshError(alert.code, alert.text, { side: 'remote', cause });
}

function describe(cause: unknown): { code: string; message: string } {
  const code = systemCodeOf(cause);
  const text = textOf(cause);
  // An AggregateError has an error for each address that was tried, and no message of its own.
  const message = text === '' ? `connection failed: ${code}` : text;
  return { code: code ?? '', message };
}
