/** Why a connection is over, in the words of this library: from what the binding knows of its end. */
import { isAboutCertificate, MeshError, toMeshError } from '../../../errors.js';
import { errorOfClose } from './close-codes.js';
import { type NativeConnection, readNativeFailure } from './native.js';

/** Checks the peer's certificates. @throws MeshError with a Certificate* code */
export type ChainCheck = (chain: readonly Uint8Array[]) => unknown;

/** Of a connection that the binding has closed, or drains. */
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
 * Of a connection whose datagram the binding refused. It has closed by itself then, and knows the alert or the code.
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
    const text = 'the peer does not speak version 1 of QUIC';
    return new MeshError('TransportUnavailable', text, { side: 'remote', cause: thrown });
  }
  const close = native.localError();
  if (close !== null) return localCloseError(native, errorOfClose(close, 'local', wasOpen), check);
  return new MeshError('ProtocolViolation', `QUIC refused a datagram: ${name}`, { cause: thrown });
}

/** An alert names little; the certificate itself tells what was wrong with it. */
function localCloseError(native: NativeConnection, error: MeshError, check: ChainCheck): MeshError {
  const chain = native.peerCertChain();
  // A signature that is not its CA's is an alert of cryptography in general.
  const mayBeOfChain = error.code === 'TlsFailure' || isAboutCertificate(error.code);
  if (chain === null || !mayBeOfChain) return error;
  try {
    check(chain);
    return error;
  } catch (thrown) {
    return toMeshError(thrown, error.code);
  }
}

/** What streams still open meet: to whoever wanted them on, an orderly close is an error too. */
export function endOfStreams(error: MeshError): MeshError {
  if (error.code !== 'NoError') return error;
  return new MeshError('ConnectionClosed', 'connection was closed', {
    side: error.side,
    cause: error,
  });
}
