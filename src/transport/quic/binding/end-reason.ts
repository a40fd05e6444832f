/** Tells why a native connection is over, as an error of this library. */
import { isAboutCertificate, MeshError, toMeshError } from '../../../errors.js';
import { errorOfClose } from './close-codes.js';
import { type NativeConnection, readNativeFailure } from './native.js';

/** Checks the peer's certificates. @throws MeshError with a Certificate* code */
export type ChainCheck = (chain: readonly Uint8Array[]) => unknown;

/** The reason of a connection that is closed or draining. */
export function endReason(native: NativeConnection, wasOpen: boolean): MeshError {
  const peer = native.peerError();
  if (peer !== null) return errorOfClose(peer, 'remote', wasOpen);
  if (native.isTimedOut()) {
    return wasOpen
      ? new MeshError('IdleTimeout', 'nothing was heard of the peer for the idle timeout')
      : new MeshError('ConnectTimeout', 'no answer from the peer');
  }
  const local = native.localError();
  if (local !== null) return errorOfClose(local, 'local', wasOpen);
  return new MeshError('ConnectionLost', 'connection was reset by the peer', { side: 'remote' });
}

/**
 * The reason of a connection that refused a datagram. It has closed itself by then, and knows the alert or code.
 * @param thrown what the binding threw
 */
export function refusalReason(
  native: NativeConnection,
  thrown: unknown,
  wasOpen: boolean,
  check: ChainCheck,
): MeshError {
  const { name } = readNativeFailure(thrown);
  if (name === 'UnknownVersion') {
    const text = 'whoever answers there does not speak version 1 of QUIC';
    return new MeshError('ConnectFailed', text, { side: 'remote', cause: thrown });
  }
  const close = native.localError();
  if (close !== null) return localCloseError(native, errorOfClose(close, 'local', wasOpen), check);
  return new MeshError('ProtocolViolation', `QUIC refused a datagram: ${name}`, { cause: thrown });
}

/** An alert tells little. What was wrong with the certificate, its own check tells. */
function localCloseError(native: NativeConnection, error: MeshError, check: ChainCheck): MeshError {
  const chain = native.peerCertChain();
  // For a signature that is not the CA's, TLS has only a general alert.
  const mayBeOfChain = error.code === 'TlsFailure' || isAboutCertificate(error.code);
  if (chain === null || !mayBeOfChain) return error;
  try {
    check(chain);
    return error;
  } catch (thrown) {
    return toMeshError(thrown, error.code);
  }
}

/** The error for streams that are still open: for them, an orderly close is an error, too. */
export function endOfStreams(error: MeshError): MeshError {
  if (error.code !== 'NoError') return error;
  return new MeshError('ConnectionClosed', 'connection was closed', {
    side: error.side,
    cause: error,
  });
}
