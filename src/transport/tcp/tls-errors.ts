/** What node and OpenSSL call a failure -> what quicmesh calls it. */
import { MeshError, type MeshErrorCode } from '../../errors.js';
import { isError } from '../../realms.js';

/** Codes of errors that a socket emits before its TLS handshake is done. Other `ERR_SSL_*`: TlsFailure. */
const HANDSHAKE_CODES: Readonly<Record<string, MeshErrorCode>> = {
  ETIMEDOUT: 'ConnectTimeout',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'ConnectTimeout',
  EPROTO: 'TlsFailure',
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: 'ApplicationProtocolMismatch',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'ApplicationProtocolMismatch',
  ERR_SSL_CALLBACK_FAILED: 'ApplicationProtocolMismatch',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'CertificateRequired',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'CertificateUntrusted',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'CertificateExpired',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'CertificateInvalid',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: 'CertificateInvalid',
  ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR: 'InternalError',
  ERR_SSL_TLSV1_ALERT_USER_CANCELLED: 'ConnectFailed',
};

/** OpenSSL's verdicts on a chain, as `socket.authorizationError` names them. Others: CertificateInvalid. */
const VERDICT_CODES: Readonly<Record<string, MeshErrorCode>> = {
  CERT_HAS_EXPIRED: 'CertificateExpired',
  CERT_NOT_YET_VALID: 'CertificateNotYetValid',
  INVALID_PURPOSE: 'CertificateUsage',
  INVALID_CA: 'CertificateUntrusted',
  CERT_REVOKED: 'CertificateUntrusted',
  CERT_UNTRUSTED: 'CertificateUntrusted',
  CERT_REJECTED: 'CertificateUntrusted',
  CERT_CHAIN_TOO_LONG: 'CertificateUntrusted',
  PATH_LENGTH_EXCEEDED: 'CertificateUntrusted',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'CertificateUntrusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'CertificateUntrusted',
  UNABLE_TO_GET_ISSUER_CERT: 'CertificateUntrusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'CertificateUntrusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'CertificateUntrusted',
  CERT_SIGNATURE_FAILURE: 'CertificateUntrusted',
};

/** An error of a socket that never became a connection. An alert is the other side's decision. */
export function handshakeError(cause: unknown): MeshError {
  const { code, message } = describe(cause);
  const meshCode =
    HANDSHAKE_CODES[code] ?? (code.startsWith('ERR_SSL_') ? 'TlsFailure' : 'ConnectFailed');
  const side = code.includes('_ALERT_') ? 'remote' : 'local';
  return new MeshError(meshCode, message, { side, cause });
}

/** Node's own verdict on a peer's certificate; `verdict` is `socket.authorizationError`. */
export function verdictError(verdict: unknown): MeshError {
  const name = isError(verdict) ? describe(verdict).code : String(verdict);
  return new MeshError(VERDICT_CODES[name] ?? 'CertificateInvalid', `certificate check: ${name}`);
}

function describe(cause: unknown): { code: string; message: string } {
  if (!isError(cause)) return { code: '', message: String(cause) };
  const { code } = cause as NodeJS.ErrnoException;
  // An AggregateError, one for each address tried, has no message of its own.
  const message = cause.message === '' ? `connection failed: ${code}` : cause.message;
  return { code: code ?? '', message };
}
