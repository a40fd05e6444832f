/** What node and OpenSSL call a failure -> what quicmesh calls it. */

import { systemCodeOf, textOf } from '../../base/realms.js';
import { isAboutCertificate, MeshError, type MeshErrorCode } from '../../errors.js';
import { TLS_ALERTS, type TlsAlert } from './tls-alerts.js';

/** Codes of errors that a socket emits before its TLS handshake is done. Other `ERR_SSL_*`: TlsFailure. */
const HANDSHAKE_CODES: Readonly<Record<string, MeshErrorCode>> = {
  ETIMEDOUT: 'ConnectTimeout',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'ConnectTimeout',
  EPROTO: 'TlsFailure',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'ApplicationProtocolMismatch',
  ERR_SSL_CALLBACK_FAILED: 'ApplicationProtocolMismatch',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'CertificateRequired',
};

/** Alerts of the other side, by the code of the error that Node makes of them. */
const ALERTS: ReadonlyMap<string, TlsAlert> = new Map(
  [...TLS_ALERTS.values()].map((alert) => [`ERR_SSL_${alert.name}`, alert]),
);

/** An error of a socket that never became a connection. An alert is the other side's decision. */
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
 * What the peer had against this side's certificate, where an alert ends a connection that was open here: in TLS 1.3 a dialer
 * is done before the acceptor has looked at its certificate.
 */
export function certificateAlert(cause: unknown): MeshError | undefined {
  const alert = ALERTS.get(describe(cause).code);
  if (alert === undefined || !isAboutCertificate(alert.code)) return undefined;
  return new MeshError(alert.code, alert.text, { side: 'remote', cause });
}

function describe(cause: unknown): { code: string; message: string } {
  const code = systemCodeOf(cause);
  const text = textOf(cause);
  // An AggregateError, one for each address tried, has no message of its own.
  const message = text === '' ? `connection failed: ${code}` : text;
  return { code: code ?? '', message };
}
